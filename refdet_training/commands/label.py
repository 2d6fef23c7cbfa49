"""``refdet-train label``: boxes for video that has none, where two trackers agree.

Every few seconds things that stand out are followed by LightTrack and by FEAR-XS, forwards and then
backwards. Where both agree and come back to where they began, their boxes are labels. The output is
a data set for ``refdet-train prepare``, with links to the videos. Look at its contact sheet: a
thing may be a shadow or a piece of road, which does no harm as something to be told apart from
others, or half of an object, which does if there are many.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from tqdm import tqdm

from refdet_core.errors import ConfigError, SourceError
from refdet_core.metrics import box_iou
from refdet_core.types import BoxXYXY
from refdet_training.datasets.problems import Problems
from refdet_training.datasets.readers import refdet
from refdet_training.datasets.whole_files import write_whole
from refdet_training.evaluation.tracking_protocol import Tracker
from refdet_training.labelling.agreement import agreed_boxes
from refdet_training.labelling.things import things

TRACKERS = ("lighttrack", "fear")
_SAME_IOU = 0.3


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument("videos", type=Path, nargs="+", metavar="VIDEO", help=".mp4 files")
    parser.add_argument("--output", type=Path, required=True, metavar="DIR", help="new folder")
    parser.add_argument(
        "--seconds", type=float, default=10.0, help="things are followed for (%(default)s)"
    )
    parser.add_argument(
        "--least-frames", type=int, default=15, help="shorter tracks are left out (%(default)s)"
    )
    parser.add_argument(
        "--things", type=int, default=12, help="tried in each stretch (%(default)s)"
    )
    parser.add_argument(
        "--sides", type=float, nargs=2, default=[14.0, 160.0], metavar=("LEAST", "MOST"),
        help="of a thing, pixels (%(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--known", type=Path, metavar="DATA",
        help="data set in refdet's format with objects of these videos that are labelled already",
    )  # fmt: skip
    parser.add_argument("--seed", type=int, default=0, help="of the choice (%(default)s)")


def run(options: argparse.Namespace) -> None:
    """Label and write.

    Raises:
        ConfigError: a setting is out of range, or the folder holds a data set.
        SourceError: a video cannot be read.
    """
    _check(options)
    known = _known_boxes(options.known)
    rng = np.random.default_rng(options.seed)
    entries = [
        _labelled(video, known.get(video.stem, {}), options, rng)
        for video in tqdm(options.videos, unit="video")
    ]
    options.output.mkdir(parents=True, exist_ok=True)
    for video in options.videos:
        link = options.output / video.name
        link.unlink(missing_ok=True)
        link.symlink_to(video.resolve())
    write_whole(options.output / "annotations.json", json.dumps(entries).encode())
    tracks = [item for entry in entries for item in entry["annotations"]]
    boxes = sum(len(item["bboxes"]) for item in tracks)
    print(f"{len(tracks)} things with {boxes} boxes in {len(entries)} videos: {options.output}")


def _check(options: argparse.Namespace) -> None:
    if options.seconds <= 0 or options.least_frames < 2 or options.things < 1:
        raise ConfigError(
            "--seconds must be positive, --least-frames at least 2 and --things at least 1; got "
            f"{options.seconds:g}, {options.least_frames} and {options.things}."
        )
    least, most = options.sides
    if not 4 <= least < most:
        raise ConfigError(f"--sides takes two rising numbers from 4 on, got {least:g} {most:g}.")
    names = [video.stem for video in options.videos]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ConfigError(f"Two videos have the same name: {', '.join(twice)}.")
    if (options.output / "annotations.json").exists():
        raise ConfigError(f"{options.output} holds a data set already; give a new folder.")


def _known_boxes(folder: Path | None) -> dict[str, dict[int, list[BoxXYXY]]]:
    """By video and frame."""
    known: dict[str, dict[int, list[BoxXYXY]]] = {}
    for video in refdet.read(folder, Problems()) if folder is not None else ():
        by_frame = known.setdefault(video.video_id, {})
        for item in video.objects:
            for number, box in item.boxes_xyxy.items():
                by_frame.setdefault(number, []).append(box)
    return known


def _labelled(
    video: Path,
    known: dict[int, list[BoxXYXY]],
    options: argparse.Namespace,
    rng: np.random.Generator,
) -> dict[str, Any]:
    """The video's entry of ``annotations.json``."""
    from refdet_training.evaluation.following import TRACK, FollowingDetector, trackers_alone

    fps = _rate(video)
    count = max(options.least_frames, round(options.seconds * fps))
    found: list[dict[str, Any]] = []
    first, size = 0, (0, 0)
    with ExitStack() as stack:
        trackers = []
        for name in TRACKERS:
            bundle, config, alone = trackers_alone(name)
            trackers.append(FollowingDetector(bundle, TRACK, fps, config, alone))
            stack.callback(trackers[-1].close)
        for frames in _stretches(video, count):
            size = frames[0].shape[1], frames[0].shape[0]
            taken = {
                number: list(known.get(number, [])) for number in range(first, first + len(frames))
            }
            for boxes in _tracks(trackers, frames, first, taken, options, rng):
                found.append(_entry(f"{video.stem}_thing{len(found) + 1}", boxes))
            first += len(frames)
    return {
        "video_id": video.stem,
        "width": size[0],
        "height": size[1],
        "fps": fps,
        "frames": first,
        "annotations": found,
    }


def _tracks(
    trackers: Sequence[Tracker],
    frames: Sequence[np.ndarray],
    first: int,
    taken: dict[int, list[BoxXYXY]],
    options: argparse.Namespace,
    rng: np.random.Generator,
) -> Iterator[dict[int, BoxXYXY]]:
    """Boxes by frame of things in a stretch of frames; ``taken`` grows by them."""
    for box_xyxy in things(frames[0], tuple(options.sides), options.things, taken[first], rng):
        boxes = dict(enumerate(agreed_boxes(trackers, frames, box_xyxy), first))
        again = any(
            box_iou(box, other) >= _SAME_IOU
            for number, box in boxes.items()
            for other in taken[number]
        )
        if len(boxes) >= options.least_frames and not again:
            for number, box in boxes.items():
                taken[number].append(box)
            yield boxes


def _entry(name: str, boxes: dict[int, BoxXYXY]) -> dict[str, Any]:
    return {
        "object_id": name,
        "labelled_frames": [min(boxes), max(boxes)],
        "bboxes": [
            {"frame": number, **dict(zip(("x1", "y1", "x2", "y2"), box, strict=True))}
            for number, box in boxes.items()
        ],
    }


def _stretches(video: Path, count: int) -> Iterator[list[np.ndarray]]:
    """The video's frames, ``count`` at a time."""
    capture = cv2.VideoCapture(str(video))
    frames: list[np.ndarray] = []
    while True:
        read, frame_bgr = capture.read()
        if read:
            frames.append(frame_bgr)
        if frames and (not read or len(frames) == count):
            yield frames
            frames = []
        if not read:
            return


def _rate(video: Path) -> float:
    """Frames a second.

    Raises:
        SourceError: the video cannot be read.
    """
    rate = float(cv2.VideoCapture(str(video)).get(cv2.CAP_PROP_FPS))
    if not rate > 0:
        raise SourceError(f"'{video}' is not a video that can be read.")
    return rate
