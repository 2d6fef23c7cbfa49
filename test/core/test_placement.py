"""Where peaks are placed, against an analytic bump and values computed by hand."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from refdet_core.box_correction import correct_boxes, template_shape
from refdet_core.calibration import sigmoid
from refdet_core.crop_rule import CropRule
from refdet_core.decoding import best_view
from refdet_core.search.window import scale_penalty
from refdet_core.tracking_rule import TrackingRule

STRIDE = 8.0


def grid_boxes(height, width, side=64.0):
    """Squares of that side around every cell's centre, ``(1, 4, h, w)``."""
    x, y = np.meshgrid((np.arange(width) + 0.5) * STRIDE, (np.arange(height) + 0.5) * STRIDE)
    half = side / 2
    return np.stack([x - half, y - half, x + half, y + half])[None].astype(np.float32)


def centre(boxes_xyxy):
    return (boxes_xyxy[:, :2] + boxes_xyxy[:, 2:]) / 2


@pytest.mark.parametrize("shift", [(0.0, 0.0), (0.3, -0.4), (-0.25, 0.1)])
def test_upsampling_finds_the_top_of_a_bump_between_cells(shift) -> None:
    rows, columns = np.mgrid[:17, :17]
    right, down = shift
    bump = 4 - 0.5 * ((columns - 8 - right) ** 2 + (rows - 8 - down) ** 2)
    score = sigmoid(bump)[None].astype(np.float32)
    found = best_view(score, grid_boxes(17, 17), np.ones(1), "upsampled", STRIDE)
    # as the reference implementation does: the whole response to 272 x 272
    whole = cv2.resize(bump, (272, 272), interpolation=cv2.INTER_CUBIC)
    row, column = np.unravel_index(whole.argmax(), whole.shape)
    expected = (np.array([column, row]) + 0.5) / 16 * STRIDE
    assert np.abs(centre(found.boxes_xyxy[:1])[0] - expected).max() < 0.01
    truth = np.array([8.5 + right, 8.5 + down]) * STRIDE
    assert np.abs(expected - truth).max() < 1  # a cubic through cells is not quite the bump
    assert np.ptp(found.boxes_xyxy[0, [0, 2]]) == pytest.approx(64)


def test_cells_that_the_network_does_not_see_do_not_pull() -> None:
    score = np.zeros((1, 9, 9), np.float32)
    score[0, 4:, 4:] = 0.3
    score[0, 4, 4] = 0.9
    found = best_view(score, grid_boxes(9, 9), np.ones(1), "upsampled", STRIDE)
    assert np.abs(centre(found.boxes_xyxy[:1])[0] - 4.5 * STRIDE).max() <= STRIDE / 4


def test_mass_averages_places_and_the_sizes_of_the_strongest() -> None:
    score = np.full((1, 5, 5), 1e-9, np.float32)
    score[0, 2, 1:4] = [0.2, 0.6, 0.2]
    box = grid_boxes(5, 5, side=16.0)
    box[0, 2:, 2, 3] += 8.0  # the right one says 24 wide and high
    found = best_view(score, box, np.ones(1), "mass", STRIDE)
    # 0.6 and the first 0.2 hold more than three quarters of the mass
    x, y = (0.6 * 20 + 0.2 * 12) / 0.8, 20.0
    side = 0.2 * 16 + 0.6 * 16 + 0.2 * 24
    expected = [x - side / 2, y - side / 2, x + side / 2, y + side / 2]
    assert found.boxes_xyxy[0].tolist() == pytest.approx(expected, abs=1e-3)


def test_a_box_without_a_network_behind_it_has_the_references_size() -> None:
    rule = CropRule(127)
    box = (10.0, 20.0, 50.0, 30.0)  # 40 x 10; with context 65 x 35, so the crop's side is 47.7
    scale = 127 / np.sqrt(65 * 35)
    found = correct_boxes(np.array([[36.5, 36.5, 100.0, 100.0]]), template_shape(rule, box))[0]
    assert found[2] - found[0] == pytest.approx(40 * scale)
    assert found[3] - found[1] == pytest.approx(10 * scale)
    assert (found[:2] + found[2:]).tolist() == pytest.approx([136.5, 136.5])


def test_boxes_of_other_scales_are_worth_less() -> None:
    rule = TrackingRule(scales=3)
    expected = (100.0, 100.0, 140.0, 120.0)
    centre_xy, size = np.array([120.0, 110.0]), np.array([40.0, 20.0])
    boxes = []
    for step in (1.0, 1.0375, 1 / 1.0375, 1.01):
        boxes.append([*(centre_xy - step * size / 2), *(centre_xy + step * size / 2)])
    found = scale_penalty(np.array(boxes), expected, rule)
    assert found.tolist() == [1.0, 0.9745, 0.9745, 1.0]
    assert (scale_penalty(np.array(boxes), expected, TrackingRule()) == 1).all()
