"""The ``refdet-train`` command: prepare, fit, export, calibrate, evaluate.

refdet-train prepare  --data DATA --prepared DIR
refdet-train fit      --data DATA --prepared DIR --recipe FILE --output RUN
refdet-train export   --checkpoint RUN/last.pt --output BUNDLE --name NAME --version V
refdet-train publish  --data DATA --prepared DIR --recipe FILE --bundle BUNDLE
refdet-train evaluate --data DATA --prepared DIR --bundle BUNDLE --split val [--baselines]
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from refdet_core.bundle import DEFAULT_BUNDLE, load_bundle
from refdet_core.errors import RefdetError
from refdet_training.calibrate import fit_calibration
from refdet_training.detection_protocol import Finder, Protocol, run_protocol, summarise
from refdet_training.export import export_bundle, publish
from refdet_training.finders import BundleFinder, MatchTemplate, UntrainedBackbone
from refdet_training.train import fit, load_checkpoint, load_recipe
from refdet_training.videos import Instance, extract_frames, load_instances, split_videos

SOURCES = ("aerial_sequences", "airborne_targets")
_FRAME_STEP = {"aerial_sequences": 1, "airborne_targets": 2}  # 30 fps clips repeat themselves
_MIN_FRAMES = 20


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code (2: the input cannot be used)."""
    options = _parser().parse_args(arguments)
    try:
        options.run(options)
    except RefdetError as error:
        print(f"refdet-train: {error}", file=sys.stderr)
        return 2
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="refdet-train", description="From annotated video to a model bundle."
    )
    commands = parser.add_subparsers(dest="command", required=True)

    def command(name: str, run: Any, help_text: str, *names: str) -> argparse.ArgumentParser:
        made = commands.add_parser(name, help=help_text)
        made.set_defaults(run=run)
        for item in names:
            made.add_argument(f"--{item}", type=Path, required=True)
        return made

    command("prepare", _prepare, "decode the videos into frames", "data", "prepared")
    fitting = command("fit", _fit, "train", "data", "prepared", "recipe", "output")
    fitting.add_argument("--steps", type=int, help="instead of the recipe's")
    fitting.add_argument("--initial", type=Path, help="checkpoint whose weights are the start")
    fitting.add_argument("--workers", type=int, default=1, help="processes that draw pairs")
    export = command("export", _export, "write a bundle from a checkpoint", "checkpoint", "output")
    export.add_argument("--name", required=True)
    export.add_argument("--version", required=True)
    command(
        "publish",
        _publish,
        "fit calibration and threshold on the tuning videos and store the val scores",
        "data",
        "prepared",
        "recipe",
        "bundle",
    )
    evaluate = command(
        "evaluate", _evaluate, "measure with the detection protocol", "data", "prepared"
    )
    evaluate.add_argument("--bundle", type=Path, default=DEFAULT_BUNDLE)
    evaluate.add_argument("--split", choices=("train", "val"), default="val")
    evaluate.add_argument(
        "--baselines", action="store_true", help="also the untrained backbone and matchTemplate"
    )
    evaluate.add_argument("--output", type=Path, help="JSON file for the numbers")
    return parser


def _prepare(options: argparse.Namespace) -> None:
    for source in SOURCES:
        extract_frames(options.data / source, options.prepared, _FRAME_STEP[source])


def _fit(options: argparse.Namespace) -> None:
    recipe = load_recipe(options.recipe)
    if options.steps:
        recipe = dataclasses.replace(recipe, steps=options.steps)
    checkpoint = fit(
        recipe, options.data, options.prepared, options.output, options.workers, options.initial
    )
    print(f"checkpoint: {checkpoint}")


def _export(options: argparse.Namespace) -> None:
    model, training = load_checkpoint(options.checkpoint)
    context = training["pairs"]["template_context"]
    bundle = export_bundle(model, options.output, options.name, options.version, context, training)
    print(f"bundle: {bundle.folder}")


def _publish(options: argparse.Namespace) -> None:
    recipe = load_recipe(options.recipe)
    groups = []
    for source in SOURCES:
        train, _ = split_videos(options.data / "splits.json", source)
        tuning = [video for video in train if video in recipe.tune_videos]
        groups.append(_long_enough(load_instances(options.prepared, [source], tuning)))
    calibration, threshold = fit_calibration(options.bundle, groups, Protocol())
    bundle = publish(load_bundle(options.bundle), calibration, threshold, {})
    scores = _measure(options, options.bundle, "val", baselines=True)
    publish(
        bundle,
        calibration,
        threshold,
        {"protocol": "detection, val split, refdet-train evaluate", **scores},
    )


def _evaluate(options: argparse.Namespace) -> None:
    scores = _measure(options, options.bundle, options.split, options.baselines)
    if options.output:
        options.output.write_text(json.dumps(scores, indent=2), encoding="utf-8")


def _measure(
    options: argparse.Namespace, bundle_folder: Path, split: str, baselines: bool
) -> dict[str, Any]:
    bundle = load_bundle(bundle_folder)
    torch.set_num_threads(2)
    scores: dict[str, Any] = {}
    for source in SOURCES:
        train, val = split_videos(options.data / "splits.json", source)
        instances = _long_enough(
            load_instances(options.prepared, [source], val if split == "val" else train)
        )
        finders: dict[str, Finder] = {"refdet": BundleFinder(bundle_folder)}
        if baselines:
            name = bundle.model["backbone"]
            finders["untrained_backbone"] = UntrainedBackbone(
                name, options.data / bundle.training["weights"]
            )
            finders["match_template"] = MatchTemplate()
        scores[source] = {}
        for name, finder in finders.items():
            threshold = bundle.score_threshold if name == "refdet" else 0.5
            outcomes = run_protocol(finder, instances, Protocol(), f"{source}: {name}")
            scores[source][name] = summarise(outcomes, threshold)
            print(
                f"{source:18} {name:20} "
                + "  ".join(f"{k} {v}" for k, v in scores[source][name].items()),
                flush=True,
            )
    return scores


def _long_enough(instances: list[Instance]) -> list[Instance]:
    return [item for item in instances if len(item.present) >= _MIN_FRAMES]


if __name__ == "__main__":
    sys.exit(main())
