"""The detection protocol: references from a video's earliest frames, every later frame on its own,
frames of other videos mixed in as absent ones.

Any finder can be measured: the detector of a bundle, or the untrained baselines.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from sklearn.metrics import average_precision_score, roc_auc_score
from tqdm import tqdm

from refdet_core.boxes import as_boxes, iou_matrix
from refdet_core.types import BoxXYXY, Reference
from refdet_training.videos import Instance


class Finder(ABC):
    """Something that is shown references and then finds the object in frames."""

    @abstractmethod
    def look_for(self, references: Sequence[Reference]) -> None:
        """Take 1-5 references of a new object; forget the one before."""

    @abstractmethod
    def find(self, frame_bgr: np.ndarray) -> tuple[BoxXYXY, float]:
        """The best box in frame pixels and how sure the finder is, in [0, 1]."""


@dataclass(frozen=True)
class Protocol:
    """How frames are chosen.

    Attributes:
        references: photos per object, spread over the first ``reference_share`` of its frames.
        frames: later frames looked at per object, evenly spread.
        absent: frames of other videos per object.
    """

    references: int = 3
    reference_share: float = 0.1
    frames: int = 30
    absent: int = 20


@dataclass(frozen=True)
class Outcome:
    """One looked-at frame: what the finder said and what is true (``present`` False: nothing)."""

    object_id: str
    video_id: str
    frame: int
    present: bool
    score: float
    iou: float
    centre_hit: bool
    object_px: float


def run_protocol(
    finder: Finder, instances: Sequence[Instance], protocol: Protocol, label: str = ""
) -> list[Outcome]:
    """Look for every instance in its own later frames and in frames of other families."""
    outcomes: list[Outcome] = []
    for instance in tqdm(instances, desc=label, leave=False):
        present = instance.present
        early = max(protocol.references, int(len(present) * protocol.reference_share))
        chosen = [present[i] for i in np.linspace(0, early - 1, protocol.references).astype(int)]
        finder.look_for(
            [Reference(_read(instance, number), instance.boxes_xyxy[number]) for number in chosen]
        )
        later = [number for number in instance.frames if number > chosen[-1]]
        for number in _spread(sorted(later), protocol.frames):
            outcomes.append(_look(finder, instance, instance, number))
        others = [item for item in instances if item.family != instance.family]
        pool = [
            (item, number) for item in others for number in _spread(item.present, protocol.absent)
        ]
        for item, number in _spread(pool, protocol.absent):
            outcomes.append(_look(finder, instance, item, number))
    return outcomes


def summarise(outcomes: Sequence[Outcome], threshold: float) -> dict[str, Any]:
    """The protocol's numbers. AP pools present and absent frames; top-1 per frame."""
    present = np.array([item.present for item in outcomes])
    scores = np.array([item.score for item in outcomes])
    ious = np.array([item.iou for item in outcomes])
    hits = np.array([item.centre_hit for item in outcomes])
    both = present.any() and not present.all()
    return {
        "frames": len(outcomes),
        "present": int(present.sum()),
        "recall_iou50": _mean(ious[present] >= 0.5),
        "recall_iou30": _mean(ious[present] >= 0.3),
        "centre_hit": _mean(hits[present]),
        "mean_iou": _mean(ious[present]),
        "ap50": average_precision(scores, ious >= 0.5, int(present.sum())),
        "ap30": average_precision(scores, ious >= 0.3, int(present.sum())),
        "presence_auroc": round(float(roc_auc_score(present, scores)), 4) if both else None,
        "threshold": threshold,
        "fpr": _mean(scores[~present] >= threshold),
        "found": _mean((scores >= threshold)[present] & (ious >= 0.3)[present]),
        "ece": expected_calibration_error(scores, ious >= 0.3),
    }


def average_precision(scores: np.ndarray, correct: np.ndarray, positives: int) -> float:
    """Area under precision-recall of one detection a frame; frames missed entirely cost recall."""
    if not correct.any():
        return 0.0
    share_found = correct.sum() / positives
    return round(float(average_precision_score(correct, scores) * share_found), 4)


def expected_calibration_error(scores: np.ndarray, correct: np.ndarray, bins: int = 10) -> float:
    """Mean distance between stated probability and observed rate, weighted by bin size."""
    index = np.minimum((scores * bins).astype(int), bins - 1)
    total = 0.0
    for number in range(bins):
        inside = index == number
        if inside.any():
            total += inside.mean() * abs(scores[inside].mean() - correct[inside].mean())
    return round(float(total), 4)


def _look(finder: Finder, wanted: Instance, shown: Instance, number: int) -> Outcome:
    box_xyxy, score = finder.find(_read(shown, number))
    truth = wanted.boxes_xyxy.get(number) if shown is wanted else None
    if truth is None:
        return Outcome(wanted.object_id, shown.video_id, number, False, score, 0.0, False, 0.0)
    iou = float(iou_matrix(as_boxes(box_xyxy), as_boxes(truth))[0, 0])
    centre = ((box_xyxy[0] + box_xyxy[2]) / 2, (box_xyxy[1] + box_xyxy[3]) / 2)
    hit = truth[0] <= centre[0] <= truth[2] and truth[1] <= centre[1] <= truth[3]
    side = float(np.sqrt((truth[2] - truth[0]) * (truth[3] - truth[1])))
    return Outcome(wanted.object_id, shown.video_id, number, True, score, iou, bool(hit), side)


def _read(instance: Instance, number: int) -> np.ndarray:
    return np.asarray(cv2.imread(str(instance.frames[number])))


def _spread(items: Sequence[Any], count: int) -> list[Any]:
    if len(items) <= count:
        return list(items)
    return [items[i] for i in np.linspace(0, len(items) - 1, count).astype(int)]


def _mean(values: np.ndarray) -> Any:
    return round(float(values.mean()), 4) if len(values) else None
