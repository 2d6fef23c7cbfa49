"""``refdet-train publish``: fits a bundle's calibration and threshold, measures and updates it."""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path

from refdet_core.bundle import Bundle, load_bundle, refinement_rule
from refdet_core.calibration import Calibration
from refdet_core.errors import ConfigError
from refdet_training.commands.evaluate import (
    add_allowed_fpr,
    add_measuring_arguments,
    print_numbers,
)
from refdet_training.datasets.index import load_instances
from refdet_training.evaluation.calibration import FittedCalibration, fit_calibration
from refdet_training.evaluation.detection_protocol import DetectionProtocol
from refdet_training.evaluation.evaluate_bundle import EvaluationSettings, evaluate_bundle
from refdet_training.evaluation.overrides import detector_config
from refdet_training.evaluation.second_looks import following_as_released
from refdet_training.evaluation.tables import all_numbers
from refdet_training.export import publish, with_refinement


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument(
        "--bundle", type=Path, required=True, help="its folder; bundle.yaml changes"
    )
    add_measuring_arguments(parser)
    parser.add_argument("--split", default="tune", help="held-out videos to fit on (%(default)s)")
    parser.add_argument("--scores-split", default="val", help="videos to measure on (%(default)s)")
    add_allowed_fpr(parser)
    parser.add_argument(
        "--cross-validation",
        type=Path,
        metavar="FILE",
        help="take calibration, threshold and scores from cross_validation.json, measure nothing",
    )
    parser.add_argument(
        "--keep-calibration",
        action="store_true",
        help="only measure again, for changes outside the network",
    )


def run(options: argparse.Namespace) -> None:
    """Fit and measure; write ``bundle.yaml`` only if everything succeeded.

    Raises:
        RefdetError: the bundle, the data or a setting cannot be used.
    """
    protocol = DetectionProtocol(references=options.references, frames=options.frames)
    search = detector_config(options.config)
    if search.score_threshold >= 0:
        raise ConfigError("publish fits the threshold; omit score_threshold.")
    bundle = load_bundle(options.bundle)
    if options.cross_validation is not None:
        _publish_out_of_fold(bundle, options.cross_validation)
        return
    if options.keep_calibration:
        calibration, threshold = bundle.calibration, bundle.score_threshold
        origin = bundle.scores.get("calibration", {})
    else:
        instances = load_instances(options.data, options.split, options.source or None)
        fitted = fit_calibration(bundle, instances, protocol, search, options.allowed_fpr)
        _say(fitted)
        calibration, threshold = fitted.calibration, fitted.threshold
        origin = {"split": options.split, **fitted.as_dict()}
    settings = EvaluationSettings(
        bundle=replace(bundle, calibration=calibration, score_threshold=threshold),
        prepared=options.data,
        split=options.scores_split,
        sources=tuple(options.source),
        detection=protocol,
        tracking=None,
        search=search,
        baselines=options.baselines,
        backbone_weights=options.backbone_weights,
    )
    numbers = all_numbers(evaluate_bundle(settings))
    scores = {
        "protocol": f"detection, {options.scores_split} split, refdet-train evaluate",
        "settings": numbers["detection"]["protocol"],
        "search": numbers["search"],
        "calibration": origin,
        **numbers["detection"]["by_source"],
    }
    publish(bundle, calibration, threshold, scores)
    print_numbers(numbers)
    print(f"published: {bundle.folder}")


def _publish_out_of_fold(bundle: Bundle, path: Path) -> None:
    """How networks of the same recipe did on places that they had not seen."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        recipe = next(iter(content))
        found = content[recipe]
        calibration, threshold = Calibration(**found["calibration"]), float(found["threshold"])
        rule = found.get("refinement")
        refinement = None if rule is None else following_as_released(refinement_rule(rule))
    except (OSError, ValueError, KeyError, TypeError, StopIteration) as error:
        raise ConfigError(
            f"{path} is not the cross_validation.json of refdet-train cross-validate: {error}"
        ) from error
    scores = {
        "protocol": f"out of fold, recipe {recipe}, refdet-train cross-validate",
        "pooled": found["pooled"],
        "by_fold": found["by_fold"],
    }
    bundle = with_refinement(bundle, refinement, path.parent)
    publish(bundle, calibration, threshold, scores)
    print(f"published: {bundle.folder}, threshold {threshold:.3f}")


def _say(fitted: FittedCalibration) -> None:
    for item in fitted.skipped:
        print(f"not fitted on: {item.source} {item.video_id} {item.object_id}: {item.reason}")
    print(
        f"threshold {fitted.threshold:.3f}, fitted on {fitted.absent_pairs} pairs of an object and "
        f"a family of videos without it; false-alarm rate there {fitted.tuning_fpr}"
    )
    if not fitted.promised:
        print(
            "warning: too few pairs to guarantee a false-alarm rate of "
            f"{fitted.allowed_fpr:g}, so the threshold lies above every frame without the object; "
            "tune on more videos."
        )
