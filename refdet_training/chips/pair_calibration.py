"""From the similarity of two chips to the probability that they show the same class."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score

from refdet_core.calibration import Calibration, logit

LEAST_PAIRS = 20
_MOST_PAIRS = 5000


@dataclass(frozen=True)
class PairCalibration:
    """A fitted calibration and how many pairs of one and of two classes it was fitted on.

    With fewer than :data:`LEAST_PAIRS` of either kind, or if likeness tells nothing, it is the
    identity: the probability is ``(1 + cosine) / 2``.
    """

    calibration: Calibration
    same: int
    different: int

    @property
    def fitted(self) -> bool:
        """Whether it is more than the identity."""
        return self.calibration != Calibration()


def calibrate_pairs(embeddings: np.ndarray, labels: np.ndarray, background: int) -> PairCalibration:
    """Logistic regression of "same class" on the logit of ``(1 + cosine) / 2``.

    Two chips of the background are no pair: it is not a class that looks alike.

    Args:
        embeddings: ``(N, C)`` of unit length.
        labels: ``(N,)``.
        background: its number among them.
    """
    first, second = np.triu_indices(len(labels), 1)
    known = (labels[first] != background) | (labels[second] != background)
    first, second = first[known], second[known]
    same = labels[first] == labels[second]
    generator = np.random.default_rng(0)
    chosen = [_some(np.nonzero(kind)[0], generator) for kind in (same, ~same)]
    counts = len(chosen[0]), len(chosen[1])
    if min(counts) < LEAST_PAIRS:
        return PairCalibration(Calibration(), *counts)
    pairs = np.concatenate(chosen)
    cosines = (embeddings[first[pairs]] * embeddings[second[pairs]]).sum(axis=1)
    model = LogisticRegression(class_weight="balanced")
    model.fit(logit((1 + cosines) / 2)[:, None], same[pairs])
    weight, intercept = float(model.coef_[0, 0]), float(model.intercept_[0])
    if weight <= 0:
        return PairCalibration(Calibration(), *counts)
    return PairCalibration(Calibration(weight, 0.0, intercept), *counts)


def retrieval_precision(
    embeddings: np.ndarray, labels: np.ndarray, background: int, queries: int = 200
) -> float:
    """Mean average precision of looking up each object among all other chips by likeness.

    Args:
        queries: most objects that are looked up, evenly spread; the result is nan without any.
    """
    objects = np.nonzero(labels != background)[0]
    chosen = objects[np.linspace(0, len(objects) - 1, min(queries, len(objects))).astype(int)]
    found = []
    for index in chosen:
        others = np.arange(len(labels)) != index
        truth = labels[others] == labels[index]
        if truth.any():
            found.append(average_precision_score(truth, embeddings[others] @ embeddings[index]))
    return float(np.mean(found)) if found else float("nan")


def _some(indices: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    if len(indices) <= _MOST_PAIRS:
        return indices
    return generator.choice(indices, _MOST_PAIRS, replace=False)
