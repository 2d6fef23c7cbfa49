"""Look-alikes beside a target: what is remembered of them, and what that is good for."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from refdet_core.decoding import Candidates
from refdet_core.detector import DEFAULT_TEMPLATE_ID, Detector
from refdet_core.detector_config import DetectorConfig
from refdet_core.metrics import box_iou
from refdet_core.search.distractors import Distractors, rivals
from refdet_core.types import Reference

TARGET = (100.0, 100.0, 140.0, 130.0)


def shifted(dx: float, dy: float = 0.0):
    x1, y1, x2, y2 = TARGET
    return (x1 + dx, y1 + dy, x2 + dx, y2 + dy)


def seen(*boxes, score: float = 0.8) -> Candidates:
    count = len(boxes)
    return Candidates(np.array(boxes).reshape(count, 4), np.full(count, score), np.ones(count))


def after(times: int, certain: bool = True, step_px: float = 0.0) -> Distractors:
    """What was learned of one look-alike 60 px to the right, 0.1 s apart."""
    distractors = Distractors()
    for number in range(times):
        distractors.expect(0.1)
        boxes = [shifted(0), shifted(60 + step_px * number), shifted(4, 3)]
        distractors.learn(seen(*boxes), TARGET, 0.1 * number, certain)
    distractors.expect(0.1)
    return distractors


def test_what_was_seen_beside_the_target_is_not_the_target() -> None:
    boxes = np.array([shifted(2), shifted(62), shifted(0, 90)])
    assert after(3).are_at(boxes, TARGET).tolist() == [False, True, False]
    assert after(2).are_at(boxes, TARGET).tolist() == [False] * 3, "seen too seldom"
    assert after(9, certain=False).are_at(boxes, TARGET).tolist() == [False] * 3
    assert Distractors().are_at(boxes, TARGET).tolist() == [False] * 3
    assert after(3).are_at(np.zeros((0, 4)), TARGET).shape == (0,)


def test_it_moves_on_its_own_and_with_the_camera() -> None:
    distractors = after(10, step_px=12)
    assert distractors.are_at(np.array([shifted(180)]), TARGET).tolist() == [True]
    distractors.move(np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 200.0]]))
    there = np.array([shifted(180), shifted(180, 200)])
    assert distractors.are_at(there, shifted(0, 200)).tolist() == [False, True]


def test_where_it_meets_the_target_nothing_is_said() -> None:
    assert not after(5).are_at(np.array([shifted(62)]), shifted(50)).any()


def test_unseen_it_is_known_for_a_second_while_the_target_is_unseen_too() -> None:
    distractors = after(5)
    for number in range(5, 20):
        distractors.learn(seen(), TARGET, 0.1 * number, False)
        known = distractors.are_at(np.array([shifted(60)]), TARGET)[0]
        assert known == (number <= 14), number


def test_it_is_known_again_once_it_was_seen_where_it_was_expected() -> None:
    distractors = after(5)
    for number, dx in enumerate([60, None, 60, 60, 82, 83, 84, 85]):  # gone once, a jerk of 22 px
        distractors.expect(0.1)
        boxes = [] if dx is None else [shifted(dx)]
        distractors.learn(seen(*boxes), TARGET, 0.5 + 0.1 * number, True)
        known = distractors.are_at(np.array([shifted(60 if dx is None else dx)]), TARGET)[0]
        assert known == (number in (0, 6, 7)), number


def test_rivals_are_those_that_compete_with_the_chosen_one() -> None:
    candidates = Candidates(np.zeros((4, 4)), np.array([0.9, 0.5, 0.44, 0.2]), np.ones(4))
    assert rivals(candidates, 0).scores.tolist() == [0.5]
    assert rivals(candidates, 3).scores.tolist() == [0.9, 0.5, 0.44]


@pytest.mark.parametrize("search", ["track", "auto"])
def test_the_twin_beside_a_hidden_target_is_not_followed(search) -> None:
    """Two things that are alike to the last pixel drive side by side; one is hidden for 0.4 s."""
    rng = np.random.default_rng(3)
    ground = cv2.GaussianBlur(rng.integers(80, 170, (360, 480, 3)).astype(np.uint8), (7, 7), 0)
    twin = np.zeros((28, 44, 3), np.uint8)
    twin[:] = (30, 30, 160)
    cv2.rectangle(twin, (10, 6), (30, 20), (220, 220, 220), -1)
    cv2.circle(twin, (36, 14), 5, (20, 20, 20), -1)

    def frame_of(number: int, hidden: bool):
        frame, x = ground.copy(), 40 + 5 * number
        for dx in [70] if hidden else [0, 70]:
            frame[150:178, x + dx : x + dx + 44] = twin
        return frame, (float(x), 150.0, x + 44.0, 178.0)

    with Detector.open(config=DetectorConfig(search=search)) as detector:
        first, box = frame_of(0, False)
        detector.set_template([Reference(first, box, same_camera=True)])
        detector.lock(DEFAULT_TEMPLATE_ID, box)
        overlaps = []
        for number in range(24):
            hidden = 10 <= number < 14
            frame, box = frame_of(number, hidden)
            found = detector.detect(frame, time_s=number / 10).detections
            if hidden:
                assert not found, number
            else:
                overlaps.append(box_iou(found[0].bbox_xyxy, box) if found else 0.0)
    assert np.mean(np.array(overlaps) > 0.5) > 0.9, overlaps
