"""``refdet-train cross-validate``: how a recipe does on places it was not trained on.

For each fold of places a network is trained on the others and measured on it. Existing results are
kept, so an interrupted run resumes where it stopped. To measure again, delete the folds'
predictions_NAME.json and tracks_NAME.json; to train again, delete the folds.
"""

from __future__ import annotations

import argparse
import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from refdet_core.bundle import DESCRIPTION, Bundle, load_bundle
from refdet_core.cohort import COHORT_FILE, Cohort
from refdet_core.detector_config import DetectorConfig
from refdet_core.errors import ConfigError
from refdet_training.commands.evaluate import add_allowed_fpr
from refdet_training.datasets.splits import fold_split
from refdet_training.datasets.whole_files import write_whole
from refdet_training.evaluation import fold_tracks
from refdet_training.evaluation.cross_validation import (
    PooledNumbers,
    cohort_without,
    detector_of,
    folds_of,
    measure_fold,
    pool,
    read_predictions,
    table,
    write_predictions,
)
from refdet_training.evaluation.detection_protocol import DetectionProtocol, FrameDetector
from refdet_training.evaluation.held_out import RawPrediction
from refdet_training.evaluation.overrides import detector_config
from refdet_training.evaluation.second_looks import following_as_released

NUMBERS = "cross_validation.json"
TABLE = "cross_validation.md"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument("--recipe", type=Path, required=True, help="of refdet-train fit")
    parser.add_argument(
        "--data", type=Path, required=True, metavar="PREPARED", help="of refdet-train prepare"
    )
    parser.add_argument("--output", type=Path, required=True, metavar="DIR", help="for everything")
    parser.add_argument(
        "--folds", type=int, nargs="+", default=[], metavar="N", help="only these (all)"
    )
    parser.add_argument(
        "--frames", type=int, default=12, help="with each object's own video (%(default)s)"
    )
    parser.add_argument(
        "--absent", type=int, default=8, help="of other families' videos (%(default)s)"
    )
    add_allowed_fpr(parser)
    parser.add_argument(
        "--beside",
        nargs="+",
        default=[],
        metavar="NAME=BUNDLE",
        help="also measure these bundles, which may have seen the places",
    )
    parser.add_argument(
        "--config", nargs="+", default=[], metavar="SETTING", help="of the detector: key=value"
    )
    parser.add_argument(
        "--refine",
        type=Path,
        nargs="+",
        default=[],
        metavar="BUNDLE",
        help="a tracking network that looks again at the best candidates, and networks whose "
        "template features are compared there, e.g. fear lighttrack efficientnet_lite0",
    )
    parser.add_argument(
        "--zero-shot",
        nargs="+",
        default=[],
        metavar="BACKBONE=WEIGHTS",
        help="also measure the cosines of these backbones' features, with no training of ours",
    )
    parser.add_argument(
        "--follow",
        type=float,
        metavar="FPS",
        help="also follow every object through its video, at so many frames a second: with the "
        "searches track and auto, and with the published trackers alone",
    )
    parser.add_argument(
        "settings",
        nargs=argparse.REMAINDER,
        help="further arguments of refdet-train fit after --, e.g. -- --trainer.max_steps 600",
    )


def run(options: argparse.Namespace) -> None:
    """Train, export and measure; print the table and write it with the numbers.

    Raises:
        RefdetError: the data, the recipe, a bundle or a setting cannot be used.
    """
    available = folds_of(options.data)
    folds = options.folds or available
    unknown = sorted(set(folds) - set(available))
    if unknown:
        raise ConfigError(f"There are no folds {unknown}; the data has {available}.")
    protocol = DetectionProtocol(frames=options.frames, absent=options.absent)
    bundles = {options.recipe.stem: {fold: _trained(options, fold, available) for fold in folds}}
    for name, path in _named(options.beside, "--beside", "NAME=BUNDLE"):
        bundles[name] = dict.fromkeys(folds, path)
    looking = [load_bundle(folder) for folder in options.refine]
    networks = [bundle.name for bundle in looking]
    methods: dict[str, PooledNumbers] = {}
    searching: dict[str, dict[int, Path]] = {}
    for name, by_fold in bundles.items():
        predictions = {}
        for fold, bundle in by_fold.items():
            predictions[fold] = _measured(
                options,
                fold,
                "_".join([name, *networks]),
                protocol,
                partial(_bundle_detector, bundle, detector_config(options.config), looking),
            )
        if networks:
            pooled = pool(predictions, protocol, options.allowed_fpr, networks)
            methods[" + ".join([name, *networks])] = _with_cohort(
                pooled, options.output / ("_".join(["cohort", name, *networks]) + ".npy")
            )
        methods[name] = pool(predictions, protocol, options.allowed_fpr)
        searching[name] = by_fold
        if name == options.recipe.stem and options.follow:
            found = next(iter(methods.values()))
            searching[name] = {
                fold: _as_published(bundle, found, cohort_without(predictions, fold))
                for fold, bundle in by_fold.items()
            }
    for name, path in _named(options.zero_shot, "--zero-shot", "BACKBONE=WEIGHTS"):
        predictions = {
            fold: _measured(
                options, fold, f"zero_shot_{name}", protocol, partial(_untrained, name, path)
            )
            for fold in folds
        }
        methods[f"{name}, zero-shot"] = pool(predictions, protocol, options.allowed_fpr)
    content = {name: numbers.as_dict() for name, numbers in methods.items()}
    write_whole(options.output / NUMBERS, json.dumps(content, indent=1).encode())
    shown = table(methods)
    if options.follow:
        config = detector_config(options.config)
        methods_that_follow = fold_tracks.followers(searching, folds, options.follow, config)
        followed = fold_tracks.follow_all(methods_that_follow, options.data, options.output)
        shown += "\n" + fold_tracks.table(followed)
    shown += "".join(
        f"\n{name} may have seen these places.\n" for name in bundles if name != options.recipe.stem
    )
    write_whole(options.output / TABLE, shown.encode())
    print(shown)


