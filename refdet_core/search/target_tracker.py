"""Tracks one template's target: full-frame search starts it, a window follows it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Deque, Iterator, List, Optional, Tuple

import numpy as np

from refdet_core.boxes import as_boxes, as_tuple, centred_in, mean_side
from refdet_core.calibration import logit
from refdet_core.decoding import Candidates
from refdet_core.search.base import SearchFrame, SearchResult
from refdet_core.search.local_tracker import LocalTracker, Observation
from refdet_core.search.refinement import View
from refdet_core.search.scales import SizeRange
from refdet_core.search.track_state import AutoConfig, TrackState
from refdet_core.search.verification import no_views
from refdet_core.types import SEARCHING, TRACKING, BoxXYXY, Detection, TargetStatus

_MAX_VERIFIED = 3  # candidates of the full frame that are checked in a window
_MAX_EXAMINED = 3  # suspects of a check whose tiles come one by one
_LEAST_SUSPICIOUS = 0.05  # probability of a candidate that a check examines
_MARGIN = 1.5  # log-odds by which a challenger must beat the tracked object, in two frames


@dataclass
class _Check:
    """One check of the whole frame, which goes tile by tile.

    Attributes:
        scores: probabilities of the candidates that were chosen for examination.
        suspect: found in the last tile, not examined yet.
        rival: the best of what was examined, and what its window showed.
    """

    scores: List[float] = field(default_factory=list)
    suspect: Optional[LocalTracker] = None
    rival: Optional[Tuple[LocalTracker, Observation]] = None

    def is_among_best(self, score: float) -> bool:
        """Whether fewer than :data:`_MAX_EXAMINED` candidates so far scored as much."""
        return sum(other >= score for other in self.scores) < _MAX_EXAMINED

    def move(self, camera: np.ndarray) -> None:
        """Expect suspect and rival where the camera's motion took them."""
        if self.suspect is not None:
            self.suspect.move(camera)
        if self.rival is not None:
            self.rival[0].move(camera)


