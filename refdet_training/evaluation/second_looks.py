"""Fits how a tracking network's second look changes the candidates of a search network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from sklearn.linear_model import LogisticRegression

from refdet_core.backends.config import BackendConfig
from refdet_core.bundle import Bundle
from refdet_core.calibration import Calibration, logit
from refdet_core.detector import DEFAULT_TEMPLATE_ID, Detector
from refdet_core.detector_config import DetectorConfig
from refdet_core.frame_inference import NetworkSearchFrame
from refdet_core.metrics import box_iou
from refdet_core.network import Network
from refdet_core.refinement_rule import RefinementRule, evidence
from refdet_core.search.refinement import second_look
from refdet_core.types import BoxXYXY, Reference
from refdet_training.evaluation.bundle_detector import NO_DETECTION
from refdet_training.evaluation.calibration import prediction_weights
from refdet_training.evaluation.detection_numbers import LOOSE_IOU
from refdet_training.evaluation.detection_protocol import DetectionProtocol, FrameDetector
from refdet_training.evaluation.held_out import UNCALIBRATED, Look, RawPrediction, probabilities


class LookingDetector(FrameDetector):
    """A search network whose best candidates a tracking network looks at again.

    Attributes:
        looks: for each searched frame its candidates, best first.
    """

    def __init__(self, bundle: Bundle, tracker: Bundle, config: DetectorConfig) -> None:
        self.looks: list[tuple[Look, ...]] = []
        count = config.refine_candidates
        settings = replace(config, score_threshold=0.0, max_detections=count, refine_candidates=0)
        search = Network.open(replace(bundle, calibration=UNCALIBRATED), "auto", BackendConfig())
        tracking = Network.open(tracker, "auto", BackendConfig())
        self._detector = Detector(search.bundle, search.backend, settings, trackers=(tracking,))

    def set_references(self, references: Sequence[Reference]) -> None:
        self._detector.set_template(references)

    def detect(self, frame_bgr: np.ndarray) -> tuple[BoxXYXY, float]:
        detections = self._detector.detect(frame_bgr).detections
        self.looks.append(())
        if not detections:
            return NO_DETECTION
        detector = self._detector
        frame = NetworkSearchFrame(
            detector.backend, detector.bundle, detector.bank, frame_bgr, 0.0, detector.trackers
        )
        boxes_xyxy = np.array([item.bbox_xyxy for item in detections])
        seen = second_look(frame.trackers[0], boxes_xyxy, DEFAULT_TEMPLATE_ID)
        self.looks[-1] = tuple(
            Look(
                item.bbox_xyxy,
                item.score,
                tuple(map(float, seen.boxes_xyxy[i])),
                float(seen.scores[i]),
            )
            for i, item in enumerate(detections)
        )
        return detections[0].bbox_xyxy, detections[0].score

    def close(self) -> None:
        self._detector.close()


def fit_refinement(
    tracker: str,
    predictions: Sequence[RawPrediction],
    calibration: Calibration,
    protocol: DetectionProtocol,
) -> RefinementRule:
    """The rule that tells right candidates from wrong ones, calibrated for the best of each frame.

    First a logistic regression over all candidates, then slope and intercept over the best ones.

    Args:
        tracker: name of the tracking network.
        predictions: with their ``looks``.
        calibration: of the search network alone.
    """
    weights = prediction_weights(predictions, protocol)
    rows, right, row_weights = [], [], []
    for item, weight in zip(predictions, weights, strict=True):
        truth = item.prediction.truth_xyxy
        rows.append(evidence(*_scores(item, calibration)))
        for look in item.looks:
            right.append(truth is not None and box_iou(look.tracker_box_xyxy, truth) >= LOOSE_IOU)
            row_weights.append(weight)
    first = LogisticRegression(C=1.0).fit(np.concatenate(rows), right, sample_weight=row_weights)
    rule = RefinementRule(
        tracker, float(first.coef_[0, 0]), float(first.coef_[0, 1]), float(first.intercept_[0])
    )
    best = [refined(item, rule, calibration) for item in predictions]
    values = logit(np.array([item.prediction.score for item in best]))[:, None]
    answers = [item.prediction.iou >= LOOSE_IOU for item in best]
    second = LogisticRegression(C=1.0).fit(values, answers, sample_weight=weights)
    slope, shift = float(second.coef_[0, 0]), float(second.intercept_[0])
    return RefinementRule(
        tracker,
        round(slope * rule.search_weight, 4),
        round(slope * rule.tracker_weight, 4),
        round(slope * rule.intercept + shift, 4),
    )


def refined(item: RawPrediction, rule: RefinementRule, calibration: Calibration) -> RawPrediction:
    """The detector's answer after the second look."""
    if not item.looks:
        return item
    scores = rule(*_scores(item, calibration))
    best = int(np.argmax(scores))
    prediction = replace(
        item.prediction,
        box_xyxy=item.looks[best].tracker_box_xyxy,
        score=float(scores[best]),
    )
    return replace(item, prediction=prediction)


def _scores(item: RawPrediction, calibration: Calibration) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities of one frame's candidates by the search and by the tracking network."""
    raw = np.array([look.score for look in item.looks])
    search = probabilities(calibration, raw)
    return search, np.array([look.tracker_score for look in item.looks])
