"""Average precision of found points."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from refdet_core.satellite.image_search import Hits


def match(hits: Hits, points: np.ndarray, reach_px: float) -> np.ndarray:
    """Which hits are right, ``(N,)`` bool, best first: each takes the nearest point within reach
    that no better hit has taken.

    Args:
        points: ``(M, 2)`` pixels.
    """
    centres = (hits.boxes_xyxy[:, :2] + hits.boxes_xyxy[:, 2:]) / 2
    free = np.ones(len(points), bool)
    right = np.zeros(len(hits), bool)
    for index, centre in enumerate(centres):
        distances = np.where(free, np.hypot(*(points - centre).T), np.inf)
        if len(points) and distances.min() <= reach_px:
            free[distances.argmin()] = False
            right[index] = True
    return right


def average_precision(
    found: Mapping[str, Hits], points: Mapping[str, np.ndarray], reach_px: float
) -> tuple[float, float]:
    """Area under the precision-recall curve over all images, and the best F1 on it.

    Args:
        found, points: by image.
    """
    right = np.concatenate([match(found[name], points[name], reach_px) for name in found])
    scores = np.concatenate([found[name].scores for name in found])
    total = sum(len(points[name]) for name in found)
    return curve_numbers(right[np.argsort(-scores, kind="stable")], total)


def curve_numbers(right: Sequence[bool] | np.ndarray, total: int) -> tuple[float, float]:
    """The same from the hits in the order of their scores and the number of true objects."""
    hits = np.cumsum(right)
    precision = hits / np.arange(1, len(hits) + 1)
    recall = hits / max(total, 1)
    steps = np.diff(recall, prepend=0.0)
    f1 = 2 * precision * recall / np.maximum(precision + recall, 1e-9)
    return float((precision * steps).sum()), float(f1.max(initial=0.0))
