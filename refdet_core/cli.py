"""The ``refdet`` command.

refdet detect --frames VIDEO_OR_FOLDER --template PHOTO --roi X,Y,W,H --output DIR
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any, Dict, List, Optional, Sequence, Tuple

import cv2
import numpy as np
from tqdm import tqdm

from refdet_core.backends import BACKEND_NAMES
from refdet_core.detector import Detector, DetectorConfig
from refdet_core.drawing import draw_detections
from refdet_core.errors import ConfigError, RefdetError, SourceError
from refdet_core.heatmap import overlay
from refdet_core.photo_arguments import add_photo_arguments, read_references
from refdet_core.search import SEARCH_NAMES
from refdet_core.sources import FrameName, FrameSource, open_source
from refdet_core.types import FrameResult
from refdet_core.video_file import FALLBACK_FPS, VideoFile

DETECTIONS_FILE = "detections.jsonl"
VIDEO_FILE = "annotated.mp4"
HEATMAP_FOLDER = "heatmaps"


def make_parser() -> argparse.ArgumentParser:
    """The command's arguments."""
    parser = argparse.ArgumentParser(
        prog="refdet", description="Find the object in reference photos."
    )
    commands = parser.add_subparsers(dest="command", required=True)
    detect = commands.add_parser(
        "detect",
        help="search a video or a folder of images",
        description="Search every frame for the object in the reference photos and write "
        f"{DETECTIONS_FILE} to the output folder.",
    )
    detect.add_argument("--frames", type=Path, required=True, metavar="VIDEO_OR_FOLDER")
    add_photo_arguments(detect, required=True)
    detect.add_argument("--output", type=Path, required=True, metavar="DIR")
    detect.add_argument("--search", choices=SEARCH_NAMES, default=DetectorConfig.search)
    detect.add_argument(
        "--init", metavar="X,Y,W,H", help="the object's box in the first frame (search track)"
    )
    detect.add_argument(
        "--bundle", type=Path, metavar="DIR", help="model bundle (default: the released one)"
    )
    detect.add_argument("--backend", choices=BACKEND_NAMES, default="auto")
    detect.add_argument(
        "--score-threshold",
        type=float,
        metavar="P",
        help="least probability (default: the bundle's published one)",
    )
    detect.add_argument("--video", action="store_true", help=f"also write {VIDEO_FILE}")
    detect.add_argument(
        "--heatmaps", action="store_true", help="also write a heatmap picture per frame"
    )
    return parser


def main(arguments: Optional[Sequence[str]] = None) -> int:
    """Run the command; returns the exit code (2: the input cannot be used)."""
    options = make_parser().parse_args(arguments)
    try:
        return detect(options)
    except RefdetError as error:
        print(f"refdet: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(
            f"refdet: stopped; what was found so far is in {options.output}",
            file=sys.stderr,
        )
        return 130


def detect(options: argparse.Namespace) -> int:
    """``refdet detect``: all arguments are checked before anything is written."""
    if options.init is not None:
        raise ConfigError("--init is not available yet; it comes with --search track.")
    config = _config(options)
    references = read_references(options.photos)
    source = open_source(options.frames)
    with Detector.open(options.bundle, options.backend, config) as detector:
        detector.set_template(references)
        try:
            options.output.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise SourceError(f"'{options.output}' cannot be made a folder: {error}") from error
        statistics = _run(detector, source, options)
        info = detector.backend.info
        print(
            _summary(
                statistics,
                f"{info.name} {info.version} on {info.device}",
                options.output,
            )
        )
    return 0


def _config(options: argparse.Namespace) -> DetectorConfig:
    if options.score_threshold is None:
        return DetectorConfig(search=options.search)
    if not 0 <= options.score_threshold <= 1:
        raise ConfigError(
            f"--score-threshold must be within 0 and 1, got {options.score_threshold}."
        )
    return DetectorConfig(search=options.search, score_threshold=options.score_threshold)


def _run(
    detector: Detector, source: FrameSource, options: argparse.Namespace
) -> Dict[str, List[float]]:
    """Search all frames; returns per-frame values by name (detections, milliseconds by stage)."""
    statistics: Dict[str, List[float]] = {}
    read_since = time.perf_counter()
    lines = (options.output / DETECTIONS_FILE).open("w", encoding="utf-8")
    # The video file comes into being with its first frame.
    with lines, VideoFile(options.output / VIDEO_FILE, source.fps or FALLBACK_FPS) as video:
        for name, frame_bgr in tqdm(source, total=len(source), unit="frame", desc="refdet"):
            timings = {"read": (time.perf_counter() - read_since) * 1e3}
            result = detector.detect(frame_bgr, heatmaps=options.heatmaps)
            timings.update(result.timings_ms)
            lines.write(json.dumps(as_line(name, result)) + "\n")
            if options.heatmaps:
                _write_heatmap(options.output / HEATMAP_FOLDER, name, frame_bgr, result)
            if options.video:
                video.write(draw_detections(frame_bgr.copy(), result.detections))
            statistics.setdefault("detections", []).append(len(result.detections))
            for stage, milliseconds in timings.items():
                statistics.setdefault(stage, []).append(milliseconds)
            read_since = time.perf_counter()
    return statistics


def as_line(name: FrameName, result: FrameResult) -> Dict[str, Any]:
    """One line of ``detections.jsonl``: best first, boxes in original pixels."""
    return {
        "frame": name,
        "detections": [
            {
                "template_id": detection.template_id,
                "score": round(detection.score, 6),
                "bbox_xyxy": [round(value, 2) for value in detection.bbox_xyxy],
                "track_id": detection.track_id,
            }
            for detection in result.detections
        ],
    }


def _write_heatmap(
    folder: Path, name: FrameName, frame_bgr: np.ndarray, result: FrameResult
) -> None:
    folder.mkdir(exist_ok=True)
    combined = np.maximum.reduce(list(result.heatmaps.values()))
    stem = f"{name:06d}" if isinstance(name, int) else Path(name).stem
    picture = draw_detections(overlay(frame_bgr, combined), result.detections)
    cv2.imwrite(str(folder / f"{stem}.png"), picture)


def _summary(statistics: Dict[str, List[float]], backend: str, output: Path) -> str:
    detections = statistics.pop("detections", [])
    found = sum(1 for count in detections if count)
    stages: List[Tuple[str, float]] = [
        (name, float(np.median(values))) for name, values in statistics.items()
    ]
    rows = [f"frames       {len(detections)}"]
    rows.append(f"detections   {int(sum(detections))} in {found} frames")
    rows.append(f"backend      {backend}")
    rows.append(
        "ms a frame   " + "  ".join(f"{name} {value:.1f}" for name, value in stages) + "  (medians)"
    )
    rows.append(f"written to   {output}")
    return "\n".join(rows)


if __name__ == "__main__":
    sys.exit(main())
