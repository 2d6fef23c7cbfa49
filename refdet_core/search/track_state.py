"""Whether a target is being searched, tracked or lost: a state machine with hysteresis.

It sees no images: it decides from the target's probability at the tracked place in each frame.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Deque, Optional

import numpy as np

from refdet_core.calibration import logit, sigmoid
from refdet_core.errors import ConfigError
from refdet_core.search.window import WindowConfig
from refdet_core.types import LOST, SEARCHING, TRACKING

LONGEST_S = 3600.0
# The usual score follows a rise within a second and a fall within ten: a target turns away slowly,
# and the score of whatever replaces it must not become usual.
_RISE_S, _FALL_S = 1.0, 10.0


@dataclass(frozen=True)
class AutoConfig(WindowConfig):
    """When to start, question and give up a track (search ``auto``).

    Attributes:
        auto_start_score: minimum probability of a candidate in the whole frame that is checked in a
            window.
        auto_confirm_score: minimum probability in the window that confirms a candidate; negative:
            the score threshold.
        auto_confirm_frames: number of confirmations that start a track.
        auto_confirm_of: number of frames within which the confirmations must come.
        auto_lost_s: a track is lost once the seconds unseen exceed the seconds seen by this much.
        auto_back_drop: log-odds that a returning target may score below its usual score at the
            place where it was lost; the result stays between ``auto_start_score`` and
            ``auto_confirm_score``.
        auto_forget_s: a target that returns later than this many seconds after its loss gets a new
            track id.
        auto_check_s: seconds between two checks of the whole frame while tracking; 0: never.
    """

    auto_start_score: float = 0.3
    auto_confirm_score: float = -1.0
    auto_confirm_frames: int = 3
    auto_confirm_of: int = 5
    auto_back_drop: float = 1.75
    auto_lost_s: float = 0.5
    auto_forget_s: float = 10.0
    auto_check_s: float = 2.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.auto_start_score <= 1:
            raise ConfigError(
                f"auto_start_score must be between 0 and 1, got {self.auto_start_score}."
            )
        if not -1 <= self.auto_confirm_score <= 1:
            raise ConfigError(
                f"auto_confirm_score must be between -1 and 1, got {self.auto_confirm_score}."
            )
        for name in ("auto_lost_s", "auto_forget_s", "auto_check_s"):
            value = getattr(self, name)
            if not 0 <= value <= LONGEST_S:
                raise ConfigError(f"{name} must be between 0 and {LONGEST_S:g} s, got {value}.")
        if not 0 <= self.auto_back_drop <= 20:
            raise ConfigError(
                f"auto_back_drop must be between 0 and 20, got {self.auto_back_drop}."
            )
        if not 1 <= self.auto_confirm_frames <= self.auto_confirm_of:
            raise ConfigError(
                "auto_confirm_frames must be at least 1 and at most auto_confirm_of, got "
                f"{self.auto_confirm_frames} of {self.auto_confirm_of}."
            )


class TrackState:
    """One target's state. Call :meth:`update` once per frame.

    A track's usual score tells best whether the target is absent. After high scores, a low one
    means hidden or gone; if the target never scored higher, it is still there.

    Attributes:
        state: ``searching``, ``tracking`` or ``lost``.
        track_id: id of the present or lost track; None while searching.
    """

    def __init__(self, config: AutoConfig) -> None:
        self.config = config
        self.state = SEARCHING
        self.track_id: Optional[int] = None
        self._usual_score = 0.0
        self._time_s = 0.0
        self._unseen_s = 0.0
        self._recent_scores: Deque[float] = deque()
        self._restarted = False
        self._expected = False

    @property
    def least_score(self) -> float:
        """The minimum probability that counts as the target at the tracked place."""
        config, usual = self.config, float(logit(np.array(self._usual_score)))
        if self.state == TRACKING and config.always_reports:
            return 0.0
        if self.state == TRACKING:
            kept = float(sigmoid(np.array(usual - config.keep_drop)))
            return max(config.keep_score, min(kept, 0.5))  # likely means seen
        if self.state == LOST and not self._restarted:
            back = float(sigmoid(np.array(usual - config.auto_back_drop)))
            return min(max(config.auto_start_score, back), config.auto_confirm_score)
        return config.auto_confirm_score

    def start(self, track_id: int, time_s: float) -> None:
        """Start a track, or resume a lost one."""
        if self.track_id != track_id:
            self._usual_score = max(self._recent_scores, default=0.0)
        self.state, self.track_id = TRACKING, track_id
        self._time_s, self._unseen_s = time_s, 0.0
        self._recent_scores.clear()
        self._restarted = self._expected = False

    @property
    def follows(self) -> bool:
        """Whether the tracked place is that of a target that was seen before."""
        return self.state != SEARCHING and not self._restarted

    def drop(self) -> None:
        """Forget the track: it was lost too long ago, or was not the target."""
        self.state, self.track_id = SEARCHING, None

    def restart(self) -> None:
        """Track another place from now on. It needs confirmation, whatever was lost before."""
        self._recent_scores.clear()
        self._restarted, self._expected = True, False

    def expect(self) -> None:
        """The target is known to have been at the tracked place: the next frame alone may confirm
        it."""
        self._expected = True

    def update(
        self, score: Optional[float], time_s: float, template_score: Optional[float] = None
    ) -> None:
        """Update the state with one frame.

        Args:
            score: probability of the target at the tracked place; None: no place is tracked.
            template_score: the same without the help of a recent view; None: there was none. A
                target seen only with that help does not change the usual score.
        """
        config = self.config
        # If the clock was set back, no time has passed.
        passed_s, self._time_s = max(0.0, time_s - self._time_s), time_s
        unseen_s = self._unseen_s + passed_s
        if self.state != SEARCHING and unseen_s > config.auto_lost_s + config.auto_forget_s:
            self.drop()
        seen = score is not None and score >= self.least_score
        if self.state == TRACKING and seen:
            alone = score if template_score is None else template_score
            if alone is not None and alone >= self.least_score:
                self._learn(alone, passed_s)
            self._unseen_s = max(0.0, self._unseen_s - passed_s)
            return
        self._unseen_s = unseen_s
        if self.state == TRACKING:
            if unseen_s > config.auto_lost_s:
                self.state = LOST
            return
        self._expected = self._expected and seen
        self._recent_scores.append(score if seen and score is not None else 0.0)
        while len(self._recent_scores) > config.auto_confirm_of:
            self._recent_scores.popleft()

    def _learn(self, score: float, passed_s: float) -> None:
        """Move the usual score towards the present one."""
        span_s = _RISE_S if score > self._usual_score else _FALL_S
        pace = min(1.0, passed_s / span_s) if self._usual_score else 1.0
        self._usual_score += pace * (score - self._usual_score)

    @property
    def confirmed(self) -> bool:
        """Whether the latest frames confirm the candidate."""
        needed = 1 if self._expected else self.config.auto_confirm_frames
        return sum(score > 0 for score in self._recent_scores) >= needed
