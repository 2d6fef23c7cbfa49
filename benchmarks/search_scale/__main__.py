"""Accuracy and time at every search scale.

    python -m benchmarks.search_scale --data DATA --output DIR

DATA holds data sets as refdet-train prepare reads them. Frames and references are those of the
detection protocol; each frame is shown to the network once at every scale, for its object and for
some of other places, and kept in DIR. From that come the numbers of every scale for all objects,
of the automatic scale with and without known size, and of the object's size in the network. Writes
``search_scale.md`` and ``search_scale.png``.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.search_scale.looks import open_detector, record
from benchmarks.search_scale.objects import load_objects
from benchmarks.search_scale.plot import write_plot
from benchmarks.search_scale.policies import all_policies
from benchmarks.search_scale.results import Looks
from benchmarks.search_scale.table import to_markdown
from benchmarks.search_scale.times import ms_per_megapixel
from refdet_core.bundle import load_bundle
from refdet_core.errors import RefdetError
from refdet_training.evaluation.detection_protocol import DetectionProtocol, long_enough

NAME = "search_scale"


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, write the table and the plot; returns the exit code."""
    options = _parser().parse_args(arguments)
    try:
        _measure(options)
    except RefdetError as error:
        print(f"search_scale: {error}", file=sys.stderr)
        return 2
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.search_scale",
        description="Accuracy and time at every search scale.",
    )
    parser.add_argument("--data", type=Path, required=True, help="folder of data sets")
    parser.add_argument("--source", nargs="+", default=["aerial_sequences"], metavar="NAME")
    parser.add_argument("--bundle", type=Path, metavar="DIR", help="(default: the released one)")
    parser.add_argument("--frames", type=int, default=5, help="later ones an object (%(default)s)")
    parser.add_argument(
        "--absent", type=int, default=3, help="absent objects looked for in each (%(default)s)"
    )
    parser.add_argument(
        "--leave-out", nargs="+", default=[], metavar="VIDEO", help="videos that are not used"
    )
    parser.add_argument("--output", type=Path, required=True, metavar="DIR")
    return parser


def _measure(options: argparse.Namespace) -> None:
    bundle = load_bundle(options.bundle)
    protocol = DetectionProtocol(frames=options.frames, absent=options.absent)
    options.output.mkdir(parents=True, exist_ok=True)
    results, sizes = [], {}
    for source in options.source:
        found = load_objects(options.data, [source], options.leave_out)
        instances, _ = long_enough(found, protocol)
        with open_detector(bundle, instances, protocol) as detector:
            looks = record(detector, instances, protocol, options.output / f"{source}.jsonl")
            times = ms_per_megapixel(detector, instances, options.output / f"{source}.times.json")
        shown = Looks(looks, instances, protocol)
        sizes[source] = shown.recall_by_network_size()
        for policy in all_policies(bundle.best_object_px):
            results.append(shown.result(policy, bundle.score_threshold, times))
    table = to_markdown(results)
    (options.output / f"{NAME}.md").write_text(table, encoding="utf-8")
    write_plot(results, sizes, bundle.best_object_px, options.output / f"{NAME}.png")
    print(table)


if __name__ == "__main__":
    sys.exit(main())
