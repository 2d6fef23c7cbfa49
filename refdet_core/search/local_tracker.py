"""Tracks one target from frame to frame in a window around its expected position."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional, Tuple

import numpy as np

from refdet_core.boxes import area, as_tuple, clip
from refdet_core.search.base import SearchFrame
from refdet_core.search.motion import Motion
from refdet_core.search.recent_view import RecentView
from refdet_core.search.window import WindowConfig, ranking_scores, search_windows, smoothed_box
from refdet_core.types import BoxXYXY


@dataclass(frozen=True)
class Observation:
    """What the window showed: the target's box, clipped to the frame, and its probability.

    Attributes:
        template_score: the probability without the help of a recent view.
    """

    box_xyxy: BoxXYXY
    score: float
    template_score: float


class LocalTracker:
    """Tracks one target that was seen in ``box_xyxy`` at ``time_s``.

    Attributes:
        box_xyxy: the last seen or the expected box, in frame pixels.
        window_xyxy: the window of the last frame; None before the first.
        recent: a recent view of the target that helps its template.
    """

    def __init__(self, box_xyxy: BoxXYXY, time_s: float) -> None:
        self.box_xyxy = box_xyxy
        self.window_xyxy: Optional[BoxXYXY] = None
        self.recent = RecentView()
        self._motion = Motion(box_xyxy)
        self._time_s = time_s

    def track(
        self,
        frame: SearchFrame,
        template_id: str,
        config: WindowConfig,
        multiple: int,
        least_score: float,
        camera: Optional[np.ndarray] = None,
    ) -> Observation:
        """Search the window in this frame.

        Args:
            multiple: window sides in network pixels are multiples of this.
            least_score: below this probability the target counts as unseen and coasts.
            camera: how the scene moved in the image since the last frame, see
                :meth:`~refdet_core.search.motion.Motion.move`.
        """
        # A box given or found in this very frame already includes the camera's motion.
        if camera is not None and frame.time_s != self._time_s:
            self._motion.move(camera)
        expected = self._expected(frame)
        windows = search_windows(expected, self._motion.position_std_px, config, multiple)
        first = windows[0]
        self.window_xyxy = (
            float(first.x),
            float(first.y),
            float(first.x + first.width),
            float(first.y + first.height),
        )
        candidates, alone = self.recent.infer(frame, windows, template_id, config)
        visible = area(clip(candidates.boxes_xyxy, *frame.frame_size)) > 0
        candidates, alone = candidates.chosen(visible), alone[visible]
        self.box_xyxy = expected
        if not len(candidates):
            return Observation(expected, 0.0, 0.0)
        best = int(np.argmax(ranking_scores(candidates, expected, first, config)))
        score = float(candidates.scores[best])
        if score >= least_score:
            size = (expected[2] - expected[0], expected[3] - expected[1])
            self.box_xyxy = smoothed_box(as_tuple(candidates.boxes_xyxy[best]), score, size, config)
            self._motion.update(self.box_xyxy, score)
        return Observation(_inside(self.box_xyxy, frame.frame_size), score, float(alone[best]))

    def _expected(self, frame: SearchFrame) -> BoxXYXY:
        """The last box, moved to the expected position; its centre stays in the frame."""
        x1, y1, x2, y2 = self._motion.predict(max(0.0, frame.time_s - self._time_s))
        self._time_s = frame.time_s
        width, height = self.box_xyxy[2] - self.box_xyxy[0], self.box_xyxy[3] - self.box_xyxy[1]
        frame_width, frame_height = frame.frame_size
        x = min(max((x1 + x2) / 2, 0.0), float(frame_width))
        y = min(max((y1 + y2) / 2, 0.0), float(frame_height))
        return x - width / 2, y - height / 2, x + width / 2, y + height / 2


def _inside(box_xyxy: BoxXYXY, frame_size: Tuple[int, int]) -> BoxXYXY:
    return as_tuple(clip(np.array(box_xyxy), *frame_size))
