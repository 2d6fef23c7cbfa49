"""One template's target through time: begun by the whole frame, followed in a window."""

from __future__ import annotations

from typing import Iterator, Optional, Tuple

import numpy as np

from refdet_core.boxes import as_tuple
from refdet_core.calibration import logit
from refdet_core.decoding import Candidates
from refdet_core.search.base import Found, Look
from refdet_core.search.follower import Follower, Sight
from refdet_core.search.target import AutoConfig, Target
from refdet_core.types import SEARCHING, TRACKING, BoxXYXY, Detection, TargetStatus

_CLOSER_LOOKS = 3  # candidates of the whole frame that get a window before one is chosen
_MARGIN = 1.5  # log-odds by which another place must look more like the target, twice


class Pursuit:
    """Where the search for one template is.

    Args:
        template_id: the template.
        track_ids: where the next track takes its id from.
        multiple: sides of a window in network pixels are multiples of this.
        searches_again: look through the whole frame when the target is lost, and now and then
            while it is followed; otherwise the window goes on where it was lost.
    """

    def __init__(
        self,
        template_id: str,
        track_ids: Iterator[int],
        config: AutoConfig,
        multiple: int,
        searches_again: bool,
    ) -> None:
        self._template_id = template_id
        self._track_ids = track_ids
        self._target = Target(config)
        self._multiple = multiple
        self._searches_again = searches_again
        self._follower: Optional[Follower] = None
        self._sight: Optional[Sight] = None
        self._checked_s = 0.0
        self._rival: Optional[Follower] = None
        self._presence = 0.0

    @property
    def box_xyxy(self) -> Optional[BoxXYXY]:
        """Where the target, or what may be it, was seen last; None while there is no such thing."""
        return self._follower.box_xyxy if self._follower is not None else None

    def configure(self, config: AutoConfig, searches_again: bool) -> None:
        """Go on with other settings."""
        self._target.config = config
        self._searches_again = searches_again

    def lock(self, box_xyxy: BoxXYXY, time_s: float) -> None:
        """The target is here: follow it without further confirmation."""
        self._follower = Follower(box_xyxy, time_s)
        self._go_on(next(self._track_ids), time_s)

    def follow(self, look: Look, camera: Optional[np.ndarray]) -> None:
        """Look into the window, if there is one.

        Args:
            camera: see :meth:`~refdet_core.search.follower.Follower.step`.
        """
        self._sight, self._presence = None, 0.0
        if self._follower is not None:
            self._sight = self._look_into_window(look, self._follower, camera)
            self._presence = self._sight.score
        self._look_at_rival(look, camera)

    def needs_whole_frame(self, time_s: float) -> bool:
        """Whether the whole frame should be searched now, after :meth:`follow`."""
        config, state = self._target.config, self._target.state
        if state != SEARCHING and not self._searches_again:
            return False
        if state == TRACKING:
            return 0 < config.auto_check_s <= time_s - self._checked_s
        return self._sight is None or self._sight.score < self._target.least_score

    def consider(self, look: Look, seen: Candidates) -> None:
        """Take in the candidates of the whole frame, best first: begin, or doubt the track."""
        self._presence = max(self._presence, float(seen.scores.max(initial=0.0)))
        self._checked_s = look.time_s
        best = self._closest_look(look, seen)
        if best is None:
            return
        follower, sight = best
        if self._target.state != TRACKING:
            if self._sight is None or sight.score > self._sight.score:
                self._begin(follower, sight)
        elif self._is_mistaken(sight):
            self._rival = follower

    def miss(self, time_s: float) -> None:
        """The frame could not be looked at. Time goes on, and the next window is of the usual size:
        the backend may take no larger one."""
        self._sight, self._presence, self._rival = None, 0.0, None
        self.conclude(time_s)
        if self._follower is not None:
            self._follower = Follower(self._follower.box_xyxy, time_s)

    def conclude(self, time_s: float) -> Found:
        """What this frame says of the target."""
        target, sight, config = self._target, self._sight, self._target.config
        least_score = target.least_score
        if sight:
            target.update(sight.score, time_s, sight.template_score)
        else:
            target.update(None, time_s)
        if target.state != TRACKING and target.confirmed:
            back = target.track_id
            self._go_on(back if back is not None else next(self._track_ids), time_s)
        if self._follower and target.state != TRACKING:
            self._follower.recent.drop()  # a track begins, and comes back, by the template alone
        status = TargetStatus(
            target.state, target.track_id, self._follower.window_xyxy if self._follower else None
        )
        detections: Tuple[Detection, ...] = ()
        if target.state == TRACKING:
            if sight and sight.score >= least_score:
                detections = (
                    Detection(self._template_id, sight.score, sight.box_xyxy, target.track_id),
                )
        elif target.state == SEARCHING and sight and sight.score < config.auto_start_score:
            self._follower = None
        return Found(detections, self._presence, status)

    def _look_into_window(
        self, look: Look, follower: Follower, camera: Optional[np.ndarray]
    ) -> Sight:
        """Where the followed target is; what is certainly the target may help to see it later."""
        target = self._target
        searching = target.state == SEARCHING
        least_score = target.config.track_keep_score if searching else target.least_score
        sight = self._step(look, follower, least_score, camera)
        if target.state == TRACKING and sight.score >= least_score:
            follower.recent.learn(look, follower.box_xyxy, sight.template_score, target.config)
        return sight

    def _look_at_rival(self, look: Look, camera: Optional[np.ndarray]) -> None:
        """Look again at the place that the whole frame preferred; go there if it still does."""
        rival, self._rival = self._rival, None
        if rival is None:
            return
        sight = self._step(look, rival, 0.0, camera)
        if self._is_mistaken(sight):
            self._target.drop()
            self._begin(rival, sight)

    def _is_mistaken(self, rival: Sight) -> bool:
        """Whether what is followed looks clearly less like the target than that.

        Not while it is not seen: then it is on its way to be lost, which is no mistake. The
        template alone decides: a recent view of the wrong thing must not defend it.
        """
        own = self._sight
        if own is None or own.score < self._target.least_score:
            return False
        odds = logit(np.array([rival.template_score, own.template_score]))
        return float(odds[0] - odds[1]) > _MARGIN

    def _begin(self, follower: Follower, sight: Sight) -> None:
        """Watch another place from now on; what was seen at the last one proves nothing."""
        self._follower, self._sight, self._rival = follower, sight, None
        self._target.look_elsewhere()

    def _go_on(self, track_id: int, time_s: float) -> None:
        self._target.follow(track_id, time_s)
        self._checked_s, self._rival = time_s, None

    def _closest_look(self, look: Look, seen: Candidates) -> Optional[Tuple[Follower, Sight]]:
        """Of the best candidates that are not followed already, the one whose window shows most."""
        best: Optional[Tuple[Follower, Sight]] = None
        for score, row in zip(seen.scores[:_CLOSER_LOOKS], seen.boxes_xyxy):
            box_xyxy = as_tuple(row)
            if score < self._target.config.auto_start_score:
                continue
            if self._sight is not None and _contains(self._sight.box_xyxy, box_xyxy):
                continue
            follower = Follower(box_xyxy, look.time_s)
            sight = self._step(look, follower, 0.0)
            if best is None or sight.score > best[1].score:
                best = (follower, sight)
        return best

    def _step(
        self,
        look: Look,
        follower: Follower,
        least_score: float,
        camera: Optional[np.ndarray] = None,
    ) -> Sight:
        config = self._target.config
        return follower.step(look, self._template_id, config, self._multiple, least_score, camera)


def _contains(outer_xyxy: BoxXYXY, inner_xyxy: BoxXYXY) -> bool:
    """Whether the inner box's centre lies in the outer box."""
    x, y = (inner_xyxy[0] + inner_xyxy[2]) / 2, (inner_xyxy[1] + inner_xyxy[3]) / 2
    return outer_xyxy[0] <= x <= outer_xyxy[2] and outer_xyxy[1] <= y <= outer_xyxy[3]
