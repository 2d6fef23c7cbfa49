"""``refdet-train cross-validate``: how a recipe does on places it was not trained on.

For each fold of places a network is trained on the others and measured on it. Existing results are
kept, so an interrupted run resumes where it stopped. To measure again, delete the folds'
predictions_NAME.json; to train again, delete the folds.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path

from refdet_core.bundle import DESCRIPTION, load_bundle
from refdet_core.errors import ConfigError
from refdet_training.commands.evaluate import add_allowed_fpr
from refdet_training.datasets.splits import fold_split
from refdet_training.datasets.whole_files import write_whole
from refdet_training.evaluation.cross_validation import (
    PooledNumbers,
    folds_of,
    measure_fold,
    pool,
    read_predictions,
    table,
    write_predictions,
)
from refdet_training.evaluation.detection_protocol import DetectionProtocol
from refdet_training.evaluation.overrides import detector_config

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
    search = detector_config(options.config)
    bundles = {options.recipe.stem: {fold: _trained(options, fold, available) for fold in folds}}
    for item in options.beside:
        name, _, path = item.partition("=")
        if not path:
            raise ConfigError(f"--beside takes NAME=BUNDLE, got '{item}'.")
        bundles[name] = dict.fromkeys(folds, Path(path))
    looking = [load_bundle(folder) for folder in options.refine]
    networks = [bundle.name for bundle in looking]
    methods: dict[str, PooledNumbers] = {}
    for name, by_fold in bundles.items():
        predictions = {}
        for fold, bundle in by_fold.items():
            parts = "_".join(["predictions", name, *networks])
            kept = options.output / f"{fold_split(fold)}" / f"{parts}.json"
            if not kept.is_file():
                measured = load_bundle(bundle)
                found = measure_fold(measured, options.data, fold, protocol, search, looking)
                kept.parent.mkdir(parents=True, exist_ok=True)
                write_predictions(kept, found)
            predictions[fold] = read_predictions(kept)
        if networks:
            pooled = pool(predictions, protocol, options.allowed_fpr, networks)
            methods[" + ".join([name, *networks])] = _with_cohort(
                pooled, options.output / ("_".join(["cohort", name, *networks]) + ".npy")
            )
        methods[name] = pool(predictions, protocol, options.allowed_fpr)
    content = {name: numbers.as_dict() for name, numbers in methods.items()}
    write_whole(options.output / NUMBERS, json.dumps(content, indent=1).encode())
    shown = table(methods)
    write_whole(options.output / TABLE, shown.encode())
    print(shown)


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
