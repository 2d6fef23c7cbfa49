"""Metrics against values worked out by hand."""

from __future__ import annotations

import pytest

from refdet_core.metrics import (
    GroundTruth,
    box_iou,
    centre_distance,
    evaluate,
    percentile,
    success_auc,
)

BOX = (100.0, 100.0, 140.0, 140.0)
HALF = (100.0, 100.0, 120.0, 140.0)  # IoU 1/2 with BOX, centre 10 px off
FAR = (200.0, 200.0, 240.0, 240.0)  # IoU 0, centre 141 px off


def test_box_iou_and_centre_distance():
    assert box_iou(BOX, BOX) == 1
    assert box_iou(BOX, HALF) == pytest.approx(0.5)
    assert box_iou(BOX, FAR) == 0
    # 20x40 overlap of two 40x40 boxes: 800 / (1600 + 1600 - 800)
    assert box_iou(BOX, (120, 100, 160, 140)) == pytest.approx(1 / 3)
    assert centre_distance(BOX, HALF) == 10
    assert centre_distance(BOX, (103, 104, 143, 144)) == 5


def test_success_auc():
    # IoU 1 is above the 20 thresholds 0 ... 0.95, IoU 0 is above none.
    assert success_auc([1.0]) == pytest.approx(20 / 21)
    assert success_auc([0.0]) == 0
    # 0.5 is above 0 ... 0.45: ten of them.
    assert success_auc([0.5]) == pytest.approx(10 / 21)
    assert success_auc([1.0, 0.5, 0.0]) == pytest.approx(30 / 63)


def test_mixed_sequence():
    # Frames 10-15 are labelled, the object is absent in 14 and 15.
    truth = GroundTruth("a", (10, 15), dict.fromkeys(range(10, 14), BOX))
    predictions = {
        9: BOX,  # before the span: ignored
        10: BOX,  # perfect
        11: HALF,  # IoU 0.5
        12: FAR,  # wrong place
        # 13: missed
        14: BOX,  # false alarm
        # 15: rightly silent
        16: BOX,  # after the span: ignored
    }
    scores = evaluate(truth, predictions)
    assert (scores.frames, scores.present, scores.absent) == (6, 4, 2)
    assert scores.recall == pytest.approx(2 / 4)
    assert scores.detection_precision == pytest.approx(2 / 4)
    assert scores.mean_iou == pytest.approx(1.5 / 4)
    assert scores.success_auc == pytest.approx(30 / 84)
    assert scores.precision_20px == pytest.approx(2 / 4)
    # 1.5 over frames 10 ... 14: truth or prediction in five of them.
    assert scores.st_iou == pytest.approx(1.5 / 5)
    assert scores.false_alarm_rate == pytest.approx(1 / 2)


def test_only_frames_that_were_shown_count():
    truth = GroundTruth("a", (0, 9), dict.fromkeys(range(10), BOX))
    scores = evaluate(truth, {0: BOX, 5: BOX}, frames=[0, 5, 7, 42])
    assert scores.frames == 3
    assert scores.recall == pytest.approx(2 / 3)


def test_threshold_of_recall():
    truth = GroundTruth("a", (0, 0), {0: BOX})
    assert evaluate(truth, {0: HALF}, iou_threshold=0.5).recall == 1
    assert evaluate(truth, {0: HALF}, iou_threshold=0.51).recall == 0


def test_shares_without_denominator_are_none():
    absent = evaluate(GroundTruth("a", (0, 3), {}), {})
    assert absent.recall is None and absent.mean_iou is None and absent.success_auc is None
    assert absent.st_iou is None and absent.detection_precision is None
    assert absent.false_alarm_rate == 0
    present = evaluate(GroundTruth("a", (0, 0), {0: BOX}), {0: BOX})
    assert present.false_alarm_rate is None
    nothing = evaluate(GroundTruth("a", (0, 3), {0: BOX}), {0: BOX}, frames=[])
    assert nothing.frames == 0 and nothing.recall is None and nothing.false_alarm_rate is None


def test_percentile():
    assert percentile([1, 2, 3, 4, 5], 50) == 3
    assert percentile([0, 10], 95) == pytest.approx(9.5)
    assert percentile([], 50) is None
