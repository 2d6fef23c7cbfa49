"""A second look at the best candidates of a full-frame search, by a tracking network.

A search network learns to tell the object from everything else in a frame. A tracking network,
trained on far more objects, learns to draw a tight box around it. So the tracking network looks
into the window around each of the best candidates: its box replaces the candidate's, and both
scores count.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from refdet_core.boxes import area, as_tuple, clip
from refdet_core.decoding import Candidates
from refdet_core.search.base import Refiner, SearchFrame
from refdet_core.search.window import search_windows

_LEAST_PROBABILITY = 0.02  # less probable candidates are not looked at again


def refined(candidates: Candidates, refiner: Refiner, template_id: str, count: int) -> Candidates:
    """The candidates, of which the ``count`` best were looked at again; best first."""
    worth = np.flatnonzero(candidates.scores >= _LEAST_PROBABILITY)[:count]
    if not len(worth):
        return candidates
    seen = second_look(refiner.frame, candidates.boxes_xyxy[worth], template_id)
    boxes_xyxy, scores = candidates.boxes_xyxy.copy(), candidates.scores.copy()
    boxes_xyxy[worth] = seen.boxes_xyxy
    scores[worth] = refiner.rule(scores[worth], seen.scores)
    order = np.argsort(-scores, kind="stable")
    return Candidates(boxes_xyxy, scores, candidates.presence).chosen(order)


@dataclass(frozen=True)
class SecondLook:
    """A tracking network's answers for some boxes.

    Attributes:
        boxes_xyxy: the object's box by this network, clipped to the frame, ``(N, 4)``; the given
            box where it sees nothing.
        scores: probability by this network, ``(N,)``; 0 where it sees nothing.
    """

    boxes_xyxy: np.ndarray
    scores: np.ndarray


def second_look(frame: SearchFrame, boxes_xyxy: np.ndarray, template_id: str) -> SecondLook:
    """Look into the window around each of these boxes for objects centred in the box.

    Args:
        frame: the frame through the tracking network.
        boxes_xyxy: ``(N, 4)`` in frame pixels, one or more.
    """
    windows = [
        search_windows(as_tuple(box), 0.0, frame.rule, frame.multiple)[0] for box in boxes_xyxy
    ]
    seen = frame.infer(windows, [template_id])[template_id]
    boxes, scores = np.array(boxes_xyxy), np.zeros(len(boxes_xyxy))
    for i, found in enumerate(seen):
        x1, y1, x2, y2 = boxes_xyxy[i]
        centres = (found.boxes_xyxy[:, :2] + found.boxes_xyxy[:, 2:]) / 2
        inside = ((centres >= (x1, y1)) & (centres <= (x2, y2))).all(axis=1)
        clipped = clip(found.boxes_xyxy, *frame.frame_size)
        inside &= area(clipped) > 0
        if inside.any():
            best = int(np.argmax(np.where(inside, found.scores, -1.0)))
            boxes[i], scores[i] = clipped[best], found.scores[best]
    return SecondLook(boxes, scores)
