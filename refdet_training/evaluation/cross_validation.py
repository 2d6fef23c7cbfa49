"""Measures a recipe on places its networks have not seen: every fold by a network trained on the
others, then all folds pooled.

Videos of one place share ground, light and objects, so a network that was trained on one of them
finds things in the others that it would not find elsewhere. A fold holds whole places.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from refdet_core.boxes import as_tuple
from refdet_core.bundle import Bundle
from refdet_core.calibration import Calibration
from refdet_core.cohort import Cohort
from refdet_core.detector_config import DetectorConfig
from refdet_core.errors import SourceError
from refdet_core.refinement_rule import RefinementRule
from refdet_training.datasets.index import load_instances, load_splits, prepared_sources
from refdet_training.datasets.instance import FrameRef
from refdet_training.datasets.splits import fold_split, is_fold
from refdet_training.datasets.whole_files import write_whole
from refdet_training.evaluation.bundle_detector import BundleDetector
from refdet_training.evaluation.calibration import absent_pairs, fit_probability
from refdet_training.evaluation.detection_numbers import summarise
from refdet_training.evaluation.detection_protocol import (
    DetectionProtocol,
    FrameDetector,
    Prediction,
    long_enough,
    run_protocol,
)
from refdet_training.evaluation.held_out import UNCALIBRATED, Look, RawPrediction, probabilities
from refdet_training.evaluation.second_looks import (
    LookingDetector,
    best_elsewhere,
    cohort_of,
    compared_with,
    fit_refinement,
    refined,
    without_colours,
)
from refdet_training.evaluation.threshold import choose_threshold

NUMBERS = ("recall_iou50", "recall_iou30", "centre_hit", "ap50", "presence_auroc")
"""What the table shows of each fold."""


@dataclass(frozen=True)
class PooledNumbers:
    """All folds together.

    Attributes:
        calibration, threshold: fitted on the out-of-fold predictions of all folds.
        refinement: fitted on them too, where the candidates were looked at again; then threshold
            and numbers are those of the answers after it.
        numbers: see :func:`~refdet_training.evaluation.detection_numbers.summarise`, with that
            calibration and threshold.
            After a second look also ``elsewhere``: the share of the frames with the object in
            which something else reaches the threshold.
        by_fold: the same for each fold alone.
        cohort: of all folds, for networks that compare; the numbers are with that of the other
            folds.
    """

    calibration: Calibration
    threshold: float
    numbers: dict[str, Any]
    by_fold: dict[int, dict[str, Any]]
    refinement: RefinementRule | None = None
    cohort: Cohort | None = None

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON and YAML."""
        return {
            "calibration": asdict(self.calibration),
            "threshold": self.threshold,
            "refinement": None if self.refinement is None else asdict(self.refinement),
            "pooled": self.numbers,
            "by_fold": {str(fold): numbers for fold, numbers in self.by_fold.items()},
        }


def folds_of(prepared: Path) -> list[int]:
    """Numbers of the folds that the prepared data sets are split into.

    Raises:
        SourceError: there are none.
    """
    names = {
        split
        for source in prepared_sources(prepared)
        for split, videos in load_splits(prepared / source).items()
        if is_fold(split) and videos
    }
    if not names:
        raise SourceError(
            f"No data set in {prepared} has folds; prepare one with --splits FILE, where FILE "
            "holds 'places' and 'folds'."
        )
    return sorted(int(name.removeprefix(fold_split(0)[:-1])) for name in names)


