"""From raw network outputs to a probability: logistic calibration (Platt 1999) on two inputs.

``p = sigmoid(score_weight * logit(score) + presence_weight * logit(presence) + intercept)``

The three numbers are fitted on held-out video and stored in ``bundle.yaml``.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

_EPSILON = 1e-6


def logit(probability: np.ndarray) -> np.ndarray:
    """Log-odds; the input is clipped a millionth away from 0 and 1."""
    clipped = np.clip(probability, _EPSILON, 1 - _EPSILON)
    return np.asarray(np.log(clipped / (1 - clipped)))


def sigmoid(value: np.ndarray) -> np.ndarray:
    """The inverse of :func:`logit`."""
    return np.asarray(1 / (1 + np.exp(-value)))


@dataclass(frozen=True)
class Calibration:
    """The fitted numbers; the defaults pass the raw score through unchanged."""

    score_weight: float = 1.0
    presence_weight: float = 0.0
    intercept: float = 0.0

    def __call__(self, score: np.ndarray, presence: np.ndarray) -> np.ndarray:
        """Probabilities in [0, 1] for raw ``score`` and ``presence`` of the same shape."""
        return sigmoid(
            self.score_weight * logit(score)
            + self.presence_weight * logit(presence)
            + self.intercept
        )
