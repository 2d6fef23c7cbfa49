"""Compares refdet with common trackers: tracking, removed and returning targets, look-alikes,
speed.

    python -m benchmarks.trackers --data ../shared/data [--split val] [--only NAME ...]
        [--scenarios tracking removed back speed] [--out-of-fold DIR] [--camera-rate [--slower 4]]
        [--output runs/trackers]

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
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import cv2

from benchmarks.tracking import peers
from benchmarks.tracking.footage import SCENES, Choice, Footage, load_footage, named
from benchmarks.tracking.methods import TrackingMethod
from benchmarks.tracking.numbers import LOOK_ALIKES
from benchmarks.tracking.plots import write_plots
from benchmarks.tracking.refdet import (
    IN_TIME,
    RefdetAuto,
    RefdetTrack,
    published,
    refdet_tiles,
    with_followers,
)
from benchmarks.tracking.report import Results, as_markdown, write_results
from benchmarks.tracking.runs import Run, run_all
from benchmarks.tracking.sequences import SCENARIOS, ScenarioSettings, build_sequences
from benchmarks.tracking.speed import Times, measure_speed, speed_sequences
from refdet_core.errors import RefdetError, SourceError
from refdet_core.tracking_bundles import AUTO
from refdet_training.datasets.splits import is_fold, read_splits
from refdet_training.evaluation.detection_protocol import Skipped
from refdet_training.evaluation.overrides import detector_config

SPEED = "speed"
PLACES = "places.json"
METHODS: dict[str, Callable[[argparse.Namespace], TrackingMethod]] = {
    "track": lambda o: _refdet(RefdetTrack, o),
    "auto": lambda o: _refdet(RefdetAuto, o),
    "lighttrack": lambda o: published("lighttrack"),
    "fear": lambda o: published("fear"),
    "nanotrackv3": lambda o: published("nanotrackv3"),
    "lighttrack+fear": lambda o: published("lighttrack+fear"),
    "all three": lambda o: published("lighttrack+fear+nanotrackv3"),
    "tiles": lambda o: refdet_tiles(o.bundle, detector_config(o.config)),
    "nano": lambda o: peers.nano(o.weights or o.data / "weights"),
    "csrt": lambda o: peers.csrt(),
    "mil": lambda o: peers.mil(),
    "match-template": lambda o: peers.match_template(),
}


def _refdet(
    method: type[RefdetTrack] | type[RefdetAuto], options: argparse.Namespace
) -> TrackingMethod:
    opened = method(options.bundle, detector_config(options.config), options.tracking_bundle)
    return with_followers(opened, options.followers, options.slower)


def measure(options: argparse.Namespace) -> Results:
    """Run the requested measurements.

    Raises:
        RefdetError: there is no data, or no method is left.
    """
    if options.fps is not None and options.fps <= 0:
        raise RefdetError(f"--fps must be above 0, got {options.fps:g}.")
    cv2.setNumThreads(options.threads)
    pool: list[Footage] = []
    skipped: list[Skipped] = []
    for split in dict.fromkeys(options.split):
        choice = Choice(options.data, tuple(options.sources), split, options.frames, options.scenes)
        found, left_out = load_footage(choice)
        pool += [replace(each, fps=options.fps or each.fps) for each in found]
        skipped += left_out
    settings = ScenarioSettings()
    slowness = options.slower if options.camera_rate else 0.0
    runs: list[Run] = []
    speed: dict[str, dict[str, Times]] = {}
    given: dict[str, str] = {}
    unavailable: dict[str, str] = {}
    for bundle, footages in _by_bundle(options, named(pool, options.videos)):
        methods, missing = _methods(options, bundle)
        unavailable |= missing
        given |= {one.name: one.given for one in methods}
        try:
            sequences = build_sequences(footages, pool, options.scenarios, settings)
            some, refused = run_all(methods, sequences, slowness)
            runs += some
            skipped += refused
            if SPEED in options.scenarios and not speed:
                speed = measure_speed(methods, speed_sequences(footages, pool))
        finally:
            for one in methods:
                one.close()
    return Results(
        _setup(options), settings, options.look_alikes, given, unavailable, runs, speed, skipped
    )


def _by_bundle(
    options: argparse.Namespace, footages: Sequence[Footage]
) -> list[tuple[Path | None, list[Footage]]]:
    """The footage by search network: with ``--out-of-fold`` one that has not seen its place."""
    if options.out_of_fold is None:
        return [(options.bundle, list(footages))]
    folds = read_splits(options.data / PLACES, tuple(options.sources))
    grouped: dict[Path | None, list[Footage]] = {}
    for footage in footages:
        names = [
            name for name, videos in folds.items() if is_fold(name) and footage.video_id in videos
        ]
        if not names:
            raise SourceError(f"{options.data / PLACES} has no fold with {footage.video_id}.")
        grouped.setdefault(options.out_of_fold / names[0], []).append(footage)
    return list(grouped.items())


def _methods(
    options: argparse.Namespace, bundle: Path | None
) -> tuple[list[TrackingMethod], dict[str, str]]:
    """The methods that can be measured here with this search network, and why others cannot."""
    options = argparse.Namespace(**{**vars(options), "bundle": bundle})
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
        "bundle": str(options.bundle or options.out_of_fold or "released"),
        "fps": options.fps,
        "camera_rate": options.camera_rate,
        "slower": options.slower,
        "tracking_bundle": options.tracking_bundle,
        "followers": options.followers,
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
    parser.add_argument(
        "--split", nargs="+", default=["val"], metavar="NAME", help="of splits.json (val)"
    )
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
    searching = parser.add_mutually_exclusive_group()
    searching.add_argument("--bundle", type=Path, help="the model (the released one)")
    searching.add_argument(
        "--out-of-fold", type=Path, metavar="DIR",
        help="search every video with the bundle DIR/foldN that has not seen its place; the folds "
        "are those of DATA/" + PLACES,
    )  # fmt: skip
    parser.add_argument(
        "--fps", type=float, metavar="N",
        help="take the videos as of N frames a second (what they say)",
    )  # fmt: skip
    parser.add_argument(
        "--camera-rate", action="store_true",
        help="frames come at the video's rate: those that come while a tracker is busy are lost "
        "to it, and its last box stands for them",
    )  # fmt: skip
    parser.add_argument(
        "--slower", type=float, default=1.0, metavar="K",
        help="with --camera-rate: as on a computer that takes K times as long (%(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--tracking-bundle", default=AUTO, help="what follows in the window (%(default)s)"
    )
    parser.add_argument(
        "--followers", default="", metavar="NAMES",
        help="which of the networks of --tracking-bundle follow, the others compare: names joined "
        f"by '+', or {IN_TIME}: as many as the node would take on a computer that is as slow "
        "(all)",
    )  # fmt: skip
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