def measure_fold(
    detector: FrameDetector, prepared: Path, fold: int, protocol: DetectionProtocol
) -> list[RawPrediction]:
    """Look for the fold's objects in their own later frames, and in frames of other families'
    videos of the same data set, of this fold or another."""
    held_out, elsewhere = [], []
    for source in prepared_sources(prepared):
        splits = load_splits(prepared / source)
        if splits.get(fold_split(fold)):
            held_out += load_instances(prepared, fold_split(fold), [source])
            elsewhere += [
                item
                for split in splits
                if is_fold(split) and split != fold_split(fold) and splits[split]
                for item in load_instances(prepared, split, [source])
            ]
    kept, _ = long_enough(held_out, protocol)
    found, _ = run_protocol(detector, kept, protocol, f"fold {fold}", elsewhere)
    looks: Sequence[tuple[Look, ...]] = [()] * len(found)
    references: Sequence[tuple[tuple[float, ...], ...]] = [()] * len(found)
    if isinstance(detector, LookingDetector):
        looks, references = detector.looks, detector.references
    families = {(item.source, item.video_id): item.family for item in [*kept, *elsewhere]}
    return [
        RawPrediction(
            families[item.source, item.object_video],
            families[item.source, item.video_id],
            item,
            seen,
            known,
        )
        for item, seen, known in zip(found, looks, references, strict=True)
    ]


def detector_of(
    bundle: Bundle, search: DetectorConfig, looking: Sequence[Bundle] = ()
) -> BundleDetector | LookingDetector:
    """What :func:`measure_fold` measures of a bundle.

    Args:
        looking: a tracking network that looks again at the best candidates, and networks whose
            template features are compared; none: no second look.
    """
    if looking:
        return LookingDetector(bundle, looking, search)
    return BundleDetector(replace(bundle, calibration=UNCALIBRATED), search)


def pool(
    predictions: Mapping[int, Sequence[RawPrediction]],
    protocol: DetectionProtocol,
    allowed_fpr: float,
    networks: Sequence[str] = (),
) -> PooledNumbers:
    """Calibration, threshold and numbers of the out-of-fold predictions.

    Args:
        networks: names of the networks of the second look, see
            :func:`~refdet_training.evaluation.second_looks.fit_refinement`; none: leave it aside.

    Raises:
        SourceError: all answers are right or all are wrong.
    """
    cohort = None
    if networks:
        whole = predictions
        predictions = {
            fold: compared_with(cohort_without(whole, fold), found) for fold, found in whole.items()
        }
        cohort = cohort_without(whole) if len(whole) > 1 else None
    everything = [item for found in predictions.values() for item in found]
    calibration = fit_probability(everything, protocol)
    rule = fit_refinement(networks, everything, calibration, protocol) if networks else None
    calibrated = {
        fold: [_calibrated(item, calibration, rule) for item in found]
        for fold, found in predictions.items()
    }
    answers = [item for found in calibrated.values() for item in found]
    # One threshold for references of this camera and for other photos.
    photos = [_calibrated(item, calibration, rule) for item in without_colours(everything)]
    threshold = choose_threshold(absent_pairs([*answers, *photos], UNCALIBRATED), allowed_fpr)
    numbers = summarise([item.prediction for item in answers], threshold)
    if rule is not None:
        numbers["elsewhere"] = _share_elsewhere(everything, rule, calibration, threshold)
    return PooledNumbers(
        calibration,
        threshold,
        numbers,
        {
            fold: summarise([item.prediction for item in found], threshold)
            for fold, found in calibrated.items()
        },
        rule,
        cohort,
    )


def _share_elsewhere(
    predictions: Sequence[RawPrediction],
    rule: RefinementRule,
    calibration: Calibration,
    threshold: float,
) -> float | None:
    """Share of the frames with the object in which something else reaches the threshold."""
    reached = [
        best_elsewhere(item, rule, calibration) >= threshold
        for item in predictions
        if item.prediction.present
    ]
    return float(np.mean(reached)) if reached else None


def cohort_without(
    predictions: Mapping[int, Sequence[RawPrediction]], without: int | None = None
) -> Cohort | None:
    """The cohort of all folds but one."""
    return cohort_of(
        [item for fold, found in predictions.items() if fold != without for item in found]
    )


