"""Tracks one target from frame to frame in a window around its expected position."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from typing import Deque, List, Optional, Sequence, Tuple

import numpy as np

from refdet_core.boxes import area, as_boxes, as_tuple, clip
from refdet_core.imaging import Crop
from refdet_core.search.agreement import Answer, combined
from refdet_core.search.base import SearchFrame
from refdet_core.search.distractors import Distractors, rivals
from refdet_core.search.motion import Motion
from refdet_core.search.recent_view import RecentView
from refdet_core.search.refinement import View
from refdet_core.search.verification import (
    Verification,
    candidates_at,
    is_recent,
    looked_at_again,
    no_views,
)
from refdet_core.search.window import (
    WindowConfig,
    change_penalty,
    ranking_scores,
    search_windows,
    smoothed_box,
    within_step,
)
from refdet_core.types import BoxXYXY

_TRACKED = 0.3  # from this score on, a tracking network's box is followed without verification
_UNVERIFIED_S = 1.0  # ... for so long
_FAST_S = 0.07  # when frames follow so closely, the target cannot have gone far, ...
_NARROW = 0.75  # ... and between two checks this share of the usual window is enough
_CERTAIN = 0.5  # from this probability on, what is seen beside the target is something else


@dataclass(frozen=True)
class _Sure:
    """Where and how fast the target was when it was last verified; pixels of the frame, seconds."""

    box_xyxy: BoxXYXY
    velocity_px_s: Tuple[float, float]
    time_s: float


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

    The networks of ``SearchFrame.trackers`` locate it. If these are not the search network itself,
    the search network gives the probability that it is the target, see
    :class:`~refdet_core.search.verification.Verification`.

    Attributes:
        box_xyxy: the last seen or the expected box, in frame pixels.
        window_xyxy: the window of the last frame; None before the first.
        views: how the target has looked recently.
    """

    def __init__(
        self, box_xyxy: BoxXYXY, time_s: float, views: Optional[Deque[View]] = None
    ) -> None:
        self.box_xyxy = box_xyxy
        self.window_xyxy: Optional[BoxXYXY] = None
        self._recent: List[RecentView] = []
        self._looked_s: List[float] = []
        self.views = no_views() if views is None else views
        self._verification = Verification(self.views)
        self._motion = Motion(box_xyxy)
        self._distractors = Distractors()
        self._time_s = self._seen_s = time_s
        self._sure: Optional[_Sure] = None

    def track(
        self,
        frame: SearchFrame,
        template_id: str,
        config: WindowConfig,
        least_score: float,
        camera: Optional[np.ndarray] = None,
        followed: bool = False,
    ) -> Observation:
        """Search the window in this frame.

        Args:
            least_score: below this probability the target counts as unseen and coasts.
            followed: whether this is a target that was seen before, and not a candidate.
            camera: how the scene moved in the image since the last frame, see
                :meth:`~refdet_core.search.motion.Motion.move`.
        """
        # A box given or found in this very frame already includes the camera's motion.
        if camera is not None and frame.time_s != self._time_s:
            self.move(camera)
        closely = 0 < frame.time_s - self._time_s <= _FAST_S
        narrow = closely and not self._verification.is_due(frame.time_s, config)
        expected = self._expected(frame)
        self.box_xyxy = expected
        answer = combined(self._answers(frame, template_id, config, expected, narrow))
        score, alone = answer.score, answer.template_score
        verified = tuple(frame.trackers) != (frame,)
        if verified:
            score = alone = self._verification.probability(
                frame, template_id, answer.box_xyxy, answer.score, config, followed
            )
        if score >= least_score:
            self._seen_s = frame.time_s
        refuted = verified and score < least_score and self._verification.refuted
        recently = frame.time_s - self._seen_s <= _UNVERIFIED_S
        follows = verified and recently and answer.score >= _TRACKED and not refuted
        if answer.score > 0 and (score >= least_score or follows):
            size = (expected[2] - expected[0], expected[3] - expected[1])
            self.box_xyxy = smoothed_box(answer.box_xyxy, answer.rate, size)
            self._motion.update(self.box_xyxy, answer.score)
        if score >= least_score and self._verification.verified_s == frame.time_s:
            self._sure = _Sure(self.box_xyxy, self._motion.velocity_px_s, frame.time_s)
        elif refuted and self._sure is not None:
            self._go_back_to(self._sure, frame)
        if verified:
            # A narrow window does not show what is beside the target.
            checked = self._verification.verified_s == frame.time_s and not narrow
            certain = score >= _CERTAIN and checked
            self._distractors.learn(answer.rivals, answer.box_xyxy, frame.time_s, certain)
        return Observation(_inside(self.box_xyxy, frame.frame_size), score, alone)

    def _go_back_to(self, sure: _Sure, frame: SearchFrame) -> None:
        """Expect the target where it went from its last verified place: what the trackers have
        followed since then was something else."""
        self.box_xyxy = sure.box_xyxy
        self._motion = Motion(sure.box_xyxy, velocity_px_s=sure.velocity_px_s)
        self._time_s, self._sure = sure.time_s, None
        self.box_xyxy = self._expected(frame)

    def examine(self, frame: SearchFrame, template_id: str, config: WindowConfig) -> Observation:
        """Look where the target is expected with the search network alone, which is cheaper."""
        self.box_xyxy = self._expected(frame)
        here = candidates_at(frame, template_id, self.box_xyxy, config)
        seen = looked_at_again(frame, template_id, here)
        score = 0.0
        if len(seen):
            best = int(np.argmax(seen.scores))
            score = float(seen.scores[best])
            self.box_xyxy = as_tuple(seen.boxes_xyxy[best])
            self._motion.update(self.box_xyxy, score)
        return Observation(_inside(self.box_xyxy, frame.frame_size), score, score)

    @property
    def verified_s(self) -> float:
        """When the search network last verified the target, seconds; -inf: never."""
        return self._verification.verified_s

    def is_distractor(self, box_xyxy: BoxXYXY) -> bool:
        """Whether something that was seen beside the target is here."""
        return bool(self._distractors.are_at(as_boxes(box_xyxy), self.box_xyxy)[0])

    def move(self, camera: np.ndarray) -> None:
        """Expect the target where the camera's motion since the last frame took it."""
        self._motion.move(camera)
        self._distractors.move(camera)

    def learn(self, frame: SearchFrame, template_score: float, config: WindowConfig) -> None:
        """Learn from this frame if it certainly shows the target."""
        for recent, tracker in zip(self._recent, frame.trackers):
            recent.learn(tracker, self.box_xyxy, template_score, config)

    def forget_views(self) -> None:
        """Forget how the target looked recently."""
        for recent in self._recent:
            recent.drop()

    def _answers(
        self,
        frame: SearchFrame,
        template_id: str,
        config: WindowConfig,
        expected: BoxXYXY,
        narrow: bool,
    ) -> List[Answer]:
        """Where each network sees the target, in a usual or narrow window around where it is
        expected."""
        trackers = frame.trackers
        if len(self._recent) != len(trackers):
            self._recent = [RecentView() for _ in trackers]
            self._looked_s = [-math.inf] * len(trackers)
        due = self._due(trackers, frame.time_s)
        windows = [
            search_windows(
                expected,
                config.rule(tracker.rule),
                tracker.multiple,
                self._motion.position_std_px,
                _NARROW if narrow else 1.0,
            )
            for tracker in trackers
        ]
        first = windows[0][0]
        self.window_xyxy = (
            float(first.x),
            float(first.y),
            float(first.x + first.width),
            float(first.y + first.height),
        )
        self._looked_s = [
            frame.time_s if looks else last_s for looks, last_s in zip(due, self._looked_s)
        ]
        return frame.together(
            [
                partial(self._answer, tracker, crops, recent, template_id, config, expected)
                for tracker, crops, recent, looks in zip(trackers, windows, self._recent, due)
                if looks
            ]
        )

    def _due(self, trackers: Sequence[SearchFrame], time_s: float) -> List[bool]:
        """Which networks look in this frame: while the target is in doubt, all of them."""
        sure = self._verification.is_sure
        due = [
            not (sure and is_recent(time_s, last_s, tracker.rule.interval_s))
            for tracker, last_s in zip(trackers, self._looked_s)
        ]
        return due if any(due) else [True] * len(due)

    def _answer(
        self,
        tracker: SearchFrame,
        windows: List[Crop],
        recent: RecentView,
        template_id: str,
        config: WindowConfig,
        expected: BoxXYXY,
    ) -> Answer:
        """The candidate in one network's windows that is most like the target's next box."""
        rule = config.rule(tracker.rule)
        candidates, alone = recent.infer(tracker, windows, template_id, config)
        visible = area(clip(candidates.boxes_xyxy, *tracker.frame_size)) > 0
        candidates, alone = candidates.chosen(visible), alone[visible]
        ranking = ranking_scores(candidates, expected, windows[0], rule)
        ranking[self._distractors.are_at(candidates.boxes_xyxy, expected)] = 0.0
        if not ranking.any():
            return Answer(expected, 0.0, 0.0, 0.0, candidates)
        best = int(np.argmax(ranking))
        score = float(candidates.scores[best])
        box_xyxy = within_step(as_tuple(candidates.boxes_xyxy[best]), expected, rule.max_step_px)
        penalty = float(change_penalty(candidates.boxes_xyxy[best : best + 1], expected, rule)[0])
        rate = rule.scale_lr if rule.scales > 1 else rule.size_lr * score * penalty
        return Answer(box_xyxy, score, float(alone[best]), rate, rivals(candidates, best))

    def _expected(self, frame: SearchFrame) -> BoxXYXY:
        """The last box, moved to the expected position; its centre stays in the frame."""
        passed_s = max(0.0, frame.time_s - self._time_s)
        x1, y1, x2, y2 = self._motion.predict(passed_s)
        self._distractors.expect(passed_s)
        self._time_s = frame.time_s
        width, height = self.box_xyxy[2] - self.box_xyxy[0], self.box_xyxy[3] - self.box_xyxy[1]
        frame_width, frame_height = frame.frame_size
        x = min(max((x1 + x2) / 2, 0.0), float(frame_width))
        y = min(max((y1 + y2) / 2, 0.0), float(frame_height))
        return x - width / 2, y - height / 2, x + width / 2, y + height / 2


def _inside(box_xyxy: BoxXYXY, frame_size: Tuple[int, int]) -> BoxXYXY:
    return as_tuple(clip(np.array(box_xyxy), *frame_size))
