from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from refdet_core.bundle import load_bundle
from refdet_core.detector_config import DetectorConfig
from refdet_core.search.single_tile import SingleTile
from refdet_core.search.tiles import Tiles

FRAMES = [(1, 1), (64, 48), (640, 480), (1280, 720), (1281, 737), (3840, 2160), (7680, 4320)]


@pytest.mark.parametrize("frame", FRAMES)
def test_tiles_cover_every_pixel_at_scale_one(frame: tuple[int, int]) -> None:
    plan = Tiles((640, 384), 128, 32)
    covered = np.zeros((frame[1], frame[0]), bool)
    for crop in plan.crops(frame):
        assert (crop.width, crop.height) == (crop.out_width, crop.out_height)
        assert crop.width % 32 == 0 and crop.height % 32 == 0
        assert crop.width <= 640 and crop.height <= 384
        covered[max(crop.y, 0) : crop.y + crop.height, max(crop.x, 0) : crop.x + crop.width] = True
    assert covered.all()


@pytest.mark.parametrize("frame", FRAMES)
@pytest.mark.parametrize("scale", [0.25, 0.85, 1.37, 4.0])
def test_scaled_tiles_cover_every_pixel_at_their_scale(frame, scale: float) -> None:
    covered = np.zeros((frame[1], frame[0]), bool)
    for crop in Tiles((640, 384), 128, 32, scale).crops(frame):
        assert crop.out_width % 32 == 0 and crop.out_height % 32 == 0
        # whole frame pixels, so the scale is met to half a pixel
        assert crop.width == pytest.approx(crop.out_width / scale, abs=0.5)
        assert crop.height == pytest.approx(crop.out_height / scale, abs=0.5)
        assert crop.out_width <= 640 and crop.out_height <= 384
        covered[max(crop.y, 0) : crop.y + crop.height, max(crop.x, 0) : crop.x + crop.width] = True
    assert covered.all()


@given(width=st.integers(1, 5000), tile=st.integers(64, 1300), overlap=st.integers(0, 63))
def test_neighbouring_tiles_overlap_at_least_as_asked(width: int, tile: int, overlap: int) -> None:
    crops = Tiles((tile, 64), overlap, 32).crops((width, 64))
    starts = [crop.x for crop in crops]
    side = crops[0].width
    assert starts == sorted(set(starts))
    for left, right in zip(starts, starts[1:]):
        assert left + side - right >= min(overlap, side - 1)


def test_a_frame_that_fits_is_one_tile_without_waste() -> None:
    (crop,) = Tiles((1280, 736), 128, 16).crops((1280, 720))
    assert (crop.x, crop.y, crop.width, crop.height) == (0, 0, 1280, 720)


@given(x=st.floats(0, 3839), y=st.floats(0, 2159))
def test_every_point_is_reported_by_a_tile_that_sees_around_it(x: float, y: float) -> None:
    plan = Tiles((1280, 736), 128, 32)
    crops = plan.crops((3840, 2160))
    point = np.array([[x, y]])
    owners = [crop for index, crop in enumerate(crops) if plan.owned(crops, index, point)[0]]
    assert owners
    for crop in owners:  # at least 48 px of surroundings, except where the frame ends
        assert crop.x == 0 or x - crop.x >= 48
        assert crop.y == 0 or y - crop.y >= 48
        assert crop.x + crop.width >= 3840 or crop.x + crop.width - x >= 48
        assert crop.y + crop.height >= 2160 or crop.y + crop.height - y >= 48


@pytest.mark.parametrize("frame", [(1, 1), (240, 180), (1280, 90)])
def test_a_tile_is_never_smaller_than_the_network_takes(frame: tuple[int, int]) -> None:
    for tile_size in ((1280, 736), (64, 64)):
        crops = Tiles(tile_size, 32, 8, 0.5, least=128).crops(frame)
        assert {crop.out_height for crop in crops} == {128}
        assert min(crop.out_width for crop in crops) >= 128
        assert {crop.height for crop in crops} == {256}  # the rest is padding, not stretched


def test_full_frame_is_one_letterboxed_pass() -> None:
    (crop,) = SingleTile((320, 320)).crops((1280, 720))
    assert (crop.out_width, crop.out_height) == (320, 320)
    assert crop.width == 1280 and crop.y == -280


def test_the_released_model_sees_a_hd_frame_in_one_tile_at_scale_one() -> None:
    defaults, multiple = DetectorConfig(), load_bundle().frame_multiple
    size = (defaults.tile_width, defaults.tile_height)
    (crop,) = Tiles(size, defaults.tile_overlap, multiple).crops((1280, 720))
    assert crop.width >= 1280 and crop.height >= 720


def test_tiles_are_no_larger_than_they_have_to_be() -> None:
    crops = Tiles((1280, 736), 128, 16).crops((1920, 1080))
    assert len(crops) == 4
    assert {(crop.out_width, crop.out_height) for crop in crops} == {(1024, 608)}


@settings(deadline=None)
@given(
    width=st.integers(1, 1280),
    height=st.integers(1, 736),
    multiple=st.sampled_from([8, 16, 32]),
    scale=st.sampled_from([0.25, 0.5, 0.84, 1.0]),
)
def test_a_frame_that_fits_into_a_tile_is_one_tile(width, height, multiple, scale) -> None:
    (crop,) = Tiles((1280, 736), 128, multiple, scale).crops((width, height))
    assert crop.width >= width and crop.height >= height
