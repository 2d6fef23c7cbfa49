"""Fits how the second look changes the candidates of a search network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from sklearn.linear_model import LogisticRegression

from refdet_core.backends.config import BackendConfig
from refdet_core.bundle import Bundle, load_bundle
from refdet_core.calibration import Calibration, logit
from refdet_core.cohort import Cohort
from refdet_core.detector import DEFAULT_TEMPLATE_ID, Detector
from refdet_core.detector_config import DetectorConfig
from refdet_core.frame_inference import NetworkSearchFrame
from refdet_core.metrics import box_iou
from refdet_core.network import Network
from refdet_core.refinement_rule import SEPARATOR, LookWeights, RefinementRule, evidence
from refdet_core.search.refinement import reference_views, second_look
from refdet_core.types import BoxXYXY, Reference
from refdet_training.evaluation.bundle_detector import NO_DETECTION
from refdet_training.evaluation.calibration import prediction_weights
from refdet_training.evaluation.detection_numbers import LOOSE_IOU
from refdet_training.evaluation.detection_protocol import DetectionProtocol, FrameDetector
from refdet_training.evaluation.held_out import UNCALIBRATED, Look, RawPrediction, probabilities

_ELSEWHERE_IOU = 0.05  # candidates that overlap an object less are other things
_COHORT_SIZE = 600


def refinement_of(networks: Sequence[str]) -> RefinementRule:
    """A rule without weights, of the tracking network that looks again and the networks whose
    features are compared, by name."""
    tracker, *embedders = networks
    return RefinementRule(tracker, SEPARATOR.join(embedders))


class LookingDetector(FrameDetector):
    """A search network whose best candidates are looked at again.

    Args:
        others: the tracking network that looks again, and the networks whose template features are
            compared, if any.

    Attributes:
        looks: for each searched frame its candidates, best first.
        references: for each searched frame the features of the object's references.
    """

    def __init__(self, bundle: Bundle, others: Sequence[Bundle], config: DetectorConfig) -> None:
        self.looks: list[tuple[Look, ...]] = []
        self.references: list[tuple[tuple[float, ...], ...]] = []
        count = config.refine_candidates
        settings = replace(config, score_threshold=0.0, max_detections=count, refine_candidates=0)
        looking = refinement_of([each.name for each in others])
        bundle = replace(bundle, calibration=UNCALIBRATED, refinement=looking)
        search, *networks = (
            Network.open(each, "auto", BackendConfig()) for each in (bundle, *others)
        )
        self._detector = Detector(search.bundle, search.backend, settings, others=networks)

    def set_references(self, references: Sequence[Reference]) -> None:
        self._detector.set_template(references)

    def detect(self, frame_bgr: np.ndarray) -> tuple[BoxXYXY, float]:
        detector = self._detector
        detections = detector.detect(frame_bgr).detections
        frame = NetworkSearchFrame(
            detector.backend, detector.bundle, detector.bank, frame_bgr, 0.0, detector.others
        )
        refiner = frame.refiner
        assert refiner is not None, "Its networks were opened with it."
        known = reference_views(refiner, DEFAULT_TEMPLATE_ID)
        self.references.append(tuple(map(_rounded, known.embeddings)))
        self.looks.append(())
        if not detections:
            return NO_DETECTION
        boxes_xyxy = np.array([item.bbox_xyxy for item in detections])
        seen = second_look(refiner, boxes_xyxy, DEFAULT_TEMPLATE_ID)
        self.looks[-1] = tuple(
            Look(
                item.bbox_xyxy,
                item.score,
                tuple(map(float, seen.boxes_xyxy[i])),
                float(seen.scores[i]),
                float(seen.cosines[i]),
                None if seen.overlaps is None else float(seen.overlaps[i]),
                features=_rounded(seen.features[i]),
            )
            for i, item in enumerate(detections)
        )
        return detections[0].bbox_xyxy, detections[0].score

    def close(self) -> None:
        self._detector.close()


def _rounded(features: np.ndarray) -> tuple[float, ...]:
    return tuple(round(float(value), 4) for value in features)


def cohort_of(predictions: Sequence[RawPrediction]) -> Cohort | None:
    """What the search network took for the objects and was none of them; None: nothing of it has
    features."""
    features = [
        look.features
        for item in predictions
        for look in item.looks
        if look.features and _overlap(look, item) < _ELSEWHERE_IOU
    ]
    if not features:
        return None
    rng = np.random.default_rng(0)
    chosen = rng.permutation(len(features))[:_COHORT_SIZE]
    return Cohort(np.array([features[i] for i in sorted(chosen)], dtype=np.float16))


def compared_with(
    cohort: Cohort | None, predictions: Sequence[RawPrediction]
) -> list[RawPrediction]:
    """The predictions, with the ``relative_cosine`` of their looks."""
    if cohort is None:
        return list(predictions)
    compared = []
    for item in predictions:
        looks = item.looks
        if looks:
            features = np.array([look.features for look in looks])
            values = cohort.relative_cosines(features, np.array(item.references))
            looks = tuple(
                replace(look, relative_cosine=float(value))
                for look, value in zip(looks, values, strict=True)
            )
        compared.append(replace(item, looks=looks))
    return compared


def _overlap(look: Look, item: RawPrediction) -> float:
    """IoU with the object; 0 where it is away."""
    truth = item.prediction.truth_xyxy
    return 0.0 if truth is None else box_iou(look.tracker_box_xyxy, truth)


def fit_refinement(
    networks: Sequence[str],
    predictions: Sequence[RawPrediction],
    calibration: Calibration,
    protocol: DetectionProtocol,
) -> RefinementRule:
    """The rule that tells right candidates from wrong ones, calibrated for the best of each frame.

    Args:
        networks: names of the tracking network that looked again, and of the networks whose
            template features were compared, if any.
        predictions: with their ``looks``.
        calibration: of the search network alone.
    """
    same_camera = _fitted(predictions, calibration, protocol)
    other_photos = _fitted(without_colours(predictions), calibration, protocol)
    return replace(refinement_of(networks), same_camera=same_camera, other_photos=other_photos)


def following_as_released(rule: RefinementRule) -> RefinementRule:
    """The rule, judging followed targets as the released bundle does if it compares the same
    networks' features. ``benchmarks.followed_rule`` fits these weights."""
    released = load_bundle().refinement
    if released is None or released.embedding != rule.embedding:
        return rule
    return replace(rule, followed=released.followed)


