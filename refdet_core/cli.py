"""The ``refdet`` command.

refdet detect --frames VIDEO_OR_FOLDER --template PHOTO --roi X,Y,W,H --output DIR
refdet live SOURCE
refdet search-images --images DIR_OR_TIF --exemplar CHIP --class NAME --bundle DIR --output DIR
refdet engine build
refdet doctor
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import Optional, Sequence

import cv2
import numpy as np
from tqdm import tqdm

from refdet_core.backends.engines.command import add_engine_arguments, engine
from refdet_core.command_line import join_negative_values, run_command
from refdet_core.contrast import Contrast, add_contrast_argument
from refdet_core.detector import Detector
from refdet_core.detector_arguments import (
    add_detector_arguments,
    add_search_argument,
    open_detector,
)
from refdet_core.detector_config import DetectorConfig
from refdet_core.doctor.command import DESCRIPTION, add_doctor_arguments, doctor
from refdet_core.drawing import draw_detections
from refdet_core.errors import ConfigError
from refdet_core.heatmap import overlay
from refdet_core.live.command import add_live_arguments, live
from refdet_core.photo_arguments import add_photo_arguments, read_references
from refdet_core.recording import DETECTIONS_FILE, VIDEO_FILE, Recording, frame_stem
from refdet_core.roi import parse_roi
from refdet_core.satellite.command import DESCRIPTION as IMAGES
from refdet_core.satellite.command import add_search_images_arguments, search_images
from refdet_core.search_bundle import AUTO
from refdet_core.sources import FrameSource, open_source
from refdet_core.start_tracking import start_tracking
from refdet_core.types import FrameResult
from refdet_core.video import FrameName

HEATMAP_FOLDER = "heatmaps"


def make_parser() -> argparse.ArgumentParser:
    """The command's arguments."""
    parser = argparse.ArgumentParser(
        prog="refdet", description="Find the object in reference photos."
    )
    commands = parser.add_subparsers(dest="command", required=True)
    detect_parser = commands.add_parser(
        "detect",
        help="search a video or a folder of images",
        description="Search every frame for the object in the reference photos and write "
        f"{DETECTIONS_FILE} to the output folder.",
    )
    _add_detect_arguments(detect_parser)
    live_parser = commands.add_parser(
        "live",
        help="follow an object in a camera, stream or video on the screen",
        description="Show a camera, stream or video, and follow the object that you draw a box "
        "around or give photos of.",
    )
    add_live_arguments(live_parser)
    for command, run in ((detect_parser, detect), (live_parser, live)):
        # A camera does not wait; a file does.
        add_detector_arguments(command, bundle=AUTO if command is live_parser else None)
        command.set_defaults(run=run)
    images_parser = commands.add_parser(
        "search-images", help="search satellite images with a few exemplars", description=IMAGES
    )
    add_search_images_arguments(images_parser)
    images_parser.set_defaults(run=search_images)
    engine_parser = commands.add_parser("engine", help="build TensorRT engines in advance")
    add_engine_arguments(engine_parser)
    engine_parser.set_defaults(run=engine)
    doctor_parser = commands.add_parser(
        "doctor", help="what this machine has, and what is wrong", description=DESCRIPTION
    )
    add_doctor_arguments(doctor_parser)
    doctor_parser.set_defaults(run=doctor)
    return parser


def _add_detect_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--frames",
        type=Path,
        required=True,
        metavar="VIDEO_OR_FOLDER",
        help="the frames to search: a video, or a folder of images in the order of their names",
    )
    add_photo_arguments(parser)
    add_contrast_argument(parser)
    parser.add_argument(
        "--output", type=Path, required=True, metavar="DIR", help="created if missing"
    )
    add_search_argument(parser, otherwise=f"{DetectorConfig.search}; with --init track")
    parser.add_argument(
        "--init",
        metavar="X,Y,W,H",
        help="the object's box in the first frame, to track it from there (search track or "
        "auto); without --template it is also the reference",
    )
    parser.add_argument(
        "--score-threshold",
        type=float,
        metavar="P",
        help="minimum probability of a detection in the whole frame; tracking in auto uses other "
        "thresholds, see docs/tracking.md (default: the bundle's)",
    )
    parser.add_argument("--video", action="store_true", help=f"also write {VIDEO_FILE}")
    parser.add_argument(
        "--heatmaps", action="store_true", help="also write a heatmap picture per frame"
    )


def main(arguments: Optional[Sequence[str]] = None) -> int:
    """Run the command; returns the exit code (2: the input cannot be used)."""
    given = sys.argv[1:] if arguments is None else arguments
    options = make_parser().parse_args(join_negative_values(given))
    return run_command("refdet", lambda: options.run(options), error_code=2)


def detect(options: argparse.Namespace) -> int:
    """``refdet detect``: checks all arguments before it writes anything."""
    if not options.photos and options.init is None:
        raise ConfigError(
            "There is nothing to look for: give --template PHOTO, or --init X,Y,W,H, the object's "
            "box in the first frame."
        )
    box_xyxy = None if options.init is None else parse_roi(options.init)
    config = _config(options)
    contrast = Contrast(options.contrast)
    source = open_source(options.frames, contrast)
    # After the frames: photos of the same camera take their range of values.
    references = read_references(options.photos, options.same_camera, contrast)
    with open_detector(options, config) as detector:
        if box_xyxy is None:
            detector.set_template(references)
        else:
            start_tracking(detector, next(iter(source)).bgr, box_xyxy, references)
        with Recording.in_folder(options.output, options.video, source.fps) as recording:
            try:
                _search_all(detector, source, recording, options)
            except KeyboardInterrupt:
                print(
                    f"refdet: stopped; what was found so far is in {options.output}",
                    file=sys.stderr,
                )
                return 130
        print(recording.summary(detector.backend.info))
        print(f"written to   {options.output}")
    return 0


def _config(options: argparse.Namespace) -> DetectorConfig:
    search = options.search or (DetectorConfig.search if options.init is None else "track")
    if options.score_threshold is None:
        return DetectorConfig(search=search)
    if not 0 <= options.score_threshold <= 1:
        raise ConfigError(
            f"--score-threshold must be between 0 and 1, got {options.score_threshold}."
        )
    return DetectorConfig(search=search, score_threshold=options.score_threshold)


def _search_all(
    detector: Detector, source: FrameSource, recording: Recording, options: argparse.Namespace
) -> None:
    read_since = time.perf_counter()
    frames = tqdm(source, total=len(source), unit="frame", desc="refdet")
    for frame in frames:
        read_ms = (time.perf_counter() - read_since) * 1e3
        result = detector.detect(frame.bgr, heatmaps=options.heatmaps, time_s=frame.time_s)
        recording.write(frame.name, frame.bgr, result, frame.time_s, read=read_ms)
        if result.heatmaps:
            _write_heatmap(options.output / HEATMAP_FOLDER, frame.name, frame.bgr, result)
        read_since = time.perf_counter()


def _write_heatmap(
    folder: Path, name: FrameName, frame_bgr: np.ndarray, result: FrameResult
) -> None:
    folder.mkdir(exist_ok=True)
    combined = np.maximum.reduce(list(result.heatmaps.values()))
    picture = draw_detections(overlay(frame_bgr, combined), result.detections)
    cv2.imwrite(str(folder / f"{frame_stem(name)}.png"), picture)


if __name__ == "__main__":
    sys.exit(main())
