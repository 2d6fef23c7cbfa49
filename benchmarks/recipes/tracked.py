"""How well a bundle follows a target from its first box, through the public detector."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from refdet_core.detector_config import DetectorConfig
from refdet_core.metrics import SUCCESS_THRESHOLDS
from refdet_training.datasets.instance import Instance
from refdet_training.evaluation.following import TRACK, FollowingDetector
from refdet_training.evaluation.tracking_numbers import mean_curves
from refdet_training.evaluation.tracking_protocol import TrackingProtocol, run_tracking

FPS = 10.0
RECALL_IOU = 0.3


@dataclass(frozen=True)
class Accuracy:
    """Means over sequences, see :mod:`refdet_training.evaluation.tracking_numbers`.

    Attributes:
        success_auc: mean over all thresholds of the share of frames with a higher IoU.
        precision_20px: share of frames whose centre is at most 20 px off.
        recall: share of frames with an IoU above :data:`RECALL_IOU`.
        sequences: how many.
    """

    success_auc: float
    precision_20px: float
    recall: float
    sequences: int


def accuracy(
    bundle: Path, instances: Sequence[Instance], frames: int, config: DetectorConfig, label: str
) -> Accuracy | None:
    """Follow every instance once; None when none could be followed."""
    tracker = FollowingDetector(bundle, TRACK, FPS, config)
    try:
        tracks, _ = run_tracking(tracker, instances, TrackingProtocol(frames=frames), label)
    finally:
        tracker.close()
    mean = mean_curves(tracks)
    if mean is None:
        return None
    at_recall = int(np.argmin(np.abs(SUCCESS_THRESHOLDS - RECALL_IOU)))
    return Accuracy(
        float(mean.success.mean()),
        float(mean.precision[20]),
        float(mean.success[at_recall]),
        len(tracks),
    )
