"""Asks the search network whether the tracking networks still follow the target."""

from __future__ import annotations

import math

import numpy as np

from refdet_core.search.base import SearchFrame
from refdet_core.search.refinement import refined
from refdet_core.search.window import WindowConfig, search_windows
from refdet_core.types import BoxXYXY

_SURE = 0.5  # below this probability every frame is checked
_SUDDEN = 0.5  # share of its score that the tracker may lose before it is checked


class Verification:
    """The search network's occasional check of a followed target.

    A network that was trained to find the target in every window cannot say that it has gone; the
    search network can, because it was trained on frames without it.
    """

    def __init__(self) -> None:
        self._probability = 0.0
        self._tracker_score = 0.0
        self._verified_s = -math.inf

    def probability(
        self,
        frame: SearchFrame,
        template_id: str,
        box_xyxy: BoxXYXY,
        tracker_score: float,
        config: WindowConfig,
    ) -> float:
        """Probability that the target is in this box; between two checks, that of the last one.

        Args:
            tracker_score: the tracking networks' score, on any scale.
        """
        if self._is_due(frame.time_s, tracker_score, config):
            windows = search_windows(box_xyxy, 0.0, config.rule(frame.rule), frame.multiple)
            seen = frame.infer(windows[:1], [template_id])[template_id][0]
            here = seen.chosen(_same_place(seen.boxes_xyxy, box_xyxy))
            if frame.refiner is not None:  # as in a full-frame search, so that scores compare
                here = refined(here, frame.refiner, template_id, count=1)
            self._probability = float(here.scores.max(initial=0.0))
            self._tracker_score, self._verified_s = tracker_score, frame.time_s
        return self._probability

    def _is_due(self, time_s: float, tracker_score: float, config: WindowConfig) -> bool:
        recent = 0 <= time_s - self._verified_s < config.track_verify_s
        doubtful = self._probability < _SURE or tracker_score < _SUDDEN * self._tracker_score
        return doubtful or not recent


def _same_place(boxes_xyxy: np.ndarray, box_xyxy: BoxXYXY) -> np.ndarray:
    """Which boxes ``(N, 4)`` have their centre in this box, or its centre in theirs."""
    x, y = (box_xyxy[0] + box_xyxy[2]) / 2, (box_xyxy[1] + box_xyxy[3]) / 2
    x1, y1, x2, y2 = boxes_xyxy.T
    around = (x1 <= x) & (x <= x2) & (y1 <= y) & (y <= y2)
    centre_x, centre_y = (x1 + x2) / 2, (y1 + y2) / 2
    inside = (
        (box_xyxy[0] <= centre_x)
        & (centre_x <= box_xyxy[2])
        & (box_xyxy[1] <= centre_y)
        & (centre_y <= box_xyxy[3])
    )
    return np.asarray(around | inside)