def without_colours(predictions: Sequence[RawPrediction]) -> list[RawPrediction]:
    """The same, as if no reference were of the camera that is searched."""
    return [
        replace(item, looks=tuple(replace(look, overlap=None) for look in item.looks))
        for item in predictions
    ]


def _fitted(
    predictions: Sequence[RawPrediction], calibration: Calibration, protocol: DetectionProtocol
) -> LookWeights:
    """First a logistic regression over all candidates, then slope and intercept over the best
    ones."""
    weights = prediction_weights(predictions, protocol)
    looks = [look for item in predictions for look in item.looks]
    right = [_overlap(look, item) >= LOOSE_IOU for item in predictions for look in item.looks]
    row_weights = np.repeat(weights, [len(item.looks) for item in predictions])
    rows = evidence(*_answers(looks, calibration))
    # Scaled to one spread, since the regression prefers small weights.
    spread = np.maximum(rows.std(axis=0), 1e-3)
    first = LogisticRegression(C=1.0).fit(rows / spread, right, sample_weight=row_weights)
    found = look_weights(first.coef_[0] / spread, float(first.intercept_[0]))
    rule = RefinementRule("any", "", found, found)
    best = [refined(item, rule, calibration) for item in predictions]
    values = logit(np.array([item.prediction.score for item in best]))[:, None]
    answers = [item.prediction.iou >= LOOSE_IOU for item in best]
    second = LogisticRegression(C=1.0).fit(values, answers, sample_weight=weights)
    slope, shift = float(second.coef_[0, 0]), float(second.intercept_[0])
    return look_weights(slope * found.array, slope * found.intercept + shift)


def look_weights(array: np.ndarray, intercept: float) -> LookWeights:
    """Weights of the columns of :func:`~refdet_core.refinement_rule.evidence`, rounded."""
    search, tracker, embedding, colours, relative = (round(float(value), 4) for value in array)
    return LookWeights(search, tracker, embedding, colours, round(intercept, 4), relative)


def refined(item: RawPrediction, rule: RefinementRule, calibration: Calibration) -> RawPrediction:
    """The detector's answer after the second look."""
    if not item.looks:
        return item
    scores = rule(*_answers(item.looks, calibration))
    best = int(np.argmax(scores))
    prediction = replace(
        item.prediction,
        box_xyxy=item.looks[best].tracker_box_xyxy,
        score=float(scores[best]),
    )
    return replace(item, prediction=prediction)


def best_elsewhere(item: RawPrediction, rule: RefinementRule, calibration: Calibration) -> float:
    """The highest probability of what is not the object; 0 without such a candidate."""
    scores = rule(*_answers(item.looks, calibration)) if item.looks else ()
    return max(
        (
            float(score)
            for score, look in zip(scores, item.looks, strict=True)
            if _overlap(look, item) < _ELSEWHERE_IOU
        ),
        default=0.0,
    )


def _answers(
    looks: Sequence[Look], calibration: Calibration
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray | None, np.ndarray | None]:
    """What a :class:`RefinementRule` takes of some candidates."""
    search = probabilities(calibration, np.array([look.score for look in looks]))
    tracker = np.array([look.tracker_score for look in looks])
    cosines = np.array([look.cosine for look in looks])
    overlaps = _known([look.overlap for look in looks])
    return search, tracker, cosines, overlaps, _known([look.relative_cosine for look in looks])


def _known(values: Sequence[float | None]) -> np.ndarray | None:
    return None if None in values else np.array(values, dtype=float)
