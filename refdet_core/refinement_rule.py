"""What the second look at a candidate counts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional, Tuple

import numpy as np

from refdet_core.calibration import logit, sigmoid
from refdet_core.errors import BundleError

SEPARATOR = "+"
_LEAST = 1e-4  # a tracking network that sees nothing says no more than this


@dataclass(frozen=True)
class LookWeights:
    """Logistic regression on what the networks say of one candidate.

    ``p = sigmoid(search * logit(search network) + tracker * logit(tracking network) +
    embedding * cosine + colours * overlap + intercept)``
    """

    search: float = 1.0
    tracker: float = 0.0
    embedding: float = 0.0
    colours: float = 0.0
    intercept: float = 0.0

    def __post_init__(self) -> None:
        if not np.isfinite((*self.array, self.intercept)).all():
            raise BundleError(f"A refinement needs finite weights, got {self}.")

    @property
    def array(self) -> np.ndarray:
        """Of the columns of :func:`evidence`, ``(4,)``."""
        return np.array([self.search, self.tracker, self.embedding, self.colours])

    def __call__(self, seen: np.ndarray) -> np.ndarray:
        """Probabilities ``(N,)`` by the rows of :func:`evidence`."""
        return sigmoid(seen @ self.array + self.intercept)


@dataclass(frozen=True)
class RefinementRule:
    """Which networks look again, and what they count.

    Fitted on out-of-fold predictions and stored in ``bundle.yaml`` of the search network.

    Attributes:
        tracker: name of the tracking network's bundle that looks again.
        embedding: names of the bundles whose template features are compared, joined by ``+``, see
            :class:`~refdet_core.search.refinement.SecondLook`; empty: none are.
        same_camera: the weights where a reference is of the camera that is searched.
        other_photos: where none is, so that colours cannot be compared.
        followed: whether a followed target goes on in the tracker's box; features and colours are
            compared with its recent views, too. None: it is judged like a candidate.
    """

    tracker: str
    embedding: str = ""
    same_camera: LookWeights = LookWeights()
    other_photos: LookWeights = LookWeights()
    followed: Optional[LookWeights] = None

    def __post_init__(self) -> None:
        if not self.tracker:
            raise BundleError("A refinement needs the name of a tracking bundle.")

    @property
    def embedders(self) -> Tuple[str, ...]:
        """The names in ``embedding``."""
        return tuple(name for name in self.embedding.split(SEPARATOR) if name)

    def __call__(
        self,
        search: np.ndarray,
        tracker: np.ndarray,
        cosines: np.ndarray,
        overlaps: Optional[np.ndarray],
    ) -> np.ndarray:
        """Probabilities ``(N,)``; see :func:`evidence`."""
        weights = self.other_photos if overlaps is None else self.same_camera
        return weights(evidence(search, tracker, cosines, overlaps))


def evidence(
    search: np.ndarray,
    tracker: np.ndarray,
    cosines: np.ndarray,
    overlaps: Optional[np.ndarray],
) -> np.ndarray:
    """What :class:`LookWeights` weigh, ``(N, 4)``.

    Args:
        search, tracker: probabilities by the two networks, ``(N,)``.
        cosines: of the candidates' embeddings with the most similar reference's, ``(N,)``.
        overlaps: of their colours with the most similar reference's, ``(N,)``; None: unknown.
    """
    tracked = logit(np.clip(tracker, _LEAST, 1 - _LEAST))
    colours = np.zeros(len(search)) if overlaps is None else overlaps
    return np.stack([logit(search), tracked, cosines, colours], axis=1)
