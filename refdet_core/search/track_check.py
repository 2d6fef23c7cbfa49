"""Checks of the whole frame, whether something in it is more like a tracked target than what is
tracked."""

from __future__ import annotations

from typing import Dict, Mapping, Optional

from refdet_core.search.base import SearchFrame
from refdet_core.search.full_frame_search import FullFrameSearch
from refdet_core.search.scales import SizeRange
from refdet_core.search.target_tracker import TargetTracker


class TrackCheck:
    """Checks tracked targets in small steps, at most one in each frame, so that no frame waits.

    A step searches a tile, or looks into the window of a suspect that the last tile showed, or at
    the end compares a tracked object with its rival, the best suspect of the check. In a frame in
    which a target was verified, the step waits for the next one, but not twice.

    Args:
        search: hands out one tile in each frame.
    """

    def __init__(self, search: FullFrameSearch) -> None:
        self._search = search
        # Until the check is over, so that the tiles remain the same.
        self._sizes: Dict[str, Optional[SizeRange]] = {}
        self._all_searched = False
        self._waited = False

    def step(
        self,
        frame: SearchFrame,
        trackers: Mapping[str, TargetTracker],
        due: Mapping[str, Optional[SizeRange]],
    ) -> None:
        """Take the next step of the present check.

        Args:
            trackers: of all targets, by template.
            due: the templates of the next check, and the possible sizes of their objects.
        """
        if not self._sizes:
            self._sizes, self._all_searched = dict(due), False
            for name in due:
                trackers[name].start_check()
        self._sizes = {
            name: size
            for name, size in self._sizes.items()
            if name in trackers and trackers[name].is_tracking
        }
        checked = [trackers[name] for name in self._sizes]
        if not checked or self._waits(any(each.was_verified(frame.time_s) for each in checked)):
            return
        suspicious = [tracker for tracker in checked if tracker.has_suspect]
        challenged = [tracker for tracker in checked if tracker.has_rival]
        if suspicious:
            suspicious[0].examine_suspect(frame)
        elif not self._all_searched:
            for name, seen in self._search.candidates(frame, self._sizes).items():
                trackers[name].suspect(frame, seen)
            self._all_searched = self._search.round_is_over
        elif challenged:
            challenged[0].compare_with_rival(frame)
        else:
            self._sizes = {}

    def _waits(self, is_busy: bool) -> bool:
        self._waited = is_busy and not self._waited
        return self._waited
