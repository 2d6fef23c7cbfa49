from __future__ import annotations

import numpy as np
import pytest

from refdet_core.boxes import area, as_boxes, centred_in, clip, iou_matrix, mean_side, nms
from refdet_core.types import BoxXYXY


@pytest.mark.parametrize("count", [0, 1, 5])
def test_iou_matrix_shape_for_none_one_many(count: int) -> None:
    boxes = as_boxes([[i, i, i + 10, i + 10] for i in range(count)])
    overlaps = iou_matrix(boxes, boxes)
    assert overlaps.shape == (count, count)
    assert np.allclose(np.diag(overlaps), 1)


def test_iou_of_hand_computed_pairs() -> None:
    first = as_boxes([0, 0, 10, 10])
    second = as_boxes([[5, 0, 15, 10], [10, 0, 20, 10], [2, 2, 4, 4], [3, 3, 3, 9]])
    assert np.allclose(iou_matrix(first, second)[0], [50 / 150, 0, 4 / 100, 0])


def test_inverted_box_has_no_area_and_no_overlap() -> None:
    inverted = as_boxes([10, 10, 0, 0])
    assert area(inverted)[0] == 0
    assert iou_matrix(inverted, as_boxes([0, 0, 10, 10]))[0, 0] == 0


@pytest.mark.parametrize(
    ("box", "side"),
    [
        ((10, 20, 14, 29), 6),
        ((0.5, 0.5, 3, 3), 2.5),
        ((5, 5, 5, 9), 0),
        ((10, 0, 0, 10), 0),
        ((10, 10, 0, 0), 0),
    ],
    ids=["4 x 9", "square", "no width", "inverted width", "both inverted"],
)
def test_mean_side_is_that_of_a_square_as_large(box: BoxXYXY, side: float) -> None:
    assert mean_side(box) == side


def test_clip_cuts_at_the_frame() -> None:
    assert clip(as_boxes([-5, 3, 700, 500]), 640, 480).tolist() == [[0, 3, 640, 480]]


def test_nms_keeps_the_best_of_overlapping_boxes_and_all_separate_ones() -> None:
    boxes = as_boxes([[0, 0, 10, 10], [1, 0, 11, 10], [50, 50, 60, 60]])
    assert nms(boxes, np.array([0.5, 0.9, 0.1]), 0.5).tolist() == [1, 2]


def test_nms_of_nothing_is_nothing() -> None:
    assert nms(as_boxes([]), np.array([]), 0.5).tolist() == []


def test_nms_keeps_the_earlier_of_equal_scores() -> None:
    boxes = as_boxes([[0, 0, 10, 10], [0, 0, 10, 10]])
    assert nms(boxes, np.array([0.5, 0.5]), 0.5).tolist() == [0]


def test_a_box_is_centred_in_another_up_to_its_edge() -> None:
    boxes = np.array([[0, 0, 4, 4], [6, 6, 14, 14], [6, 6, 16, 14], [2, 20, 4, 24]], float)
    assert centred_in(boxes, (2.0, 2.0, 10.0, 10.0)).tolist() == [True, True, False, False]
    assert centred_in(np.zeros((0, 4)), (2.0, 2.0, 10.0, 10.0)).shape == (0,)
