"""Look-alikes near a target, each followed by a motion of its own.

Where two people walk side by side, a tracker takes one for the other as soon as the wrong one looks
more like the template. What it saw beside the target before is the other one, wherever both go
(Zhu et al., "Distractor-aware Siamese Networks", ECCV 2018, and the target candidate association of
Mayer et al., ICCV 2021, use the same knowledge).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import List

import numpy as np

from refdet_core.boxes import as_boxes, as_tuple, centred_in, iou_matrix
from refdet_core.decoding import Candidates
from refdet_core.search.motion import Motion
from refdet_core.types import BoxXYXY

_LEAST_SCORE = 0.3  # of a candidate that is worth remembering ...
_LEAST_SHARE = 0.5  # ... and its least share of the target's score
_APART_IOU = 0.1  # a distractor overlaps the target by less
_SAME_IOU = 0.3  # a candidate that overlaps a distractor's expected box so much is it, ...
_PART_IOU = 0.2  # ... and one that overlaps it so much is not the target
_EXPECTED_IOU = 0.5  # so much it overlaps its expected box unless the camera jerks
_KNOWN_TIMES = 3  # seen so often in a row where it was expected, a distractor is believed
_FORGOTTEN_S = 1.0  # unseen for so long, it is forgotten


@dataclass
class _Distractor:
    """One of them.

    Attributes:
        box_xyxy: where it is expected in the present frame.
        seen_s: when it was seen last, seconds.
        times: how often in a row it was seen beside the target where it was expected.
    """

    motion: Motion
    box_xyxy: BoxXYXY
    seen_s: float
    times: int = 1


class Distractors:
    """The distractors of one target."""

    def __init__(self) -> None:
        self._all: List[_Distractor] = []

    def expect(self, dt_s: float) -> None:
        """Time passes until the present frame."""
        for one in self._all:
            one.box_xyxy = one.motion.predict(dt_s)

    def move(self, camera: np.ndarray) -> None:
        """Expect them where the camera's motion since the last frame took them."""
        for one in self._all:
            one.box_xyxy = one.motion.move(camera)

    def are_at(self, boxes_xyxy: np.ndarray, expected_xyxy: BoxXYXY) -> np.ndarray:
        """Which of these boxes ``(N, 4)`` are distractors rather than the target, ``(N,)``.

        Args:
            expected_xyxy: the target's expected box.
        """
        known = [one.box_xyxy for one in self._all if one.times >= _KNOWN_TIMES]
        if not known:
            return np.zeros(len(boxes_xyxy), dtype=bool)
        expected = as_boxes(expected_xyxy)
        apart = np.array(known)[iou_matrix(np.array(known), expected)[:, 0] < _APART_IOU]
        with_them = iou_matrix(boxes_xyxy, apart).max(axis=1, initial=0.0)
        with_target = iou_matrix(boxes_xyxy, expected)[:, 0]
        return np.asarray(with_them > np.maximum(with_target, _PART_IOU))

    def learn(
        self, candidates: Candidates, target_xyxy: BoxXYXY, time_s: float, certain: bool
    ) -> None:
        """What else was seen in this frame.

        Args:
            candidates: of all networks.
            target_xyxy: the target's box.
            certain: whether that is certain; if not, known distractors are followed, but
                nothing becomes one.
        """
        others = candidates.suppressed(_SAME_IOU)
        apart = iou_matrix(others.boxes_xyxy, as_boxes(target_xyxy))[:, 0] < _APART_IOU
        unmatched = others.chosen(apart & ~centred_in(others.boxes_xyxy, target_xyxy))
        for one in sorted(self._all, key=lambda one: -one.times):
            overlaps = iou_matrix(unmatched.boxes_xyxy, as_boxes(one.box_xyxy))[:, 0]
            best = int(np.argmax(overlaps)) if len(overlaps) else -1
            if certain and (best < 0 or overlaps[best] < _EXPECTED_IOU):
                one.times = 0
            if best < 0 or overlaps[best] < _SAME_IOU:
                continue
            box_xyxy = as_tuple(unmatched.boxes_xyxy[best])
            one.box_xyxy = one.motion.update(box_xyxy, float(unmatched.scores[best]))
            one.seen_s, one.times = time_s, one.times + int(certain)
            unmatched = unmatched.chosen(np.arange(len(unmatched)) != best)
        self._all = [one for one in self._all if time_s - one.seen_s <= _FORGOTTEN_S]
        if certain:
            self._all += [
                _Distractor(Motion(as_tuple(box)), as_tuple(box), time_s)
                for box in unmatched.boxes_xyxy
            ]


def rivals(candidates: Candidates, best: int) -> Candidates:
    """Of one network's candidates those that compete with the chosen one."""
    least = max(_LEAST_SCORE, _LEAST_SHARE * float(candidates.scores[best]))
    rival = candidates.scores >= least
    rival[best] = False
    return candidates.chosen(rival)
