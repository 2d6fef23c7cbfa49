"""The metrics of the detection protocol, and their curves.

A ratio without data (no frame with the object, or none without) is None, never NaN.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from sklearn.metrics import average_precision_score, precision_recall_curve, roc_auc_score

from refdet_training.evaluation.detection_protocol import Prediction

LOOSE_IOU, STRICT_IOU = 0.3, 0.5
"""An answer is right from the looser overlap on, because one pixel costs small boxes much IoU."""
SIZE_EDGES_PX = (0.0, 16.0, 32.0, 64.0, 128.0, float("inf"))
"""Bins of the object's size, square root of its area."""
CALIBRATION_BINS = 10


@dataclass(frozen=True)
class Answers:
    """The predictions as columns, each of shape ``(N,)``."""

    present: np.ndarray
    scores: np.ndarray
    ious: np.ndarray
    centre_hits: np.ndarray
    object_px: np.ndarray

    @property
    def correct(self) -> np.ndarray:
        """Whether the answer is right at the looser IoU; never in a frame without the object."""
        return np.asarray(self.ious >= LOOSE_IOU)


def as_answers(predictions: Sequence[Prediction]) -> Answers:
    """Columns of any number of predictions."""
    return Answers(
        np.array([item.present for item in predictions], dtype=bool),
        np.array([item.score for item in predictions], dtype=np.float64),
        np.array([item.iou for item in predictions], dtype=np.float64),
        np.array([item.centre_hit for item in predictions], dtype=bool),
        np.array([item.object_px for item in predictions], dtype=np.float64),
    )


def summarise(predictions: Sequence[Prediction], threshold: float) -> dict[str, Any]:
    """The protocol's metrics. AP pools present and absent frames; top-1 per frame.

    Returns:
        ``recall_iou*``, ``centre_hit``, ``mean_iou`` over frames with the object, whatever the
        score; ``ap*``; ``presence_auroc`` of the best score in frames with against without;
        ``fpr``: frames without the object that still score at least ``threshold``; ``found``:
        frames with the object where the answer is right (IoU 0.3) and reaches ``threshold``;
        ``ece`` of "the answer is right (IoU 0.3)" over all frames; ``recall_by_size``.
    """
    answers = as_answers(predictions)
    present, scores, ious = answers.present, answers.scores, answers.ious
    positives = int(present.sum())
    both = 0 < positives < len(predictions)
    reported = scores >= threshold
    return {
        "frames": len(predictions),
        "present": positives,
        "recall_iou50": _mean(ious[present] >= STRICT_IOU),
        "recall_iou30": _mean(ious[present] >= LOOSE_IOU),
        "centre_hit": _mean(answers.centre_hits[present]),
        "mean_iou": _mean(ious[present]),
        "ap50": average_precision(scores, ious >= STRICT_IOU, positives),
        "ap30": average_precision(scores, ious >= LOOSE_IOU, positives),
        "presence_auroc": round(float(roc_auc_score(present, scores)), 4) if both else None,
        "threshold": threshold,
        "fpr": _mean(reported[~present]),
        "found": _mean((reported & answers.correct)[present]),
        "ece": expected_calibration_error(scores, answers.correct),
        "recall_by_size": recall_by_size(answers),
    }


def average_precision(scores: np.ndarray, correct: np.ndarray, positives: int) -> float | None:
    """Area under the precision-recall curve with one answer per frame; wrong answers cost recall.

    Args:
        scores: ``(N,)``.
        correct: ``(N,)`` bool.
        positives: frames with the object; None is returned when there are none.
    """
    if not positives:
        return None
    if not correct.any():
        return 0.0
    share_found = correct.sum() / positives
    return round(float(average_precision_score(correct, scores) * share_found), 4)


def precision_recall(answers: Answers, iou: float) -> tuple[np.ndarray, np.ndarray]:
    """The precision-recall curve of :func:`average_precision`.

    Returns:
        Both of shape ``(K,)``, recall ascending from 0; empty when no answer is right.
    """
    correct = answers.ious >= iou
    if not correct.any():
        return np.zeros(0), np.zeros(0)
    precision, recall, _ = precision_recall_curve(correct, answers.scores)
    return recall[::-1] * (correct.sum() / answers.present.sum()), precision[::-1]


@dataclass(frozen=True)
class ReliabilityBin:
    """The frames of one score bin: number, mean score, and share of right answers."""

    frames: int
    mean_score: float
    share_right: float


def reliability(
    scores: np.ndarray, correct: np.ndarray, bins: int = CALIBRATION_BINS
) -> list[ReliabilityBin]:
    """The non-empty bins of equal width over [0, 1], ascending."""
    index = np.minimum((scores * bins).astype(int), bins - 1)
    return [
        ReliabilityBin(int(inside.sum()), float(scores[inside].mean()), float(right))
        for inside in (index == number for number in range(bins))
        if inside.any()
        for right in [correct[inside].mean()]
    ]


def expected_calibration_error(scores: np.ndarray, correct: np.ndarray) -> float | None:
    """Mean distance between stated probability and observed rate, weighted by bin size."""
    if not len(scores):
        return None
    total = sum(
        item.frames * abs(item.mean_score - item.share_right)
        for item in reliability(scores, correct)
    )
    return round(total / len(scores), 4)


def recall_by_size(answers: Answers) -> dict[str, dict[str, Any]]:
    """Recall and centre hits by the object's size; empty bins are omitted."""
    found = {}
    for low, high in pairwise(SIZE_EDGES_PX):
        inside = answers.present & (answers.object_px >= low) & (answers.object_px < high)
        if inside.any():
            name = f"{low:g}-{high:g} px" if np.isfinite(high) else f"{low:g} px and more"
            found[name] = {
                "present": int(inside.sum()),
                "recall_iou50": _mean(answers.ious[inside] >= STRICT_IOU),
                "recall_iou30": _mean(answers.ious[inside] >= LOOSE_IOU),
                "centre_hit": _mean(answers.centre_hits[inside]),
            }
    return found


def _mean(values: np.ndarray) -> float | None:
    return round(float(values.mean()), 4) if len(values) else None
