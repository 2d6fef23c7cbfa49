"""Fits a bundle's calibration and threshold on held-out video."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from sklearn.linear_model import LogisticRegression

from refdet_core.bundle import Bundle
from refdet_core.calibration import Calibration, logit
from refdet_core.detector_config import DetectorConfig
from refdet_core.errors import ConfigError, SourceError
from refdet_training.datasets.instance import Instance
from refdet_training.evaluation.detection_numbers import LOOSE_IOU
from refdet_training.evaluation.detection_protocol import (
    DetectionProtocol,
    Skipped,
    long_enough,
)
from refdet_training.evaluation.held_out import RawPrediction, probabilities, raw_predictions
from refdet_training.evaluation.threshold import (
    ALLOWED_FPR,
    AbsentPair,
    can_promise,
    choose_threshold,
    false_alarm_rates,
)


@dataclass(frozen=True)
class FittedCalibration:
    """The published calibration and threshold, and the data they were fitted on.

    Attributes:
        calibration: raw outputs to probability.
        threshold: the threshold on that probability.
        frames: number of frames, each searched for every object of other families.
        absent_pairs: number of pairs of an object and a family of videos without it.
        allowed_fpr: the false-alarm rate that the threshold was chosen for.
        promised: whether there were enough pairs for that.
        tuning_fpr: the rate on these pairs, by source.
        skipped: data that could not be used.
    """

    calibration: Calibration
    threshold: float
    frames: int
    absent_pairs: int
    allowed_fpr: float
    promised: bool
    tuning_fpr: dict[str, float]
    skipped: tuple[Skipped, ...]

    def as_dict(self) -> dict[str, Any]:
        """Plain values for ``bundle.yaml``, without those that the bundle stores elsewhere."""
        values = asdict(self)
        return {key: values[key] for key in ("frames", "absent_pairs", "allowed_fpr", "tuning_fpr")}


def fit_calibration(
    bundle: Bundle,
    instances: Sequence[Instance],
    protocol: DetectionProtocol,
    search: DetectorConfig,
    allowed_fpr: float = ALLOWED_FPR,
) -> FittedCalibration:
    """Calibration (:func:`fit_probability`) and threshold
    (:func:`~refdet_training.evaluation.threshold.choose_threshold`) of held-out instances.

    Raises:
        ConfigError: ``allowed_fpr`` is not between 0 and 1.
        SourceError: there are too few instances: too short, always or never found, or no source
            with two families, so that every frame shows the object.
    """
    if not 0 < allowed_fpr < 1:
        raise ConfigError(f"allowed_fpr must lie between 0 and 1, got {allowed_fpr}.")
    kept, too_short = long_enough(instances, protocol)
    predictions, unusable = raw_predictions(bundle, kept, protocol, search)
    if all(item.prediction.present for item in predictions):
        raise SourceError(
            "The videos to fit on are of one family, so none of their frames is without the "
            "object. Prepare the data with videos of at least two families after --tune, or name "
            "another split."
        )
    calibration = fit_probability(predictions, protocol)
    pairs = absent_pairs(predictions, calibration)
    threshold = choose_threshold(pairs, allowed_fpr)
    return FittedCalibration(
        calibration=calibration,
        threshold=threshold,
        frames=len({item.prediction.picture for item in predictions}),
        absent_pairs=len(pairs),
        allowed_fpr=allowed_fpr,
        promised=can_promise(pairs, allowed_fpr),
        tuning_fpr=dict(false_alarm_rates(pairs, threshold)),
        skipped=(*too_short, *unusable),
    )


def fit_probability(
    predictions: Sequence[RawPrediction], protocol: DetectionProtocol
) -> Calibration:
    """Logistic regression (Platt 1999) of "the best answer is right" on the raw scores.

    Every source has the same weight. Within a source, the objects' own videos and those of other
    families are weighted as in the detection protocol, because a probability depends on how often
    the object is present. A few dozen videos determine only two numbers, too few for anything more
    flexible (isotonic regression).

    Raises:
        SourceError: the answers are all right or all wrong.
    """
    right = np.array([item.prediction.iou >= LOOSE_IOU for item in predictions])
    if right.all() or not right.any():
        raise SourceError(
            f"All {len(predictions)} answers on the held-out videos are "
            f"{'right' if right.all() else 'wrong'}; a calibration needs both. Give more videos"
            f"{'.' if right.all() else ', or a bundle that was trained.'}"
        )
    log_odds = logit(np.array([[item.prediction.score] for item in predictions]))
    weights = prediction_weights(predictions, protocol)
    regression = LogisticRegression(C=1.0).fit(log_odds, right, sample_weight=weights)
    return Calibration(
        score_weight=round(float(regression.coef_[0, 0]), 4),
        intercept=round(float(regression.intercept_[0]), 4),
    )


def absent_pairs(
    predictions: Sequence[RawPrediction], calibration: Calibration
) -> list[AbsentPair]:
    """Probabilities in frames without the object, by family of the object and of the video."""
    found: dict[tuple[str, str, str], list[float]] = {}
    for item in predictions:
        if not item.prediction.present:
            key = (item.prediction.source, item.object_family, item.shown_family)
            found.setdefault(key, []).append(item.prediction.score)
    return [
        AbsentPair(source, tuple(probabilities(calibration, np.array(scores)).tolist()))
        for (source, _, _), scores in found.items()
    ]


def prediction_weights(
    predictions: Sequence[RawPrediction], protocol: DetectionProtocol
) -> np.ndarray:
    """One weight per prediction, 1 on average, see :func:`fit_probability`."""
    groups = [(item.prediction.source, _is_own_video(item)) for item in predictions]
    own_share = protocol.frames / (protocol.frames + protocol.absent)
    weights = np.zeros(len(predictions))
    for group in dict.fromkeys(groups):
        inside = np.array([item == group for item in groups])
        weights[inside] = (own_share if group[1] else 1 - own_share) / inside.sum()
    return np.asarray(weights * (len(weights) / weights.sum()))


def _is_own_video(item: RawPrediction) -> bool:
    return item.prediction.video_id == item.prediction.object_video
