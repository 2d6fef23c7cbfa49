"""Trees of one city found with a network that learned in another one.

    python -m benchmarks.satellite --data ../shared/data/sat4_rgbnir_trees \
        --weights ../shared/data/weights --output runs/satellite [--epochs 4]

Trains the recipe on Riverside, unless ``OUTPUT/bundle`` is there already, exports it beside its
untrained self, and searches Santa Monica: five draws of five exemplars each from two of its places,
all windows of the other places ranked. A window finds a tree if its centre is within 6 m.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.satellite.evaluation_speed import evaluation_speed
from benchmarks.satellite.precision import average_precision
from benchmarks.satellite.systems import Found, by_network, by_pixels
from refdet_core.bundle import Bundle, load_bundle
from refdet_core.errors import RefdetError
from refdet_core.satellite.exemplars import Exemplar, read_exemplars
from refdet_training.callbacks import BEST, LAST
from refdet_training.chips.chip_set import chosen_images
from refdet_training.chips.labels import Label, read_labels
from refdet_training.commands.export import export
from refdet_training.lightning_cli import fit

RECIPE = "satellite_triplet_resnet18"
WEIGHTS = "resnet18_imagenet_to_layer3_fp16.safetensors"
TRAIN, TUNE = "[riverside_*]", "[riverside_*_0, riverside_*_27, riverside_*_39, riverside_*_48]"
OTHER_CITY, EXEMPLAR_PLACES = "santa_monica_*", ("santa_monica_*_0", "santa_monica_*_5")
POINT_PX = 16.0
REACH_PX = 10.0  # 6 m at 0.6 m a pixel
DRAWS, EXEMPLARS = 5, 5


@dataclass(frozen=True)
class Row:
    """A system's mean and standard deviation over the draws."""

    name: str
    precision: tuple[float, float]
    f1: tuple[float, float]


def train(options: argparse.Namespace, name: str, settings: Sequence[str], which: str) -> Path:
    """A bundle of the recipe in ``OUTPUT/name``, trained unless it is there."""
    folder = Path(options.output / name)
    if folder.is_dir():
        return folder
    run = options.output / f"{name}_run"
    fit(
        [
            *("--config", f"refdet_training/recipes/{options.recipe}.yaml"),
            *("--data.data_dir", str(options.data), "--data.train", TRAIN, "--data.tune", TUNE),
            *("--data.chips.point_size", str(POINT_PX), "--data.chips.backgrounds", "40"),
            *("--model.backbone_weights", _weights(options.weights)),
            *("--trainer.default_root_dir", str(run), "--trainer.accelerator", "auto"),
            *("--trainer.enable_progress_bar", "false", "--trainer.accumulate_grad_batches", "4"),
            *settings,
        ]
    )
    export(run / which, folder, f"{options.recipe}-{name}", "0.0.0")
    return folder


def draw_exemplars(
    images: Sequence[Path], bundle: Bundle, draws: int = DRAWS
) -> list[list[Exemplar]]:
    """For each draw trees that stand inside their images."""
    generator = np.random.default_rng(0)
    known = [
        (path, label) for path in images for label in read_labels(path, POINT_PX) if _inside(label)
    ]
    chosen: list[list[Exemplar]] = []
    for _ in range(draws):
        texts = []
        for index in generator.choice(len(known), EXEMPLARS, replace=False):
            path, label = known[index]
            x1, y1, x2, y2 = label.box_xyxy
            texts.append(f"{path}:{x1},{y1},{x2 - x1},{y2 - y1}")
        chosen.append(read_exemplars(texts, "tree", bundle))
    return chosen


def measure(options: argparse.Namespace) -> str:
    """Train, search, and describe the results as Markdown.

    Raises:
        RefdetError: the data or the weights cannot be used.
    """
    started = time.perf_counter()
    trained = train(
        options, "bundle", ["--trainer.max_epochs", str(options.epochs)], f"{BEST}.ckpt"
    )
    minutes = (time.perf_counter() - started) / 60
    still = ["--model.lr", "0", "--trainer.max_steps", "1", "--trainer.max_epochs", "-1"]
    untrained = train(options, "untrained", still, LAST)
    bundle = load_bundle(trained)
    city = chosen_images(options.data, [OTHER_CITY], EXEMPLAR_PLACES)
    shown = chosen_images(options.data, EXEMPLAR_PLACES, ())
    draws = draw_exemplars(shown, bundle)
    points = {path.stem: _points(path) for path in city}
    stride = round(bundle.stride)
    rows = [
        _row("raw pixels", by_pixels(draws, city, bundle.bands, stride), points),
        _row("untrained network", by_network(untrained, draws, city), points),
        _row("trained network", by_network(trained, draws, city), points),
    ]
    trees = sum(len(own) for own in points.values())
    lines = [
        f"{len(city)} images, {trees} trees, {DRAWS} draws of {EXEMPLARS} exemplars",
        "",
        "| ranked by | average precision | best F1 |",
        "|---|---|---|",
        *(
            f"| {row.name} | {row.precision[0]:.3f} ± {row.precision[1]:.3f} | "
            f"{row.f1[0]:.3f} ± {row.f1[1]:.3f} |"
            for row in rows
        ),
        "",
        f"{bundle.training.get('steps')} steps"
        + (f", {minutes:.1f} min" if minutes > 0.05 else "")
        + f"; calibration {bundle.calibration}",
    ]
    speed = evaluation_speed(trained)
    if speed is not None:
        lines.append(
            f"{speed.windows} windows: one by one {speed.chips_ms:.0f} ms, dense "
            f"{speed.dense_ms:.0f} ms ({speed.chips_ms / speed.dense_ms:.1f} times as fast), "
            f"largest difference {speed.difference:.1g}"
        )
    lines.append(f"load average {os.getloadavg()[0]:.1f}, 1 thread")
    return "\n".join(lines)


def _row(name: str, found: Found, points: dict[str, np.ndarray]) -> Row:
    numbers = np.array([average_precision(own, points, REACH_PX) for own in found])
    mean, deviation = numbers.mean(axis=0), numbers.std(axis=0)
    row = Row(name, (mean[0], deviation[0]), (mean[1], deviation[1]))
    print(f"{name}: average precision {mean[0]:.3f}", flush=True)
    return row


def _points(path: Path) -> np.ndarray:
    labels = [label.box_xyxy for label in read_labels(path, POINT_PX)]
    boxes = np.array(labels, float).reshape(-1, 4)
    return (boxes[:, :2] + boxes[:, 2:]) / 2


def _inside(label: Label) -> bool:
    x1, y1, x2, y2 = label.box_xyxy
    return min(x1, y1) >= 0 and max(x2, y2) <= 256


def _weights(folder: Path | None) -> str:
    return str(folder / WEIGHTS) if folder is not None else "hub"


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.satellite", description="Trees found by exemplars."
    )
    parser.add_argument("--data", type=Path, required=True, help="folder of the labelled images")
    parser.add_argument("--weights", type=Path, help="folder of backbone weights (default: hub)")
    parser.add_argument("--output", type=Path, default=Path("runs/satellite"))
    parser.add_argument("--recipe", default=RECIPE, help="(%(default)s)")
    parser.add_argument("--epochs", type=int, default=4, help="at most (%(default)s)")
    options = parser.parse_args()
    try:
        text = measure(options)
    except RefdetError as error:
        raise SystemExit(f"error: {error}") from error
    print(f"\n{text}")
    options.output.mkdir(parents=True, exist_ok=True)
    (options.output / "table.md").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
