"""Compares refdet with common trackers: tracking, removed and returning targets, look-alikes,
speed.

    python -m benchmarks.trackers --data ../shared/data [--split val] [--only NAME ...]
        [--scenarios tracking removed back speed] [--output runs/trackers]

Every sequence is contiguous video with all its frames. The table of goals and numbers goes to the
console; results.json, table.md, frames.csv (every answer) and PNG plots go into the output folder.
``refdet auto`` is given reference photos only; all others are given the true box of the first
frame. TrackerCSRT needs OpenCV's contrib modules; without them its line says so.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
from collections.abc import Callable
from pathlib import Path

import cv2

from benchmarks.tracking import peers
from benchmarks.tracking.footage import SCENES, Choice, load_footage, named
from benchmarks.tracking.methods import TrackingMethod
from benchmarks.tracking.numbers import LOOK_ALIKES
from benchmarks.tracking.plots import write_plots
from benchmarks.tracking.refdet import RefdetAuto, RefdetTrack, published, refdet_tiles
from benchmarks.tracking.report import Results, as_markdown, write_results
from benchmarks.tracking.runs import run_all
from benchmarks.tracking.sequences import SCENARIOS, ScenarioSettings, build_sequences
from benchmarks.tracking.speed import Times, measure_speed, speed_sequences
from refdet_core.errors import RefdetError
from refdet_core.tracking_bundles import AUTO
from refdet_training.evaluation.overrides import detector_config

SPEED = "speed"
METHODS: dict[str, Callable[[argparse.Namespace], TrackingMethod]] = {
    "track": lambda o: RefdetTrack(o.bundle, detector_config(o.config), o.tracking_bundle),
    "auto": lambda o: RefdetAuto(o.bundle, detector_config(o.config), o.tracking_bundle),
    "lighttrack": lambda o: published("lighttrack"),
    "fear": lambda o: published("fear"),
    "lighttrack+fear": lambda o: published("lighttrack+fear"),
    "tiles": lambda o: refdet_tiles(o.bundle, detector_config(o.config)),
    "nano": lambda o: peers.nano(o.weights or o.data / "weights"),
    "csrt": lambda o: peers.csrt(),
    "mil": lambda o: peers.mil(),
    "match-template": lambda o: peers.match_template(),
}


def measure(options: argparse.Namespace) -> Results:
    """Run the requested measurements.

    Raises:
        RefdetError: there is no data, or no method is left.
    """
    cv2.setNumThreads(options.threads)
    choice = Choice(
        options.data, tuple(options.sources), options.split, options.frames, options.scenes
    )
    pool, skipped = load_footage(choice)
    footages = named(pool, options.videos)
    methods, unavailable = _methods(options)
    settings = ScenarioSettings()
    try:
        sequences = build_sequences(footages, pool, options.scenarios, settings)
        runs, refused = run_all(methods, sequences)
        speed: dict[str, dict[str, Times]] = {}
        if SPEED in options.scenarios:
            speed = measure_speed(methods, speed_sequences(footages, pool))
    finally:
        for one in methods:
            one.close()
    given = {one.name: one.given for one in methods}
    return Results(
        _setup(options),
        settings,
        options.look_alikes,
        given,
        unavailable,
        runs,
        speed,
        [*skipped, *refused],
    )


def _methods(options: argparse.Namespace) -> tuple[list[TrackingMethod], dict[str, str]]:
    """The methods that can be measured here, and why the others cannot."""
    found: list[TrackingMethod] = []
    unavailable: dict[str, str] = {}
    for key in dict.fromkeys(options.only or METHODS):
        try:
            found.append(METHODS[key](options))
        except RefdetError as error:
            unavailable[key] = str(error)
            print(f"{key} is left out: {error}", file=sys.stderr)
    if not found:
        raise RefdetError("None of the trackers can be measured here.")
    return found, unavailable


def _setup(options: argparse.Namespace) -> dict[str, object]:
    return {
        "split": options.split,
        "sources": options.sources,
        "videos": options.videos,
        "frames": options.frames,
        "config": options.config,
        "bundle": str(options.bundle) if options.bundle else "released",
        "tracking_bundle": options.tracking_bundle,
        "opencv": cv2.__version__,
        "opencv_threads": options.threads,
        "cpus": len(os.sched_getaffinity(0)),
        "load_average": round(os.getloadavg()[0], 1),
        "machine": platform.machine(),
    }


def arguments() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.trackers",
        description="Compare refdet with OpenCV's trackers on contiguous video.",
    )
    parser.add_argument(
        "--data", type=Path, required=True, help="folder of the data sets and splits.json"
    )
    parser.add_argument(
        "--sources", nargs="+", default=["aerial_sequences", "airborne_targets"], metavar="NAME"
    )
    parser.add_argument("--split", default="val", help="of splits.json (%(default)s)")
    parser.add_argument("--videos", nargs="+", default=[], metavar="ID", help="only these")
    parser.add_argument(
        "--frames", type=int, default=0, metavar="N", help="first N of a sequence (0: all)"
    )
    parser.add_argument(
        "--only", nargs="+", default=[], choices=list(METHODS), metavar="NAME",
        help="of " + ", ".join(METHODS),
    )  # fmt: skip
    parser.add_argument(
        "--scenarios", nargs="+", default=[*SCENARIOS, SPEED], choices=[*SCENARIOS, SPEED]
    )
    parser.add_argument(
        "--look-alikes", nargs="+", default=list(LOOK_ALIKES), metavar="ID",
        help="videos in which identity switches are counted (%(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--scenes", default=SCENES, metavar="PATTERN",
        help="regular expression: two videos in whose names it finds the same may show the same "
        "object, and never stand for its absence",
    )  # fmt: skip
    parser.add_argument("--bundle", type=Path, help="the model (the released one)")
    parser.add_argument(
        "--tracking-bundle", default=AUTO, help="what follows in the window (%(default)s)"
    )
    parser.add_argument(
        "--config", nargs="+", default=[], metavar="KEY=VALUE", help="settings of the detector"
    )
    parser.add_argument("--weights", type=Path, help="of NanoTrack (DATA/weights)")
    parser.add_argument("--threads", type=int, default=2, help="of OpenCV (%(default)s)")
    parser.add_argument(
        "--output", type=Path, default=Path("runs/trackers"), help="folder (%(default)s)"
    )
    return parser


def main() -> None:
    """Measure, print, write."""
    options = arguments().parse_args()
    try:
        results = measure(options)
        write_results(results, options.output)
        write_plots(results.runs, options.output)
    except RefdetError as error:
        raise SystemExit(f"error: {error}") from error
    print(as_markdown(results))
    print(f"results.json, table.md, frames.csv and plots are in {options.output}")


if __name__ == "__main__":
    main()