class TargetTracker:
    """The tracker of one template's target.

    Args:
        template_id: the template's id.
        track_ids: yields the ids of new tracks.
    """

    def __init__(
        self,
        template_id: str,
        track_ids: Iterator[int],
        config: AutoConfig,
    ) -> None:
        self._template_id = template_id
        self._track_ids = track_ids
        self._track = TrackState(config)
        self._local_tracker: Optional[LocalTracker] = None
        self._observation: Optional[Observation] = None
        self._last_full_search_s = 0.0
        self._challenger: Optional[LocalTracker] = None
        self._check = _Check()
        self._presence = 0.0
        self._known_size: Optional[SizeRange] = None
        self._size_time_s = 0.0
        self._views = no_views()

    @property
    def box_xyxy(self) -> Optional[BoxXYXY]:
        """The last box of the target or of the best candidate; None while there is neither."""
        return self._local_tracker.box_xyxy if self._local_tracker is not None else None

    @property
    def is_tracking(self) -> bool:
        """Whether the target is TRACKING."""
        return self._track.state == TRACKING

    @property
    def views_of_lost(self) -> Deque[View]:
        """How the target looked before it was lost; nothing while it is tracked: recent views of
        the tracked object must not defend it against what looks more like the references."""
        return no_views() if self._track.state == TRACKING else self._views

    def expected_size(self, frame: SearchFrame) -> Optional[SizeRange]:
        """The target's possible sizes in this frame; None: unknown."""
        if self._known_size is None:
            self._known_size = frame.reference_size(self._template_id)
            self._size_time_s = frame.time_s
        if self._known_size is None:
            return None
        return self._known_size.after(frame.time_s - self._size_time_s)

    def configure(self, config: AutoConfig) -> None:
        """Change the settings; the track stays."""
        self._track.config = config

    def lock(self, box_xyxy: BoxXYXY, time_s: float) -> None:
        """Track the target from this box on, without further confirmation."""
        self._local_tracker = LocalTracker(box_xyxy, time_s, self.views_of_lost)
        self._remember_size(box_xyxy, time_s)
        self._resume(next(self._track_ids), time_s)

    def expect(self, box_xyxy: BoxXYXY, time_s: float) -> None:
        """Look for the target where it was at that time; one frame that shows it there starts the
        track."""
        self._local_tracker = LocalTracker(box_xyxy, time_s, self.views_of_lost)
        self._remember_size(box_xyxy, time_s)
        self._track.expect()

    def track(self, frame: SearchFrame, camera: Optional[np.ndarray]) -> None:
        """Search the window, if there is one.

        Args:
            camera: see :meth:`~refdet_core.search.local_tracker.LocalTracker.track`.
        """
        self._observation, self._presence = None, 0.0
        if self._local_tracker is not None:
            self._observation = self._track_in_window(frame, self._local_tracker, camera)
            self._presence = self._observation.score
        if camera is not None:
            self._check.move(camera)
        self._check_challenger(frame, camera)

    def was_verified(self, time_s: float) -> bool:
        """Whether the target was verified in the frame of that time."""
        return self._local_tracker is not None and self._local_tracker.verified_s == time_s

    def needs_full_frame_search(self, time_s: float) -> bool:
        """Whether the whole frame should be searched now, after :meth:`track`."""
        config, state = self._track.config, self._track.state
        if state == TRACKING:
            return 0 < config.auto_check_s <= time_s - self._last_full_search_s
        return self._observation is None or self._observation.score < self._track.least_score

    def update_from_full_frame(self, frame: SearchFrame, candidates: Candidates) -> None:
        """Use the candidates of the whole frame, best first, to start a track or to question the
        current one."""
        self._presence = max(self._presence, float(candidates.scores.max(initial=0.0)))
        self._last_full_search_s = frame.time_s
        best = self._best_candidate(frame, candidates)
        if self._track.state == TRACKING:
            self._check = _Check(rival=best)
            self.compare_with_rival(frame)
            return
        least = self._observation.score if self._observation is not None else -1.0
        if best is not None and best[1].score > least:
            self._switch_to(*best)

    @property
    def has_suspect(self) -> bool:
        """Whether a candidate of the check waits for :meth:`examine_suspect`."""
        return self._check.suspect is not None

    def start_check(self) -> None:
        """Start a check of the whole frame."""
        self._check = _Check()

    def suspect(self, frame: SearchFrame, candidates: Candidates) -> None:
        """Choose what to examine of one tile's candidates, best first: the best, if it is one of
        the best of the check so far."""
        self._last_full_search_s = frame.time_s
        for score, row in zip(candidates.scores, candidates.boxes_xyxy):
            box_xyxy = as_tuple(row)
            if score < _LEAST_SUSPICIOUS or not self._check.is_among_best(float(score)):
                return
            if not self._is_observed_at(box_xyxy):
                self._check.suspect = LocalTracker(box_xyxy, frame.time_s)
                self._check.scores.append(float(score))
                return

    def examine_suspect(self, frame: SearchFrame) -> None:
        """Look at the suspect in its window."""
        suspect, self._check.suspect = self._check.suspect, None
        if suspect is None:
            return
        observation = suspect.examine(frame, self._template_id, self._track.config)
        self._presence = max(self._presence, observation.score)
        rival = self._check.rival
        if rival is None or observation.score > rival[1].score:
            self._check.rival = (suspect, observation)

    @property
    def has_rival(self) -> bool:
        """Whether something examined waits for :meth:`compare_with_rival`."""
        return self._check.rival is not None

    def compare_with_rival(self, frame: SearchFrame) -> None:
        """Compare the tracked object with the best of what was examined."""
        rival, self._check.rival = self._check.rival, None
        if rival is not None and self._is_false_lock(frame, rival[1]):
            self._challenger = rival[0]

    def mark_missed(self, time_s: float) -> None:
        """The frame could not be searched. Time passes, and the next window has the usual size
        because the backend may refuse a larger one."""
        self._observation, self._presence = None, 0.0
        self._challenger, self._check = None, _Check()
        self.update_state(time_s)
        if self._local_tracker is not None:
            tracker = self._local_tracker
            self._local_tracker = LocalTracker(tracker.box_xyxy, time_s, tracker.views)

    def update_state(self, time_s: float) -> SearchResult:
        """Update the track's state with this frame; returns the result."""
        track, observation, config = self._track, self._observation, self._track.config
        least_score = track.least_score
        if observation:
            track.update(observation.score, time_s, observation.template_score)
        else:
            track.update(None, time_s)
        if track.state != TRACKING and track.confirmed:
            back = track.track_id
            self._resume(back if back is not None else next(self._track_ids), time_s)
        if self._local_tracker and track.state != TRACKING:
            # The template alone starts a track and brings one back.
            self._local_tracker.forget_views()
        status = TargetStatus(
            track.state,
            track.track_id,
            self._local_tracker.window_xyxy if self._local_tracker else None,
        )
        detections: Tuple[Detection, ...] = ()
        if track.state == TRACKING:
            if observation and observation.score >= least_score:
                detections = (
                    Detection(
                        self._template_id, observation.score, observation.box_xyxy, track.track_id
                    ),
                )
                self._remember_size(observation.box_xyxy, time_s)
        elif (
            track.state == SEARCHING and observation and observation.score < config.auto_start_score
        ):
            self._local_tracker = None
        return SearchResult(detections, self._presence, status)

    def _track_in_window(
        self, frame: SearchFrame, local_tracker: LocalTracker, camera: Optional[np.ndarray]
    ) -> Observation:
        """Find the target in its window; learn a recent view of it where the template is sure."""
        track = self._track
        searching = track.state == SEARCHING
        least_score = track.config.keep_score if searching else track.least_score
        observation = self._track_with(frame, local_tracker, least_score, camera, track.follows)
        if track.state == TRACKING and observation.score >= least_score:
            local_tracker.learn(frame, observation.template_score, track.config)
        return observation

    def _check_challenger(self, frame: SearchFrame, camera: Optional[np.ndarray]) -> None:
        """Check the challenger again; switch to it if it still looks more like the target."""
        challenger, self._challenger = self._challenger, None
        if challenger is None:
            return
        observation = self._track_with(frame, challenger, 0.0, camera)
        if self._is_false_lock(frame, observation):
            self._track.drop()
            self._views = challenger.views
            self._switch_to(challenger, observation)

    def _is_false_lock(self, frame: SearchFrame, challenger: Observation) -> bool:
        """Whether the tracked object looks clearly less like the target than the challenger.

        Never while the tracked object is unseen: then it is about to be lost, which is no false
        lock. The template alone decides: recent views of the wrong object must not defend it.
        """
        own = self._observation
        if own is None or own.score < self._track.least_score:
            return False
        anew = self._track_with(frame, LocalTracker(own.box_xyxy, frame.time_s), 0.0)
        odds = logit(np.array([challenger.template_score, anew.template_score]))
        return float(odds[0] - odds[1]) > _MARGIN

    def _remember_size(self, box_xyxy: BoxXYXY, time_s: float) -> None:
        size_px = mean_side(box_xyxy)
        self._known_size, self._size_time_s = SizeRange(size_px, size_px), time_s

    def _switch_to(self, local_tracker: LocalTracker, observation: Observation) -> None:
        """Track another place from now on; it needs its own confirmation."""
        self._local_tracker, self._observation = local_tracker, observation
        self._challenger, self._check = None, _Check()
        self._track.restart()

    def _resume(self, track_id: int, time_s: float) -> None:
        self._track.start(track_id, time_s)
        self._last_full_search_s = time_s
        self._challenger, self._check = None, _Check()

    def _best_candidate(
        self, frame: SearchFrame, candidates: Candidates
    ) -> Optional[Tuple[LocalTracker, Observation]]:
        """Of the best candidates that are not tracked already, the one with the highest score in
        its window."""
        best: Optional[Tuple[LocalTracker, Observation]] = None
        for score, row in zip(candidates.scores[:_MAX_VERIFIED], candidates.boxes_xyxy):
            box_xyxy = as_tuple(row)
            if score < self._track.config.auto_start_score:
                continue
            if self._is_observed_at(box_xyxy) or self._was_beside(box_xyxy):
                continue
            local_tracker = LocalTracker(box_xyxy, frame.time_s, self.views_of_lost)
            observation = self._track_with(frame, local_tracker, 0.0)
            if best is None or observation.score > best[1].score:
                best = (local_tracker, observation)
        return best

    def _is_observed_at(self, box_xyxy: BoxXYXY) -> bool:
        """Whether this box is centred in what was observed in the window."""
        seen = self._observation
        return seen is not None and bool(centred_in(as_boxes(box_xyxy), seen.box_xyxy)[0])

    def _was_beside(self, box_xyxy: BoxXYXY) -> bool:
        """Whether this was seen beside a target that is lost now.

        What is beside a tracked object may be the target that the object was taken for.
        """
        if self._track.state == TRACKING or self._local_tracker is None:
            return False
        return self._local_tracker.is_distractor(box_xyxy)

    def _track_with(
        self,
        frame: SearchFrame,
        local_tracker: LocalTracker,
        least_score: float,
        camera: Optional[np.ndarray] = None,
        followed: bool = False,
    ) -> Observation:
        config = self._track.config
        return local_tracker.track(frame, self._template_id, config, least_score, camera, followed)
