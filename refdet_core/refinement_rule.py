"""What the second look at a candidate counts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional

import numpy as np

from refdet_core.calibration import logit, sigmoid
from refdet_core.errors import BundleError

_LEAST = 1e-4  # a tracking network that sees nothing says no more than this


@dataclass(frozen=True)
class RefinementRule:
    """Logistic regression on what the networks say of one candidate.

    ``p = sigmoid(search_weight * logit(search) + tracker_weight * logit(tracker) +
    embedding_weight * cosine + colour_weight * (overlap - usual_overlap) + intercept)``

    Fitted on out-of-fold predictions and stored in ``bundle.yaml`` of the search network.

    Attributes:
        tracker: name of the tracking network's bundle that looks again.
        embedding: name of the tracking network's bundle whose template features are compared,
            see :class:`~refdet_core.search.refinement.SecondLook`; empty: none are.
        search_weight, tracker_weight, embedding_weight, colour_weight, intercept: the fitted
            numbers.
        usual_overlap: of the colours. Where no reference is of this camera, its colours say nothing
            and count as much as this.
    """

    tracker: str
    search_weight: float = 1.0
    tracker_weight: float = 0.0
    intercept: float = 0.0
    embedding: str = ""
    embedding_weight: float = 0.0
    colour_weight: float = 0.0
    usual_overlap: float = 0.0

    def __post_init__(self) -> None:
        numbers = (*self.weights, self.intercept, self.usual_overlap)
        if not self.tracker or not np.isfinite(numbers).all():
            raise BundleError(
                f"A refinement needs the name of a tracking bundle and finite weights, got {self}."
            )

    @property
    def weights(self) -> np.ndarray:
        """Of the columns of :func:`evidence`, ``(4,)``."""
        return np.array(
            [self.search_weight, self.tracker_weight, self.embedding_weight, self.colour_weight]
        )

    def __call__(
        self,
        search: np.ndarray,
        tracker: np.ndarray,
        cosines: np.ndarray,
        overlaps: Optional[np.ndarray],
    ) -> np.ndarray:
        """Probabilities ``(N,)``; see :func:`evidence`."""
        seen = evidence(search, tracker, cosines, overlaps, self.usual_overlap)
        return sigmoid(seen @ self.weights + self.intercept)


def evidence(
    search: np.ndarray,
    tracker: np.ndarray,
    cosines: np.ndarray,
    overlaps: Optional[np.ndarray],
    usual_overlap: float,
) -> np.ndarray:
    """What a :class:`RefinementRule` weighs, ``(N, 4)``.

    Args:
        search, tracker: probabilities by the two networks, ``(N,)``.
        cosines: of the candidates' embeddings with the most similar reference's, ``(N,)``.
        overlaps: of their colours with the most similar reference's, ``(N,)``; None: unknown.
    """
    tracked = logit(np.clip(tracker, _LEAST, 1 - _LEAST))
    colours = np.zeros(len(search)) if overlaps is None else overlaps - usual_overlap
    return np.stack([logit(search), tracked, cosines, colours], axis=1)