def _named(items: Sequence[str], option: str, form: str) -> Iterator[tuple[str, Path]]:
    """NAME=PATH each."""
    for item in items:
        name, _, path = item.partition("=")
        if not path:
            raise ConfigError(f"{option} takes {form}, got '{item}'.")
        yield name, Path(path)


def _measured(
    options: argparse.Namespace,
    fold: int,
    name: str,
    protocol: DetectionProtocol,
    opened: Callable[[], FrameDetector],
) -> list[RawPrediction]:
    """The fold's predictions, kept or made now."""
    kept = options.output / fold_split(fold) / f"predictions_{name}.json"
    if not kept.is_file():
        detector = opened()
        try:
            found = measure_fold(detector, options.data, fold, protocol)
        finally:
            detector.close()
        kept.parent.mkdir(parents=True, exist_ok=True)
        write_predictions(kept, found)
    predictions: list[RawPrediction] = read_predictions(kept)
    return predictions


def _bundle_detector(
    bundle: Path, search: DetectorConfig, looking: Sequence[Bundle]
) -> FrameDetector:
    return detector_of(load_bundle(bundle), search, looking)


def _untrained(name: str, weights: Path) -> FrameDetector:
    from refdet_training.evaluation.baselines import UntrainedBackbone

    return UntrainedBackbone(name, weights)


def _as_published(trained: Path, numbers: PooledNumbers, cohort: Cohort | None) -> Path:
    """A copy of a fold's bundle with the calibration, threshold and rule that a release gets, and a
    cohort of the other folds. Followed targets are judged as by the released bundle."""
    from refdet_training.export.bundle import with_refinement, write_description

    folder = trained.with_name("searching")
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(trained, folder)
    bundle, rule = load_bundle(folder), numbers.refinement
    if rule is not None:
        rule = following_as_released(rule)
        rule = replace(rule, cohort=COHORT_FILE if cohort is not None else "")
        if cohort is not None:
            cohort.save(folder / COHORT_FILE)
    bundle = replace(bundle, calibration=numbers.calibration, score_threshold=numbers.threshold)
    write_description(with_refinement(bundle, rule, folder))
    return folder


def _with_cohort(numbers: PooledNumbers, file: Path) -> PooledNumbers:
    """The numbers, whose rule names the file that holds their cohort now."""
    if numbers.cohort is None or numbers.refinement is None:
        return numbers
    numbers.cohort.save(file)
    return replace(numbers, refinement=replace(numbers.refinement, cohort=file.name))


def _trained(options: argparse.Namespace, fold: int, available: list[int]) -> Path:
    """The bundle of a network that was trained without this fold."""
    from refdet_training.commands.export import export
    from refdet_training.lightning_cli import fit

    folder = options.output / fold_split(fold)
    bundle: Path = folder / "bundle"
    if bundle.is_dir():
        if (bundle / DESCRIPTION).is_file() and load_bundle(bundle).name != options.recipe.stem:
            raise ConfigError(
                f"{bundle} was trained with the recipe {load_bundle(bundle).name}, not with "
                f"{options.recipe.stem}; give each recipe an --output of its own."
            )
        return bundle
    others = [fold_split(other) for other in available if other != fold]
    settings = [
        *("--config", str(options.recipe)),
        *("--data.data_dir", str(options.data)),
        *("--data.train_splits", json.dumps(["train", *others])),
        *("--data.tune_split", fold_split(fold)),
        *("--trainer.default_root_dir", str(folder)),
        *(item for item in options.settings if item != "--"),
    ]
    if (folder / "last.ckpt").is_file():
        settings += ["--ckpt_path", "last"]
    print(f"fold {fold}: training without it in {folder}")
    fit(settings)
    export(folder / "last.ckpt", bundle, options.recipe.stem, "0.0.0")
    return bundle
