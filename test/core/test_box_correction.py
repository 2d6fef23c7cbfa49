from __future__ import annotations

import numpy as np
import pytest
from fake_search_frame import BUNDLE, FakeBackend, Thing
from hypothesis import given, settings
from hypothesis import strategies as st

from refdet_core.box_correction import NO_CORRECTION, correct_boxes, fit_box_correction
from refdet_core.types import BoxXYXY, RawMaps

PHOTO = np.zeros((480, 640, 3), np.uint8)


def share(drawn: BoxXYXY) -> float:
    """Of the difference in one photo that is believed: less for small objects."""
    size = np.sqrt((drawn[2] - drawn[0]) * (drawn[3] - drawn[1]))
    return 0.6 * size / (size + 16)


def correction_of(drawn: BoxXYXY, network: BoxXYXY, backend: type = FakeBackend) -> np.ndarray:
    return fit_box_correction(backend([Thing(network)]), BUNDLE, ("car",), PHOTO, drawn)


@pytest.mark.parametrize(
    ("drawn", "expected"),
    [
        ((200, 150, 300, 200), (0, 0, 0, 0)),
        # the network's box is 100 x 50
        ((210, 150, 310, 200), (0.1, 0, 0, 0)),
        ((200, 140, 300, 190), (0, -0.2, 0, 0)),
        ((190, 150, 310, 200), (0, 0, np.log(1.2), 0)),
        ((200, 155, 300, 195), (0, 0, 0, np.log(0.8))),
        ((195, 150, 345, 250), (0.2, 0.5, np.log(1.5), np.log(2))),
    ],
)
def test_most_of_the_difference_to_the_network_s_box_is_believed(drawn, expected) -> None:
    correction = correction_of(drawn, (200, 150, 300, 200))
    assert correction == pytest.approx(share(drawn) * np.array(expected), abs=1e-3)


@pytest.mark.parametrize(("size", "believed"), [(16, 0.3), (48, 0.45), (144, 0.54)])
def test_in_a_small_object_s_box_less_is_believed(size: int, believed: float) -> None:
    # 0.6 * size / (size + 16), of a tenth to the right
    drawn = (200 + size / 10, 150, 200 + size * 1.1, 150 + size)
    correction = correction_of(drawn, (200, 150, 200 + size, 150 + size))
    assert correction == pytest.approx([0.1 * believed, 0, 0, 0], abs=1e-3)


@pytest.mark.parametrize(
    "network",
    [
        (200, 150, 220, 160),  # far smaller
        (290, 190, 400, 300),  # beside it
        (500, 400, 600, 450),  # outside the window
    ],
)
def test_a_box_of_something_else_is_not_believed(network) -> None:
    assert correction_of((200, 150, 300, 200), network) == pytest.approx(NO_CORRECTION)


def test_an_object_that_the_network_does_not_see_has_no_bias() -> None:
    correction = fit_box_correction(FakeBackend(), BUNDLE, ("car",), PHOTO, (200, 150, 300, 200))
    assert correction == pytest.approx(NO_CORRECTION)


class SeesCloseUps(FakeBackend):
    """Boxes are a tenth of the width too far right, but the object is found close up only."""

    def infer(self, frames: np.ndarray, features: tuple[str, ...]) -> RawMaps:
        maps = super().infer(frames, features)
        widest = max(range(len(self._crops)), key=lambda index: self._crops[index].width)
        maps.score[widest] = 0.01
        return maps


def test_sizes_at_which_it_is_not_found_do_not_count() -> None:
    drawn = (210, 150, 310, 200)
    correction = correction_of(drawn, (200, 150, 300, 200), SeesCloseUps)
    assert correction == pytest.approx([share(drawn) * 0.1, 0, 0, 0], abs=1e-3)


class Varies(FakeBackend):
    """Boxes are exact in the closest look, then a tenth and two tenths too far left."""

    def infer(self, frames: np.ndarray, features: tuple[str, ...]) -> RawMaps:
        maps = super().infer(frames, features)
        order = sorted(range(len(self._crops)), key=lambda index: self._crops[index].width)
        for tenths, index in enumerate(order):
            width = maps.box[index, :, 2] - maps.box[index, :, 0]
            maps.box[index, :, 0] -= 0.1 * tenths * width
            maps.box[index, :, 2] -= 0.1 * tenths * width
        return maps


def test_the_bias_is_the_mean_over_sizes() -> None:
    drawn = (200, 150, 300, 200)
    correction = correction_of(drawn, drawn, Varies)
    assert correction == pytest.approx([share(drawn) * 0.1, 0, 0, 0], abs=1e-3)


def test_the_object_is_looked_at_in_sizes_of_a_search_window() -> None:
    backend = FakeBackend([Thing((200, 150, 300, 250))])
    fit_box_correction(backend, BUNDLE, ("car",), PHOTO, (200, 150, 300, 250))
    assert [batch for batch, _ in backend.inferred] == [3]
    for crop in backend._crops:
        assert crop.out_width == crop.out_height == 192
        assert crop.out_width % BUNDLE.frame_multiple == 0
        assert 30 <= 100 * crop.out_width / crop.width <= 70


@pytest.mark.parametrize("box", [(0, 0, 640, 480), (0, 0, 4, 4), (636, 476, 640, 480)])
def test_boxes_at_the_photo_s_border_are_corrected_too(box) -> None:
    assert correction_of(box, box) == pytest.approx(NO_CORRECTION, abs=0.02)


def test_corrected_shifts_by_shares_and_scales_by_factors() -> None:
    boxes = np.array([[100, 100, 140, 120], [0, 0, 10, 10]], np.float32)
    moved = correct_boxes(boxes, np.array([0.5, -0.5, np.log(2), np.log(0.5)]))
    assert moved == pytest.approx(np.array([[100, 95, 180, 105], [0, -2.5, 20, 2.5]]))
    assert moved.dtype == np.float32
    assert correct_boxes(boxes, NO_CORRECTION) == pytest.approx(boxes)


def test_no_boxes_are_corrected_to_none() -> None:
    assert correct_boxes(np.zeros((0, 4), np.float32), np.ones(4)).shape == (0, 4)


side = st.floats(4, 200)


@settings(deadline=None)
@given(width=side, height=side, grow=st.floats(-0.4, 0.4), shift=st.floats(-0.2, 0.2))
def test_corrected_takes_the_network_s_box_the_believed_way(width, height, grow, shift) -> None:
    network = np.array([[100, 90, 100 + width, 90 + height]])
    drawn = correct_boxes(network, np.array([shift, -shift, grow, -grow]))
    correction = 0.6 * np.array([shift, -shift, grow, -grow])
    (halfway,) = correct_boxes(network, correction)
    centre = (halfway[:2] + halfway[2:]) / 2
    target = (drawn[0, :2] + drawn[0, 2:]) / 2
    start = (network[0, :2] + network[0, 2:]) / 2
    assert centre - start == pytest.approx(0.6 * (target - start), abs=1e-6)
    sides = np.log((halfway[2:] - halfway[:2]) / [width, height])
    assert sides == pytest.approx(0.6 * np.array([grow, -grow]), abs=1e-6)
