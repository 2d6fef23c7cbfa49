"""What a tracking network's second look at a candidate counts."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from refdet_core.calibration import logit, sigmoid
from refdet_core.errors import BundleError

_LEAST = 1e-4  # a tracking network that sees nothing says no more than this


@dataclass(frozen=True)
class RefinementRule:
    """Logistic regression on what the search network and a tracking network say of one candidate.

    ``p = sigmoid(search_weight * logit(search) + tracker_weight * logit(tracker) + intercept)``

    Fitted on out-of-fold predictions and stored in ``bundle.yaml`` of the search network.

    Attributes:
        tracker: name of the tracking network's bundle. Without it candidates stay as they are.
        search_weight, tracker_weight, intercept: the fitted numbers.
    """

    tracker: str
    search_weight: float = 1.0
    tracker_weight: float = 0.0
    intercept: float = 0.0

    def __post_init__(self) -> None:
        numbers = (self.search_weight, self.tracker_weight, self.intercept)
        if not self.tracker or not np.isfinite(numbers).all():
            raise BundleError(
                f"A refinement needs the name of a tracking bundle and finite weights, got {self}."
            )

    def __call__(self, search: np.ndarray, tracker: np.ndarray) -> np.ndarray:
        """Probabilities ``(N,)`` for the probabilities that the networks give."""
        weights = np.array([self.search_weight, self.tracker_weight])
        return sigmoid(evidence(search, tracker) @ weights + self.intercept)


def evidence(search: np.ndarray, tracker: np.ndarray) -> np.ndarray:
    """The log-odds that a :class:`RefinementRule` weighs, ``(N, 2)``."""
    return np.stack([logit(search), logit(np.clip(tracker, _LEAST, 1 - _LEAST))], axis=1)