def spread(numbers: PooledNumbers, name: str) -> tuple[float, float]:
    """Mean and standard deviation of a number over the folds that have it."""
    values = [fold[name] for fold in numbers.by_fold.values() if fold[name] is not None]
    return float(np.mean(values)), float(np.std(values))


def table(methods: Mapping[str, PooledNumbers]) -> str:
    """One row for each method and fold, and for the mean over folds and all folds pooled."""
    lines = ["| | fold | " + " | ".join(NUMBERS) + " |", "|---|---|" + "---|" * len(NUMBERS)]
    for method, numbers in methods.items():
        for fold, values in numbers.by_fold.items():
            shown = " | ".join(_shown(values[name]) for name in NUMBERS)
            lines.append(f"| {method} | {fold} | {shown} |")
        means = " | ".join("{:.2f} ± {:.2f}".format(*spread(numbers, name)) for name in NUMBERS)
        lines.append(f"| {method} | mean | {means} |")
        pooled = " | ".join(_shown(numbers.numbers[name]) for name in NUMBERS)
        lines.append(f"| **{method}** | **pooled** | {pooled} |")
    for method, numbers in methods.items():
        values = numbers.numbers
        lines.append("")
        lines.append(
            f"{method}, pooled, at the threshold {numbers.threshold:.3f}: reported in the right "
            f"place in {_shown(values['found'])} of the frames with the object, reported in "
            f"{_shown(values['fpr'])} of those without; calibration error {_shown(values['ece'])}; "
            f"{values['present']} frames with and {values['frames'] - values['present']} without."
        )
        if "elsewhere" in values:
            lines[-1] += (
                f" Something else reaches it in {_shown(values['elsewhere'])} of the frames with "
                "the object."
            )
    return "\n".join(lines) + "\n"


def write_predictions(path: Path, predictions: Sequence[RawPrediction]) -> None:
    """Keep one fold's predictions."""
    rows = [
        {
            "object_family": item.object_family,
            "shown_family": item.shown_family,
            **{
                name: getattr(item.prediction, name)
                for name in ("source", "object_video", "object_id", "video_id", "frame", "score")
            },
            "box_xyxy": [float(value) for value in item.prediction.box_xyxy],
            "truth_xyxy": item.prediction.truth_xyxy,
            "looks": [asdict(look) for look in item.looks],
            "references": item.references,
        }
        for item in predictions
    ]
    write_whole(path, json.dumps(rows, indent=0).encode())


def read_predictions(path: Path) -> list[RawPrediction]:
    """What :func:`write_predictions` wrote; the pictures are not kept."""
    found = []
    for row in json.loads(path.read_text(encoding="utf-8")):
        truth = row["truth_xyxy"]
        prediction = Prediction(
            row["source"],
            row["object_video"],
            row["object_id"],
            row["video_id"],
            row["frame"],
            FrameRef(Path()),
            row["score"],
            tuple(row["box_xyxy"]),
            tuple(truth) if truth else None,
        )
        looks = tuple(_look(**look) for look in row.get("looks", []))
        families = row["object_family"], row["shown_family"]
        references = tuple(tuple(features) for features in row.get("references", []))
        found.append(RawPrediction(*families, prediction, looks, references))
    return found


def _look(
    box_xyxy: Sequence[float],
    score: float,
    tracker_box_xyxy: Sequence[float],
    tracker_score: float,
    features: Sequence[float] = (),
    **numbers: float | None,
) -> Look:
    boxes = as_tuple(np.array(box_xyxy)), as_tuple(np.array(tracker_box_xyxy))
    return Look(boxes[0], score, boxes[1], tracker_score, features=tuple(features), **numbers)


def _calibrated(
    item: RawPrediction, calibration: Calibration, rule: RefinementRule | None
) -> RawPrediction:
    """The prediction with a probability as its score."""
    if rule is not None and item.looks:
        return refined(item, rule, calibration)
    score = probabilities(calibration, np.array([item.prediction.score]))
    return replace(item, prediction=replace(item.prediction, score=float(score[0])))


def _shown(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"
