"""How well a bundle follows a target from its first box, through the public detector."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.tracking.refdet import RefdetTrack
from refdet_core.detector_config import DetectorConfig
from refdet_core.metrics import SUCCESS_THRESHOLDS
from refdet_core.types import BoxXYXY
from refdet_training.datasets.instance import Instance
from refdet_training.evaluation.tracking_numbers import mean_curves
from refdet_training.evaluation.tracking_protocol import Tracker, TrackingProtocol, run_tracking

FRAME_PERIOD_S = 0.1
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


class LockedDetector(Tracker):
    """The search ``track``, locked to the first box."""

    def __init__(self, bundle: Path, config: DetectorConfig) -> None:
        self._method = RefdetTrack(bundle, config)
        self._time_s = 0.0

    def start(self, frame_bgr: np.ndarray, box_xyxy: BoxXYXY) -> None:
        self._time_s = 0.0
        self._method.start(frame_bgr, box_xyxy)

    def update(self, frame_bgr: np.ndarray) -> tuple[BoxXYXY | None, float | None]:
        self._time_s += FRAME_PERIOD_S
        answer = self._method.update(frame_bgr, self._time_s)
        return answer.box_xyxy, answer.score

    def close(self) -> None:
        """Release the backend."""
        self._method.close()


def accuracy(
    bundle: Path, instances: Sequence[Instance], frames: int, config: DetectorConfig, label: str
) -> Accuracy | None:
    """Follow every instance once; None when none could be followed."""
    tracker = LockedDetector(bundle, config)
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
