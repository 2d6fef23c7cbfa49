"""A recent view of a tracked target, which helps its template when the target's looks have changed.

Trackers drift when each template update is judged by the previous update. Here only the operator's
references judge:

- a view is taken only of what the template alone finds likely, so no view depends on another;
- it adds no candidate and no box; it only raises the probability of candidates that the template
  alone finds possible;
- it is dropped when the template alone has not found the target likely for a while.
"""

from __future__ import annotations

from typing import Any, Sequence, Tuple

import numpy as np

from refdet_core.decoding import Candidates
from refdet_core.imaging import Crop
from refdet_core.search.base import SearchFrame
from refdet_core.search.verification import is_recent
from refdet_core.search.window import WindowConfig
from refdet_core.templates import MIN_SIDE_PX
from refdet_core.types import BoxXYXY

_LIKELY = 0.5  # least probability by the template alone for taking a view
_UNCERTAIN_S = 3.0  # the view is dropped when nothing was likely for longer than this


class RecentView:
    """The latest view of one target, encoded like a reference; none until :meth:`learn`."""

    def __init__(self) -> None:
        self._view: Any = None
        self._bank_version = 0
        self._taken_s = 0.0
        self._likely_s = 0.0

    def drop(self) -> None:
        """Forget the picture."""
        self._view = None

    def infer(
        self, frame: SearchFrame, crops: Sequence[Crop], template_id: str, config: WindowConfig
    ) -> Tuple[Candidates, np.ndarray]:
        """The template's candidates in these crops; the view may have raised their probability.

        Returns:
            The candidates in all crops, and their probabilities by the template alone, ``(N,)``.
        """
        uncertain = frame.time_s - self._likely_s > _UNCERTAIN_S
        if uncertain or frame.bank_version != self._bank_version or not config.track_update_s:
            self.drop()
        if self._view is None:
            candidates = Candidates.joined(frame.infer(crops, [template_id])[template_id])
            return candidates, candidates.scores
        comparison = frame.infer_with_view(crops, template_id, self._view)
        candidates, alone = comparison.candidates, comparison.candidates.scores
        better = np.maximum(alone, comparison.view_scores)
        scores = np.where(alone >= config.keep_score, better, alone)
        return Candidates(candidates.boxes_xyxy, scores, candidates.presence), alone

    def learn(
        self, frame: SearchFrame, box_xyxy: BoxXYXY, template_score: float, config: WindowConfig
    ) -> None:
        """Take a view of the tracked target if one is due and the template is sure of the target.

        Args:
            box_xyxy: the target in this frame.
            template_score: its probability by the template alone.
        """
        if not config.track_update_s or template_score < _LIKELY:
            return
        self._likely_s = frame.time_s
        recent = is_recent(frame.time_s, self._taken_s, config.track_update_s)
        if (self._view is None or not recent) and _shown_whole(box_xyxy, frame.frame_size):
            self._view = frame.encode(box_xyxy)
            self._taken_s, self._bank_version = frame.time_s, frame.bank_version


def _shown_whole(box_xyxy: BoxXYXY, frame_size: Tuple[int, int]) -> bool:
    """Whether the box lies in the frame and is large enough to be encoded."""
    x1, y1, x2, y2 = box_xyxy
    inside = x1 >= 0 and y1 >= 0 and x2 <= frame_size[0] and y2 <= frame_size[1]
    return inside and min(x2 - x1, y2 - y1) >= MIN_SIDE_PX
