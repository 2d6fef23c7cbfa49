"""Trains recipes for a given number of steps each, and exports them, untrained ones beside them.

    python -m benchmarks.recipes.train --data PREPARED --steps 300 --output runs/recipes
        [--weights ../shared/data/weights] [--only siamfc ...] [--set --KEY VALUE ...]

In ``OUTPUT/RECIPE`` it leaves the bundles ``bundle`` and ``untrained`` (one step at learning rate
0). A run that was interrupted goes on; one that is finished is not touched. Backbones whose weights
are not at hand begin with random ones and learn.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from refdet_core.errors import RefdetError
from refdet_training.callbacks import LAST
from refdet_training.commands.export import export
from refdet_training.datasets.index import load_splits, prepared_sources
from refdet_training.datasets.splits import fold_split, is_fold
from refdet_training.lightning_cli import fit

RECIPES_FOLDER = Path("refdet_training/recipes")
RECIPES = (
    "siamfc",
    "siamrpn_alex",
    "siamrpnpp_mobilenetv2",
    "siamrpnpp_r50",
    "crossattention_mobilenetv3",
    "dinov3_crossattention",
)
FOLD = 3
TRAINED, UNTRAINED = "bundle", "untrained"
_WEIGHTS = {
    "crossattention_mobilenetv3": "tf_mobilenetv3_large_075_coco_blocks0-5_fp16.safetensors",
    "siamrpnpp_mobilenetv2": "mobilenetv2_100.pth",
}


def train(recipe: str, options: argparse.Namespace) -> Path:
    """Train and export one recipe; returns its folder."""
    folder: Path = options.output / recipe
    untrained, trained = folder / UNTRAINED, folder / TRAINED
    common = [*_common(options), *_backbone(recipe, options.weights), *options.set]
    if not untrained.is_dir():
        start = ["--model.lr", "0", "--trainer.max_steps", "1", "--data.batch_size", "2"]
        _fit(recipe, folder / "start", [*common, *start])
        _export(folder / "start", untrained, f"{recipe}-untrained")
    if not trained.is_dir():
        steps = ["--trainer.max_steps", str(options.steps)]
        steps += ["--model.warmup_steps", str(options.steps // 10)]
        _fit(recipe, folder / "run", [*common, *steps, "--data.batch_size", str(options.batch)])
        _export(folder / "run", trained, recipe)
    return folder


def _common(options: argparse.Namespace) -> list[str]:
    texts = [
        *("--data.data_dir", str(options.data)),
        *("--trainer.max_epochs", "-1"),
        *("--trainer.accelerator", options.accelerator),
        *("--trainer.enable_model_summary", "false"),
        *("--trainer.log_every_n_steps", "10"),
        *("--data.workers", str(options.workers)),
        *("--data.pairs_per_epoch", str(max(64, options.steps * options.batch))),
        *("--data.tune_pairs", str(options.tune_pairs)),
        *_splits(options.data, options.fold),
        *("--last.every_n_steps", "20"),
    ]
    if options.shares:
        texts += ["--data.shares", options.shares]
    return texts


def _splits(data: Path, fold: int) -> list[str]:
    """All videos but the fold's, where the data has folds of places."""
    names = [name for source in prepared_sources(data) for name in load_splits(data / source)]
    others = sorted({name for name in names if is_fold(name)} - {fold_split(fold)})
    if not others:
        return []
    splits = ["--data.train_splits", json.dumps(["train", *others])]
    return [*splits, "--data.tune_split", fold_split(fold)]


def _backbone(recipe: str, weights: Path | None) -> list[str]:
    """Which weights it begins with: a file that is there, else random ones, which learn."""
    name = _WEIGHTS.get(recipe)
    if weights is not None and name is not None and (weights / name).is_file():
        kept = ["--model.backbone_weights", str(weights / name)]
        return [*kept, "--model.backbone_frozen_steps", "0"] if "mobilenetv2" in recipe else kept
    return [
        *("--model.backbone_weights", "none"),
        *("--model.frozen_blocks", "0"),
        *("--model.backbone_frozen_steps", "0"),
        *("--model.backbone_lr_share", "1.0"),
        *("--model.learn_backbone_statistics", "true"),
    ]


def _fit(recipe: str, folder: Path, settings: list[str]) -> None:
    resume = ["--ckpt_path", "last"] if (folder / LAST).is_file() else []
    places = ["--config", str(RECIPES_FOLDER / f"{recipe}.yaml")]
    fit([*places, "--trainer.default_root_dir", str(folder), *settings, *resume])


def _export(run: Path, output: Path, name: str) -> None:
    bundle = export(run / LAST, output, name, "0.0.0")
    print(f"{output}: {bundle.training['steps']} steps", flush=True)


def arguments() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.recipes.train", description="Train and export recipes."
    )
    parser.add_argument("--data", type=Path, required=True, help="folder of prepared data sets")
    parser.add_argument("--output", type=Path, default=Path("runs/recipes"))
    parser.add_argument("--steps", type=int, default=300, help="(%(default)s)")
    parser.add_argument("--batch", type=int, default=8, help="(%(default)s)")
    parser.add_argument(
        "--fold", type=int, default=FOLD, help="of places, not trained on (%(default)s)"
    )
    parser.add_argument("--weights", type=Path, help="folder of backbone weights")
    parser.add_argument("--only", nargs="+", default=RECIPES, choices=RECIPES, metavar="RECIPE")
    parser.add_argument("--shares", help="of the prepared data sets, as data.shares")
    parser.add_argument("--tune-pairs", type=int, default=32)
    parser.add_argument("--workers", type=int, default=0)
    parser.add_argument("--accelerator", default="auto")
    parser.add_argument(
        "--set",
        nargs=argparse.REMAINDER,
        default=[],
        metavar="--KEY VALUE",
        help="settings of refdet-train fit; comes last",
    )
    return parser


def main() -> None:
    """Train one after the other."""
    options = arguments().parse_args()
    try:
        for recipe in options.only:
            train(recipe, options)
    except RefdetError as error:
        raise SystemExit(f"error: {error}") from error


if __name__ == "__main__":
    main()
