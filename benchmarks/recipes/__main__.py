"""All systems beside each other on videos of places not trained on: followed from the first box,
and found in single frames.

    python -m benchmarks.recipes --data PREPARED --runs runs/recipes [--split fold3]
        [--source aerial_sequences] [--frames 60] [--single 10] [--output runs/recipes/table.md]

``--runs`` holds a folder for each recipe with the bundles ``bundle`` (trained) and ``untrained``
(the same network as it began), as ``make recipes`` writes them. Other bundles, the released one
for instance, are named by ``--bundle NAME=FOLDER``.
"""

from __future__ import annotations

import argparse
import os
from dataclasses import dataclass
from pathlib import Path

from benchmarks.recipes.cost import Cost, window_cost
from benchmarks.recipes.found import found_share
from benchmarks.recipes.tracked import RECALL_IOU, Accuracy, accuracy
from benchmarks.recipes.train import FOLD, TRAINED, UNTRAINED
from refdet_core.bundle import DEFAULT_BUNDLE, load_bundle
from refdet_core.errors import RefdetError
from refdet_training.datasets.index import load_instances
from refdet_training.datasets.splits import fold_split
from refdet_training.evaluation.overrides import detector_config


@dataclass(frozen=True)
class Row:
    """One system; ``before`` is its untrained network, where there is one, ``found`` a share of
    single frames."""

    name: str
    steps: int | None
    cost: Cost
    trained: Accuracy | None
    before: Accuracy | None
    found: float | None
    found_before: float | None


def measure(options: argparse.Namespace) -> list[Row]:
    """A row for every bundle found or named.

    Raises:
        RefdetError: the data or a bundle cannot be used, or there is none.
    """
    instances = load_instances(options.data, options.split, options.source)
    config = detector_config(options.config)
    rows: list[Row] = []
    for name, folder, untrained in _bundles(options):
        bundle = load_bundle(folder)
        kinds = ((folder, "trained"), (untrained, "untrained"))
        numbers = [
            accuracy(path, instances, options.frames, config, f"{name} {kind}") if path else None
            for path, kind in kinds
        ]
        shares = [
            found_share(path, instances, options.single, config, f"{name} {kind}")
            if path and options.single
            else None
            for path, kind in kinds
        ]
        cost = window_cost(bundle, options.rounds, options.threads)
        rows.append(Row(name, bundle.training.get("steps"), cost, *numbers, *shares))
        print(as_markdown([rows[-1]]).splitlines()[-1], flush=True)
    return rows


def as_markdown(rows: list[Row]) -> str:
    """The table."""
    lines = [
        "| system | steps | parameters, M | GFLOP a frame | ms a frame | success AUC | "
        f"precision 20 px | recall IoU {RECALL_IOU:g} | found in single frames | "
        "untrained: AUC | recall | found |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        cost = row.cost
        cells = [
            row.name,
            "" if row.steps is None else str(row.steps),
            f"{cost.parameters / 1e6:.2f}",
            f"{cost.gflop:.2f}",
            f"{cost.ms:.0f}",
            *_numbers(row.trained, ("success_auc", "precision_20px", "recall")),
            _share(row.found),
            *_numbers(row.before, ("success_auc", "recall")),
            _share(row.found_before),
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _numbers(found: Accuracy | None, names: tuple[str, ...]) -> list[str]:
    return [_share(None if found is None else getattr(found, name)) for name in names]


def _share(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


def _bundles(options: argparse.Namespace) -> list[tuple[str, Path, Path | None]]:
    found: list[tuple[str, Path, Path | None]] = []
    if options.runs is not None:
        for folder in sorted(path for path in options.runs.glob("*") if path.is_dir()):
            untrained = folder / UNTRAINED
            if (folder / TRAINED).is_dir():
                found.append(
                    (folder.name, folder / TRAINED, untrained if untrained.is_dir() else None)
                )
            elif untrained.is_dir():
                found.append((f"{folder.name}, untrained", untrained, None))
    for text in options.bundle:
        name, separator, path = text.partition("=")
        if not separator:
            raise RefdetError(f"Give bundles as NAME=FOLDER, got '{text}'.")
        found.append((name, DEFAULT_BUNDLE if path == "default" else Path(path), None))
    if not found:
        raise RefdetError("No bundle to measure: give --runs or --bundle NAME=FOLDER.")
    return found


def arguments() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.recipes",
        description="All systems beside each other, followed from the first box and found.",
    )
    parser.add_argument("--data", type=Path, required=True, help="folder of prepared data sets")
    parser.add_argument("--runs", type=Path, help="folder with a folder for each recipe")
    parser.add_argument(
        "--bundle", nargs="+", default=[], metavar="NAME=FOLDER", help="more; FOLDER may be default"
    )
    parser.add_argument("--source", nargs="+", default=["aerial_sequences"], metavar="NAME")
    parser.add_argument(
        "--split", default=fold_split(FOLD), help="videos of other places (%(default)s)"
    )
    parser.add_argument(
        "--frames", type=int, default=60, help="first N of each sequence, 0: all (%(default)s)"
    )
    parser.add_argument(
        "--single",
        type=int,
        default=0,
        help="N later frames of each sequence are also searched whole (%(default)s)",
    )
    parser.add_argument(
        "--config", nargs="+", default=[], metavar="KEY=VALUE", help="settings of the detector"
    )
    parser.add_argument("--rounds", type=int, default=5, help="timed runs (%(default)s)")
    parser.add_argument("--threads", type=int, default=1, help="of ONNX Runtime (%(default)s)")
    parser.add_argument("--output", type=Path, help="file for the table")
    return parser


def main() -> None:
    """Measure, print, write."""
    options = arguments().parse_args()
    try:
        table = as_markdown(measure(options))
    except RefdetError as error:
        raise SystemExit(f"error: {error}") from error
    print(f"\nload average {os.getloadavg()[0]:.1f}, {options.threads} thread(s)\n\n{table}")
    if options.output is not None:
        options.output.parent.mkdir(parents=True, exist_ok=True)
        options.output.write_text(table + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
