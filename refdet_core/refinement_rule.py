"""What the second look at a candidate counts."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePath
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
    embedding * cosine + relative * relative cosine + colours * overlap + intercept)``
    """

    search: float = 1.0
    tracker: float = 0.0
    embedding: float = 0.0
    colours: float = 0.0
    intercept: float = 0.0
    relative: float = 0.0

    def __post_init__(self) -> None:
        if not np.isfinite((*self.array, self.intercept)).all():
            raise BundleError(f"A refinement needs finite weights, got {self}.")

    @property
    def array(self) -> np.ndarray:
        """Of the columns of :func:`evidence`, ``(5,)``."""
        return np.array([self.search, self.tracker, self.embedding, self.colours, self.relative])

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
        cohort: name of the file with the :class:`~refdet_core.cohort.Cohort` that cosines are
            compared with, in the search network's bundle; empty: none.
    """

    tracker: str
    embedding: str = ""
    same_camera: LookWeights = LookWeights()
    other_photos: LookWeights = LookWeights()
    followed: Optional[LookWeights] = None
    cohort: str = ""

    def __post_init__(self) -> None:
        if not self.tracker:
            raise BundleError("A refinement needs the name of a tracking bundle.")
        if self.cohort != PurePath(self.cohort).name:
            raise BundleError(
                f"A refinement's cohort is a file in the bundle's folder, got '{self.cohort}'."
            )

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
        relative: Optional[np.ndarray] = None,
    ) -> np.ndarray:
        """Probabilities ``(N,)``; see :func:`evidence`."""
        weights = self.other_photos if overlaps is None else self.same_camera
        return weights(evidence(search, tracker, cosines, overlaps, relative))


def evidence(
    search: np.ndarray,
    tracker: np.ndarray,
    cosines: np.ndarray,
    overlaps: Optional[np.ndarray],
    relative: Optional[np.ndarray] = None,
) -> np.ndarray:
    """What :class:`LookWeights` weigh, ``(N, 5)``.

    Args:
        search, tracker: probabilities by the two networks, ``(N,)``.
        cosines: of the candidates' embeddings with the most similar reference's, ``(N,)``.
        overlaps: of their colours with the most similar reference's, ``(N,)``; None: unknown.
        relative: see :meth:`~refdet_core.cohort.Cohort.relative_cosines`, ``(N,)``; None: unknown.
    """
    tracked = logit(np.clip(tracker, _LEAST, 1 - _LEAST))
    unknown = np.zeros(len(search))
    colours = unknown if overlaps is None else overlaps
    more = unknown if relative is None else relative
    return np.stack([logit(search), tracked, cosines, colours, more], axis=1)
