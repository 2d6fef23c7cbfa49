"""Accuracy and time at every search scale.

    python -m benchmarks.search_scale --data DATA --output DIR

DATA holds data sets as refdet-train prepare reads them. The detection protocol is run at forced
scales and with the automatic one; it knows the object's size in the references, or not. Writes
``search_scale.md``, ``search_scale.json`` and ``search_scale.png``; what was measured before in
DIR is not measured again.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from benchmarks.search_scale.measure import Result, measure
from benchmarks.search_scale.objects import load_objects
from benchmarks.search_scale.plot import write_plot
from benchmarks.search_scale.settings import all_settings
from benchmarks.search_scale.table import to_markdown
from refdet_core.bundle import load_bundle
from refdet_core.errors import RefdetError
from refdet_training.evaluation.detection_protocol import DetectionProtocol, long_enough
from refdet_training.evaluation.overrides import detector_config

NAME = "search_scale"


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, write the table and the plot; returns the exit code."""
    options = _parser().parse_args(arguments)
    try:
        results = _measure_all(options)
    except RefdetError as error:
        print(f"search_scale: {error}", file=sys.stderr)
        return 2
    table = to_markdown(results)
    (options.output / f"{NAME}.md").write_text(table, encoding="utf-8")
    write_plot(results, options.output / f"{NAME}.png")
    print(table)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.search_scale",
        description="Accuracy and time at every search scale.",
    )
    parser.add_argument("--data", type=Path, required=True, help="folder of data sets")
    parser.add_argument("--source", nargs="+", default=["aerial_sequences"], metavar="NAME")
    parser.add_argument("--bundle", type=Path, metavar="DIR", help="(default: the released one)")
    parser.add_argument(
        "--frames", type=int, default=8, help="later frames an object (%(default)s)"
    )
    parser.add_argument("--absent", type=int, default=6, help="frames without it (%(default)s)")
    parser.add_argument(
        "--max-object-px",
        type=float,
        default=0.0,
        metavar="PX",
        help="leave out objects whose median size is larger (0: none)",
    )
    parser.add_argument("--config", nargs="+", default=[], metavar="KEY=VALUE")
    parser.add_argument("--output", type=Path, required=True, metavar="DIR")
    return parser


def _measure_all(options: argparse.Namespace) -> list[Result]:
    bundle = load_bundle(options.bundle)
    protocol = DetectionProtocol(frames=options.frames, absent=options.absent)
    instances, _ = long_enough(
        load_objects(options.data, options.source, options.max_object_px), protocol
    )
    options.output.mkdir(parents=True, exist_ok=True)
    file = options.output / f"{NAME}.json"
    results = _read(file)
    done = {(item.source, item.setting) for item in results}
    for source in options.source:
        own = [item for item in instances if item.source == source]
        for setting in all_settings(detector_config(options.config)):
            if own and (source, setting.name) not in done:
                results.append(measure(bundle, setting, own, protocol))
                file.write_text(json.dumps([asdict(item) for item in results], indent=1))
    return results


def _read(file: Path) -> list[Result]:
    if not file.is_file():
        return []
    return [Result(**item) for item in json.loads(file.read_text(encoding="utf-8"))]


if __name__ == "__main__":
    sys.exit(main())
