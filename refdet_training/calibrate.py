"""Fits a bundle's calibration and threshold on held-out video."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from sklearn.linear_model import LogisticRegression

from refdet_core.backends import open_backend
from refdet_core.bundle import Bundle, load_bundle
from refdet_core.calibration import Calibration, logit
from refdet_core.detector import Detector, DetectorConfig
from refdet_core.errors import SourceError
from refdet_core.types import BoxXYXY, Reference
from refdet_training.detection_protocol import Finder, Protocol, run_protocol
from refdet_training.videos import Instance

CORRECT_IOU = 0.3
"""A detection counts as right from this overlap on: small boxes lose IoU by one pixel."""


@dataclass(frozen=True)
class _Recorder(Calibration):
    """Passes the raw score on and keeps the strongest candidate's raw pair."""

    raw: list[tuple[float, float]] = field(default_factory=list)

    def __call__(self, score: np.ndarray, presence: np.ndarray) -> np.ndarray:
        best = int(np.argmax(score))
        self.raw.append((float(score[best]), float(presence[best])))
        return score


class _RawFinder(Finder):
    def __init__(self, bundle: Bundle) -> None:
        self.recorder = _Recorder()
        config = DetectorConfig(score_threshold=0.0, max_detections=1)
        self._detector = Detector(
            replace(bundle, calibration=self.recorder), open_backend("auto", bundle), config
        )

    def look_for(self, references: Sequence[Reference]) -> None:
        self._detector.set_template(references)

    def find(self, frame_bgr: np.ndarray) -> tuple[BoxXYXY, float]:
        best = self._detector.detect(frame_bgr).detections[0]
        return best.bbox_xyxy, best.score


def fit_calibration(
    bundle_folder: Path,
    groups: Sequence[Sequence[Instance]],
    protocol: Protocol,
    allowed_fpr: float = 0.05,
) -> tuple[Calibration, float]:
    """Logistic regression of "the best detection is right" on the raw outputs.

    Args:
        groups: held-out instances by data source; every source weighs the same.
        allowed_fpr: share of absent frames the threshold may let pass, in the worst group.

    Returns:
        The calibration and the threshold to publish.
    """
    if not all(groups):
        raise SourceError(
            "A group of tuning videos has no usable instance; name others in tune_videos."
        )
    bundle = load_bundle(bundle_folder)
    raw, correct, absent, weights, group_of = [], [], [], [], []
    for number, instances in enumerate(groups):
        finder = _RawFinder(bundle)
        outcomes = run_protocol(finder, instances, protocol, "calibration")
        raw.extend(finder.recorder.raw)
        correct.extend(item.iou >= CORRECT_IOU for item in outcomes)
        absent.extend(not item.present for item in outcomes)
        weights.extend([1.0 / len(outcomes)] * len(outcomes))
        group_of.extend([number] * len(outcomes))
    features = logit(np.array(raw))
    regression = LogisticRegression(C=1.0).fit(
        features, correct, sample_weight=np.array(weights) * len(weights)
    )
    score_weight, presence_weight = (float(value) for value in regression.coef_[0])
    calibration = Calibration(
        round(score_weight, 4), round(presence_weight, 4), round(float(regression.intercept_[0]), 4)
    )
    probabilities = calibration(np.array(raw)[:, 0], np.array(raw)[:, 1])
    absent_mask, group_index = np.array(absent), np.array(group_of)
    thresholds = [
        float(np.quantile(probabilities[absent_mask & (group_index == number)], 1 - allowed_fpr))
        for number in range(len(groups))
    ]
    return calibration, round(min(0.95, max(thresholds)), 3)
