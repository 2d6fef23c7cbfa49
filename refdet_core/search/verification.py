"""Asks the search network whether the tracking networks still follow the target."""

from __future__ import annotations

import math
from collections import deque
from functools import partial
from typing import Any, Callable, Deque, List, Optional, Sequence

import numpy as np

from refdet_core.boxes import centred_in
from refdet_core.decoding import Candidates
from refdet_core.refinement_rule import LookWeights
from refdet_core.search.base import SearchFrame
from refdet_core.search.refinement import (
    KnownViews,
    View,
    followed_evidence,
    reference_views,
    refined,
    view_of,
)
from refdet_core.search.window import WindowConfig, search_windows
from refdet_core.types import BoxXYXY

_SURE = 0.5  # below this probability every frame is checked
_SUDDEN = 0.5  # share of its score that the tracker may lose before it is checked
_ROUNDING_S = 1e-6  # of stamps: frames 0.1 s apart are all checked every 0.1 s
_REFUTED = 0.02  # below this probability what is in the box clearly is something else
_VIEWS = 6  # recent views that are kept
_VOUCHED = 0.1  # least probability by the search network of the target in the references
_CERTAIN = 0.9  # least probability of a view in which the search network does not find it


def is_recent(time_s: float, last_s: float, interval_s: float) -> bool:
    """Whether less than this interval has passed since the last time."""
    return 0 <= time_s - last_s < interval_s - _ROUNDING_S


def no_views() -> Deque[View]:
    """For the recent views of a target that has not been seen yet."""
    return deque(maxlen=_VIEWS)


class Verification:
    """The search network's occasional check of a followed target.

    A network that was trained to find the target in every window cannot say that it has gone; the
    search network can, because it was trained on frames without it. A followed target is also
    compared with its own recent views, which show it as it looks now. It may turn until the search
    network no longer finds it in the references; its views then go on as long as each is certainly
    like the last ones. Once it was in doubt, views are kept again only when the search network
    finds it, so that they cannot drift to something else. A candidate for a lost target is compared
    with the views as with references.

    Args:
        views: the target's recent views, of :func:`no_views`; this adds to them.

    Attributes:
        verified_s: time of the last look, seconds.
        refuted: whether that showed something that is not like the target's recent views.
    """

    def __init__(self, views: Deque[View]) -> None:
        self._probability = 0.0
        self._tracker_score = 0.0
        self.verified_s = -math.inf
        self.refuted = False
        self._views = views
        self._unbroken = True

    def probability(
        self,
        frame: SearchFrame,
        template_id: str,
        box_xyxy: BoxXYXY,
        tracker_score: float,
        config: WindowConfig,
        followed: bool,
    ) -> float:
        """Probability that the target is in this box; between two checks, that of the last one.

        Args:
            tracker_score: the tracking networks' score, on any scale.
            followed: whether this is a target that was seen before, and not a candidate.
        """
        sudden = tracker_score < _SUDDEN * self._tracker_score
        if sudden or self.is_due(frame.time_s, config):
            self._probability = self._look(frame, template_id, box_xyxy, config, followed)
            self._tracker_score, self.verified_s = tracker_score, frame.time_s
        return self._probability

    @property
    def is_sure(self) -> bool:
        """Whether the last check showed the target."""
        return self._probability >= _SURE

    def is_due(self, time_s: float, config: WindowConfig) -> bool:
        """Whether this frame is to be checked whatever the trackers say."""
        return not (self.is_sure and is_recent(time_s, self.verified_s, config.track_verify_s))

    def _look(
        self,
        frame: SearchFrame,
        template_id: str,
        box_xyxy: BoxXYXY,
        config: WindowConfig,
        followed: bool,
    ) -> float:
        """The probability of a check in this frame."""
        refiner = frame.refiner
        self.refuted = False
        search = partial(candidates_at, frame, template_id, box_xyxy, config)
        if followed and refiner is not None and refiner.rule.followed is not None:
            calls: List[Callable[[], Any]] = [search, partial(view_of, refiner, box_xyxy)]
            here, view = frame.together(calls)
            known = reference_views(refiner, template_id)
            goes_on = self._goes_on(refiner.rule.followed, view, known, _best_score(here))
            if goes_on is not None:
                self.refuted = goes_on < _REFUTED
                return goes_on
        else:
            here = search()
        return _best_score(looked_at_again(frame, template_id, here, self._views))

    def _goes_on(
        self, weights: LookWeights, view: View, references: KnownViews, search_score: float
    ) -> Optional[float]:
        """Probability that the followed target looks like this; None: no view is known yet."""
        vouched = search_score >= _VOUCHED
        if not self._views and vouched:
            self._views.append(view)  # the operator or the search has just found it here
        if not self._views:
            return None
        known = references.with_views(self._views)
        probability = float(weights(followed_evidence(search_score, view, known))[0])
        if probability < _SURE:
            self._unbroken = False
        elif vouched and probability >= _CERTAIN:
            self._unbroken = True
        if self._unbroken and probability >= (_SURE if vouched else _CERTAIN):
            self._views.append(view)
        return probability


def candidates_at(
    frame: SearchFrame, template_id: str, box_xyxy: BoxXYXY, config: WindowConfig
) -> Candidates:
    """What the search network sees in this box, in the window around it."""
    windows = search_windows(box_xyxy, config.rule(frame.rule), frame.multiple)
    seen = frame.infer(windows[:1], [template_id])[template_id][0]
    return seen.chosen(_same_place(seen.boxes_xyxy, box_xyxy))


def looked_at_again(
    frame: SearchFrame, template_id: str, here: Candidates, views: Sequence[View] = ()
) -> Candidates:
    """The candidates, the best looked at again as in a full-frame search: their scores compare."""
    return here if frame.refiner is None else refined(here, frame.refiner, template_id, 1, views)


def _best_score(candidates: Candidates) -> float:
    """0 if there is none."""
    return float(candidates.scores.max(initial=0.0))


def _same_place(boxes_xyxy: np.ndarray, box_xyxy: BoxXYXY) -> np.ndarray:
    """Which boxes ``(N, 4)`` have their centre in this box, or its centre in theirs."""
    x, y = (box_xyxy[0] + box_xyxy[2]) / 2, (box_xyxy[1] + box_xyxy[3]) / 2
    x1, y1, x2, y2 = boxes_xyxy.T
    around = (x1 <= x) & (x <= x2) & (y1 <= y) & (y <= y2)
    return np.asarray(around | centred_in(boxes_xyxy, box_xyxy))
