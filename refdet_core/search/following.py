"""Following targets, and searching the whole frame for those that are not followed.

The calibrated presence decides each step, never the motion alone: re-detection by rule of thumb
is known to make long-term tracking worse than no re-detection at all.
"""

from __future__ import annotations

import itertools
from collections import deque
from typing import Callable, Deque, Dict, Optional, Sequence

import numpy as np

from refdet_core.errors import RefdetError
from refdet_core.search.base import Found, Look, SearchPlan
from refdet_core.search.camera_motion import CameraMotion
from refdet_core.search.pursuit import Pursuit
from refdet_core.search.scan import Scan
from refdet_core.search.target import AutoConfig
from refdet_core.types import BoxXYXY


class Following(SearchPlan):
    """A window for every target that is followed, one scan of the frame for all that are not.

    Args:
        scan: how the whole frame is searched.
        config: see :class:`~refdet_core.search.target.AutoConfig`.
        multiple, searches_again: see :class:`~refdet_core.search.pursuit.Pursuit`.
    """

    def __init__(self, scan: Scan, config: AutoConfig, multiple: int, searches_again: bool) -> None:
        self._scan = scan
        self._config = config
        self._multiple = multiple
        self._searches_again = searches_again
        self._pursuits: Dict[str, Pursuit] = {}
        self._track_ids = itertools.count(1)
        self._camera = CameraMotion()
        # Other threads only order; the thread that searches carries it out.
        self._orders: Deque[Callable[[float], None]] = deque()

    def lock(self, template_id: str, box_xyxy: BoxXYXY) -> None:
        def order(time_s: float) -> None:
            self._pursuits[template_id] = self._new_pursuit(template_id)
            self._pursuits[template_id].lock(box_xyxy, time_s)

        self._orders.append(order)

    def forget(self, template_id: str) -> None:
        def order(_: float) -> None:
            self._pursuits.pop(template_id, None)

        self._orders.append(order)

    def take_over(self, other: SearchPlan) -> None:
        if isinstance(other, Following):
            self._pursuits, self._track_ids = other._pursuits, other._track_ids
            self._camera, self._orders = other._camera, other._orders
            for pursuit in self._pursuits.values():
                pursuit.configure(self._config, self._searches_again)

    def find(self, look: Look, template_ids: Sequence[str]) -> Dict[str, Found]:
        while self._orders:
            self._orders.popleft()(look.time_s)
        self._pursuits = {
            name: self._pursuits.get(name) or self._new_pursuit(name) for name in template_ids
        }
        try:
            self._look(look)
        except RefdetError:
            for pursuit in self._pursuits.values():
                pursuit.miss(look.time_s)
            raise
        return {name: pursuit.conclude(look.time_s) for name, pursuit in self._pursuits.items()}

    def _look(self, look: Look) -> None:
        """Into the window of every target, and through the whole frame if one needs it."""
        camera = self._camera_motion(look)
        for pursuit in self._pursuits.values():
            pursuit.follow(look, camera)
        wanted = [
            name
            for name, pursuit in self._pursuits.items()
            if pursuit.needs_whole_frame(look.time_s)
        ]
        if wanted:
            for name, seen in self._scan.candidates(look, wanted).items():
                self._pursuits[name].consider(look, seen)

    def _new_pursuit(self, template_id: str) -> Pursuit:
        return Pursuit(
            template_id, self._track_ids, self._config, self._multiple, self._searches_again
        )

    def _camera_motion(self, look: Look) -> Optional[np.ndarray]:
        if not self._config.track_camera_motion:
            return None
        boxes = [pursuit.box_xyxy for pursuit in self._pursuits.values()]
        return self._camera.update(look.frame_bgr, [box for box in boxes if box is not None])
