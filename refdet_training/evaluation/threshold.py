"""The published threshold, which keeps false alarms rare in new video.

The share of absent frames that reach a threshold differs much between pairs of object and footage:
a bird is mistaken for a drone at dusk, a car never for a boat. Frames of one pair are almost copies
of each other, so pairs are counted, not frames. Conformal risk control
(Angelopoulos et al., "Conformal Risk Control", ICLR 2024) gives the lowest threshold ``t`` with

    (n * R(t) + 1) / (n + 1) <= allowed

where ``R`` is the mean over ``n`` held-out pairs of their false-alarm rates; then the expected rate
of a further pair drawn like these is at most what is allowed. (Pairs that share an object or a
video are not independent, so with few videos this is an approximation.) The plain quantile of all
frames lacks the two ones, which stand for a next pair that may be wholly bad, and so lets more
pass in new video than it was allowed to. An upper confidence bound would guard against unlucky
tuning videos as well, at the price of reporting the object far less often.

Only frames of the object's own data source are counted: footage of another source looks so
different that hardly anything scores there, and would promise a rate nobody gets. The threshold
holds for all pairs pooled and for every source with enough pairs to stand alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

ALLOWED_FPR = 0.05
"""The share of frames without the object that may be reported, by default."""
HIGHEST = 0.95
"""A higher threshold would silence the detector."""
_ROUNDING = 1e-9
_GRID = np.arange(1, round(HIGHEST * 1000) + 1) / 1000


@dataclass(frozen=True)
class AbsentPair:
    """One object and one family of videos that do not show it.

    Attributes:
        source: the source of both.
        scores: probability of the best answer in each frame, at least one.
    """

    source: str
    scores: tuple[float, ...]


def choose_threshold(pairs: Sequence[AbsentPair], allowed_fpr: float) -> float:
    """The lowest threshold, of three digits and at most :data:`HIGHEST`, that keeps the corrected
    false-alarm rate of all pairs, and of each source with enough of them, within ``allowed_fpr``.

    With fewer than ``1 / allowed_fpr - 1`` pairs no threshold guarantees that; then it lies above
    every absent frame.

    Args:
        pairs: at least one.
        allowed_fpr: between 0 and 1.
    """
    by_source: dict[str, list[AbsentPair]] = {}
    for pair in pairs:
        by_source.setdefault(pair.source, []).append(pair)
    groups = [list(pairs), *(group for group in by_source.values() if _enough(group, allowed_fpr))]
    return max(_controlled(group, allowed_fpr) for group in groups)


def can_promise(pairs: Sequence[AbsentPair], allowed_fpr: float) -> bool:
    """Whether there are enough pairs for :func:`choose_threshold` to hold ``allowed_fpr``."""
    return _enough(pairs, allowed_fpr)


def false_alarm_rates(pairs: Sequence[AbsentPair], threshold: float) -> Mapping[str, float]:
    """For each source the mean, over its pairs, of the share of frames that reach the threshold."""
    rates: dict[str, list[float]] = {}
    for pair in pairs:
        share = np.mean(np.array(pair.scores) >= threshold)
        rates.setdefault(pair.source, []).append(float(share))
    return {source: round(float(np.mean(values)), 4) for source, values in rates.items()}


def _enough(pairs: Sequence[AbsentPair], allowed_fpr: float) -> bool:
    return 1 / (len(pairs) + 1) <= allowed_fpr + _ROUNDING


def _controlled(pairs: Sequence[AbsentPair], allowed_fpr: float) -> float:
    """The lowest threshold of :data:`_GRID` whose corrected rate is allowed; with too few pairs for
    that, the lowest above every score.
    """
    shares = [np.mean(np.array(pair.scores)[:, None] >= _GRID, axis=0) for pair in pairs]
    total = np.sum(shares, axis=0)
    if _enough(pairs, allowed_fpr):
        fits = (total + 1) / (len(pairs) + 1) <= allowed_fpr + _ROUNDING
    else:
        fits = total == 0
    return float(_GRID[np.argmax(fits)]) if fits.any() else HIGHEST
