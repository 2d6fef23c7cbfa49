"""Features of other things, to judge how much a cosine says.

A small grey car looks like many things, a red kite like few: the same cosine with a reference means
less for the car. So a cosine is also compared with those of a cohort, things that search networks
have taken for other objects: adaptive symmetric score normalisation, from speaker verification
(Cumani et al. 2011; Matejka et al., Interspeech 2017).
"""

from __future__ import annotations

from pathlib import Path
from typing import Tuple

import numpy as np

from refdet_core.errors import BundleError

COHORT_FILE = "cohort.npy"
_NEAREST = 1 / 16  # share of the cohort that counts: what is most like the one compared
_LEAST_SPREAD = 1e-3  # of cosines
_ENOUGH = 4.0  # standard deviations; more only says that nothing like it is in the cohort


class Cohort:
    """Features of many different things.

    Args:
        features: ``(N, C)``, rows of length 1; of the networks that the rule of the second look
            names, side by side.

    Raises:
        BundleError: they are of another shape, or not finite.
    """

    def __init__(self, features: np.ndarray) -> None:
        if features.ndim != 2 or not len(features) or not np.isfinite(features).all():
            raise BundleError(
                f"A cohort needs finite features (N, C) of one thing or more, got an array of "
                f"shape {features.shape}."
            )
        self._features = np.asarray(features, dtype=np.float32)
        self._count = max(1, round(_NEAREST * len(features)))

    def check(self, count: int) -> None:
        """Refuse networks that give another number of features.

        Raises:
            BundleError: they do.
        """
        own = self._features.shape[1]
        if count != own:
            raise BundleError(
                f"The cohort has {own} features for each thing, the networks that compare give "
                f"{count}; publish the model again with these networks."
            )

    def relative_cosines(self, embeddings: np.ndarray, known: np.ndarray) -> np.ndarray:
        """How far the cosine of each of these things with the most similar known one lies above
        those of either with its nearest in the cohort, in standard deviations; at most 4.

        Args:
            embeddings: ``(M, C)``, rows of length 1.
            known: ``(K, C)``, one or more, the same.

        Raises:
            BundleError: the features are of other networks than the cohort's.
        """
        self.check(embeddings.shape[1])
        cosines = embeddings @ known.T
        means, spreads = self._nearest(embeddings)
        known_means, known_spreads = self._nearest(known)
        by_thing = (cosines - means[:, None]) / spreads[:, None]
        by_known = (cosines - known_means) / known_spreads
        return np.asarray(np.minimum(((by_thing + by_known) / 2).max(axis=1), _ENOUGH))

    def save(self, path: Path) -> None:
        """Write the file that :func:`load_cohort` reads."""
        np.save(path, self._features.astype(np.float16))

    def _nearest(self, embeddings: np.ndarray) -> Tuple[np.ndarray, np.ndarray]:
        """Mean and standard deviation of each one's highest cosines with the cohort."""
        cosines = embeddings @ self._features.T
        highest = np.partition(cosines, -self._count, axis=1)[:, -self._count :]
        return highest.mean(axis=1), np.maximum(highest.std(axis=1), _LEAST_SPREAD)


def load_cohort(path: Path) -> Cohort:
    """The cohort in this ``.npy`` file.

    Raises:
        BundleError: it cannot be read.
    """
    try:
        return Cohort(np.load(path, allow_pickle=False))
    except (OSError, ValueError) as error:
        raise BundleError(f"The cohort {path} cannot be read: {error}") from error
