"""At which scales a frame is searched."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from refdet_core.search.scales import SizeRange, any_size, search_scales
from refdet_core.search.tile_pyramid import TilePyramid

HD = (1280, 720)
BEST_PX = 48.0
FRAMES = [(1, 1), (160, 120), (320, 256), (640, 512), HD, (1920, 1080), (3840, 2160)]


def exactly(size_px: float) -> SizeRange:
    return SizeRange(size_px, size_px)


@pytest.mark.parametrize("size_px", [24, 30, 48, 60, 90, 150])
def test_an_object_of_known_size_is_shown_at_the_best_size(size_px: float) -> None:
    scale, *_ = search_scales(HD, exactly(size_px), BEST_PX)
    assert scale * size_px == pytest.approx(BEST_PX, rel=0.2)


@pytest.mark.parametrize("size_px", [17, 24, 48, 60])
def test_one_that_came_closer_is_looked_for_at_little_cost(size_px: float) -> None:
    scale, coarser = search_scales(HD, exactly(size_px), BEST_PX)
    assert 0.2 < coarser / scale < 0.4


def test_one_that_fills_much_of_the_frame_needs_no_coarser_scale() -> None:
    assert len(search_scales(HD, exactly(250), BEST_PX)) == 1


@pytest.mark.parametrize(("size_px", "best_px"), [(40, 20), (40, 80), (100, 64)])
def test_each_network_has_its_own_best_size(size_px: float, best_px: float) -> None:
    scale, *_ = search_scales(HD, exactly(size_px), best_px)
    assert scale * size_px == pytest.approx(best_px, rel=0.2)


def test_scales_have_bounds() -> None:
    assert search_scales(HD, exactly(3), BEST_PX)[0] == 2.0
    assert search_scales(HD, exactly(700), BEST_PX) == (0.125,)


@pytest.mark.parametrize("frame", FRAMES)
@pytest.mark.parametrize("expected", [None, exactly(5), SizeRange(5, 500)])
def test_no_pass_costs_more_than_a_few_megapixels(frame, expected) -> None:
    for scale in search_scales(frame, expected, BEST_PX):
        assert scale**2 * frame[0] * frame[1] <= 4.5e6


def test_objects_of_like_sizes_share_a_scale() -> None:
    assert search_scales(HD, exactly(45), BEST_PX) == search_scales(HD, exactly(52), BEST_PX)


@pytest.mark.parametrize("frame", FRAMES[1:])
def test_a_photo_is_searched_at_few_scales(frame) -> None:
    scales = search_scales(frame, None, BEST_PX)
    assert 1 <= len(scales) <= 3
    assert len(set(scales)) == len(scales)


@pytest.mark.parametrize("frame", [(640, 512), HD])
def test_of_any_possible_size_an_object_is_shown_within_an_octave_of_the_best(frame) -> None:
    possible = any_size(frame)
    scales = search_scales(frame, None, BEST_PX)
    for step in range(21):
        size_px = possible.least_px * (possible.most_px / possible.least_px) ** (step / 20)
        assert min(abs(math.log2(scale * size_px / BEST_PX)) for scale in scales) <= 1.3


def test_the_range_grows_around_the_last_size_until_everything_is_searched() -> None:
    passes = [search_scales(HD, exactly(40).after(s), BEST_PX) for s in (0, 2, 5, 10, 3600)]
    assert passes[0] == passes[1] == search_scales(HD, exactly(40), BEST_PX)
    assert set(passes[-1]) == set(search_scales(HD, None, BEST_PX))


def test_a_clock_that_was_set_back_changes_nothing() -> None:
    assert exactly(40).after(-5.0) == exactly(40)


@settings(deadline=None)
@given(
    frame=st.tuples(st.integers(1, 8000), st.integers(1, 8000)),
    least=st.floats(0.5, 8000),
    factor=st.floats(1, 1000),
    best_px=st.floats(8, 256),
)
def test_whatever_is_expected_there_is_a_scale(frame, least, factor, best_px) -> None:
    scales = search_scales(frame, SizeRange(least, least * factor), best_px)
    assert scales
    assert all(0.125 <= scale <= 2 for scale in scales)


def test_a_forced_scale_is_the_only_one() -> None:
    pyramid = TilePyramid((1280, 736), 128, 16, 0.7, BEST_PX)
    for expected in (None, exactly(5), SizeRange(5, 500)):
        assert [tiles.scale for tiles in pyramid(HD, expected)] == [0.7]


def test_a_tiling_for_each_scale_the_most_promising_first() -> None:
    pyramid = TilePyramid((1280, 736), 128, 16, 0.0, BEST_PX)
    expected = exactly(30).after(10.0)
    scales = search_scales(HD, expected, BEST_PX)
    assert [tiles.scale for tiles in pyramid(HD, expected)] == list(scales)
    assert pyramid(HD, exactly(45)) == pyramid(HD, exactly(52))
