"""refdet's own format, and that of the AeroEyes challenge (Zalo AI Challenge 2025).

``annotations.json`` is a list with one entry for each video::

    {"video_id": "car16", "width": 1280, "height": 720, "frames": 333,
     "annotations": [{"object_id": "car16_1", "labelled_frames": [0, 69],
                      "bboxes": [{"frame": 0, "x1": 555, "y1": 252, "x2": 577, "y2": 268}]}]}

beside ``<video_id>.mp4``. ``frame`` is the 0-based number of the frame that the decoder returns;
boxes are 0-based pixels, right and bottom edge exclusive. ``labelled_frames`` are the first and
the last frame (both included) in which the object was annotated: inside, a frame without a box
shows the object absent; outside, nothing is known.

AeroEyes has ``annotations/annotations.json`` and ``samples/<video_id>/drone_video.mp4``, and no
``labelled_frames``: the entries of ``annotations`` are the intervals in which the video's one
object is visible, and it is absent in the rest of the video.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import cv2

from refdet_core.errors import SourceError
from refdet_core.text_files import read_text, text_encoding
from refdet_core.types import BoxXYXY
from refdet_training.datasets.instance import FrameRef
from refdet_training.datasets.problems import Problems
from refdet_training.datasets.readers.record import ObjectTrack, Video

LOOKS_LIKE = "annotations.json (a list) beside <video_id>.mp4"


def detect(folder: Path) -> bool:
    """Whether there is an annotations.json that holds a list."""
    path = _annotations(folder)
    if path is None:
        return False
    with path.open(encoding=text_encoding(path), errors="replace") as file:
        return file.read(64).lstrip().startswith("[")


def read(folder: Path, problems: Problems) -> Iterator[Video]:
    """Yield the videos."""
    path = _annotations(folder)
    if path is None:
        raise SourceError(f"{folder} has no annotations.json.")
    try:
        entries = json.loads(read_text(path))
    except ValueError as error:
        raise SourceError(f"{path} is not valid JSON: {error}.") from error
    for entry in entries:
        try:
            yield _video(folder, path, entry, problems)
        except (KeyError, TypeError, ValueError) as error:
            name = entry.get("video_id", "?") if isinstance(entry, Mapping) else "?"
            problems.add(
                "label_malformed", path, None, f"video {name}: {type(error).__name__}: {error}"
            )


def _annotations(folder: Path) -> Path | None:
    candidates = (folder / "annotations.json", folder / "annotations" / "annotations.json")
    return next((path for path in candidates if path.is_file()), None)


def _video(folder: Path, labels: Path, entry: Mapping[str, Any], problems: Problems) -> Video:
    video_id = str(entry["video_id"])
    path = folder / f"{video_id}.mp4"
    if not path.exists() and (folder / "samples").is_dir():
        path = folder / "samples" / video_id / "drone_video.mp4"
    length = int(entry["frames"]) if "frames" in entry else _length(path)
    spans = [item for item in entry["annotations"] if "labelled_frames" in item]
    intervals = [item for item in entry["annotations"] if "labelled_frames" not in item]
    objects = []
    for item in spans:
        first, last = item["labelled_frames"]
        boxes = _boxes(item["bboxes"])
        for number in [number for number in boxes if not first <= number <= last]:
            problems.add(
                "label_malformed", labels, number, f"{item['object_id']}: outside its span"
            )
            del boxes[number]
        objects.append(
            ObjectTrack(str(item["object_id"]), _kind(item), range(first, last + 1), boxes)
        )
    if intervals:
        boxes = _boxes(box for item in intervals for box in item["bboxes"])
        objects.append(ObjectTrack(video_id, _kind(intervals[0]), range(length), boxes))
    return Video(
        video_id,
        {number: FrameRef(path, number) for number in range(length)},
        tuple(objects),
        labels,
        size=(entry["width"], entry["height"]) if "width" in entry else None,
    )


def _boxes(items: Any) -> dict[int, BoxXYXY]:
    return {
        int(box["frame"]): (
            float(box["x1"]),
            float(box["y1"]),
            float(box["x2"]),
            float(box["y2"]),
        )
        for box in items
    }


def _kind(item: Mapping[str, Any]) -> str:
    return str(item.get("kind", item.get("category", "")))


def _length(path: Path) -> int:
    video = cv2.VideoCapture(str(path))
    return max(0, int(video.get(cv2.CAP_PROP_FRAME_COUNT)))
