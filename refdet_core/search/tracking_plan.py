"""Tracks targets in windows and searches the whole frame for those without a track.

The calibrated probability decides each step, never the motion alone: re-detection by rules of thumb
makes long-term tracking worse than none.
"""

from __future__ import annotations

import itertools
from collections import deque
from typing import Callable, Deque, Dict, Optional, Sequence

import numpy as np

from refdet_core.errors import RefdetError
from refdet_core.search.base import SearchFrame, SearchPlan, SearchResult
from refdet_core.search.camera_motion import CameraMotion
from refdet_core.search.full_frame_search import FullFrameSearch
from refdet_core.search.target_tracker import TargetTracker
from refdet_core.search.track_check import TrackCheck
from refdet_core.search.track_state import AutoConfig
from refdet_core.types import BoxXYXY


class TrackingPlan(SearchPlan):
    """A window for each tracked target, and one full-frame search for all others.

    Args:
        full_frame_search: how the whole frame is searched for targets without a track.
        check_search: how it is searched to check tracks: one tile in each frame.
        config: see :class:`~refdet_core.search.track_state.AutoConfig`.
    """

    def __init__(
        self, full_frame_search: FullFrameSearch, check_search: FullFrameSearch, config: AutoConfig
    ) -> None:
        self._full_frame_search = full_frame_search
        self._check = TrackCheck(check_search)
        self._config = config
        self._trackers: Dict[str, TargetTracker] = {}
        self._track_ids = itertools.count(1)
        self._camera = CameraMotion()
        # Other threads only queue commands; the searching thread runs them.
        self._commands: Deque[Callable[[float], None]] = deque()

    def lock(self, template_id: str, box_xyxy: BoxXYXY) -> None:
        def command(time_s: float) -> None:
            self._trackers[template_id] = self._new_tracker(template_id)
            self._trackers[template_id].lock(box_xyxy, time_s)

        self._commands.append(command)

    def expect(self, template_id: str, box_xyxy: BoxXYXY, age_s: float) -> None:
        def command(time_s: float) -> None:
            self._trackers[template_id] = self._new_tracker(template_id)
            self._trackers[template_id].expect(box_xyxy, time_s - age_s)

        self._commands.append(command)

    def forget(self, template_id: str) -> None:
        def command(_: float) -> None:
            self._trackers.pop(template_id, None)

        self._commands.append(command)

    def adopt_state(self, other: SearchPlan) -> None:
        if isinstance(other, TrackingPlan):
            self._trackers, self._track_ids = other._trackers, other._track_ids
            self._camera, self._commands = other._camera, other._commands
            for tracker in self._trackers.values():
                tracker.configure(self._config)

    def search(self, frame: SearchFrame, template_ids: Sequence[str]) -> Dict[str, SearchResult]:
        while self._commands:
            self._commands.popleft()(frame.time_s)
        self._trackers = {
            name: self._trackers.get(name) or self._new_tracker(name) for name in template_ids
        }
        try:
            self._track_and_search(frame)
        except RefdetError:
            for tracker in self._trackers.values():
                tracker.mark_missed(frame.time_s)
            raise
        return {
            name: tracker.update_state(frame.time_s) for name, tracker in self._trackers.items()
        }

    def _track_and_search(self, frame: SearchFrame) -> None:
        """Search the window of each target, and the whole frame if one needs it."""
        camera = self._camera_motion(frame)
        for tracker in self._trackers.values():
            tracker.track(frame, camera)
        wanted = {
            name: tracker.expected_size(frame)
            for name, tracker in self._trackers.items()
            if tracker.needs_full_frame_search(frame.time_s)
        }
        if all(self._trackers[name].is_tracking for name in wanted):
            self._check.step(frame, self._trackers, wanted)
        else:
            views = {name: self._trackers[name].views_of_lost for name in wanted}
            for name, seen in self._full_frame_search.candidates(frame, wanted, views).items():
                self._trackers[name].update_from_full_frame(frame, seen)

    def _new_tracker(self, template_id: str) -> TargetTracker:
        return TargetTracker(template_id, self._track_ids, self._config)

    def _camera_motion(self, frame: SearchFrame) -> Optional[np.ndarray]:
        if not self._config.track_camera_motion:
            return None
        boxes = [tracker.box_xyxy for tracker in self._trackers.values()]
        return self._camera.update(frame.frame_bgr, [box for box in boxes if box is not None])
