"""MOTChallenge (Milan et al., arXiv 1603.00831): ``<sequence>/`` with ``img1/`` and ``gt/gt.txt``.

A line is ``frame, id, left, top, width, height, flag, class, visibility`` (MOT16 and later, CVAT);
MOT15 has three world coordinates instead of the last two. Frames and pixels count from 1. A flag
of 0 means "do not count this": the object's state in that frame is unknown. Visibility 0 means
fully hidden: the object is absent. Frames without a line are unknown too, because tracks have gaps
and end while people are still in view. ``seqinfo.ini`` may name another picture folder
(``imDir``); ``gt/labels.txt`` (CVAT) names the classes, else MOT16's names are used. MOT17 has each
sequence three times for three detectors (``-DPM``, ``-FRCNN``, ``-SDP``); the first one is read.
"""

from __future__ import annotations

import configparser
import math
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from refdet_core.text_files import read_text
from refdet_core.types import BoxXYXY
from refdet_training.datasets.problems import Problems
from refdet_training.datasets.readers.files import numbered_frames, numbers_of, split_of, xyxy
from refdet_training.datasets.readers.record import ObjectTrack, Video

LOOKS_LIKE = "<sequence>/ with img1/*.jpg and gt/gt.txt"
_CLASSES = (
    *("pedestrian", "person on vehicle", "car", "bicycle", "motorbike", "non motorized vehicle"),
    *("static person", "distractor", "occluder", "occluder on the ground", "occluder full"),
    *("reflection", "crowd"),
)
_DETECTOR = re.compile(r"-(DPM|FRCNN|SDP)$")


def detect(folder: Path) -> bool:
    """Whether there is a sequence with ``gt/gt.txt``."""
    return any(_sequences(folder))


def read(folder: Path, problems: Problems) -> Iterator[Video]:
    """Yield the sequences, each with its tracks."""
    seen: set[str] = set()
    for sequence in _sequences(folder):
        base = _DETECTOR.sub("", sequence.name)
        if base in seen:
            problems.add("label_skipped", sequence, None, f"same video and labels as {base}-*")
            continue
        seen.add(base)
        labels = sequence / "gt" / "gt.txt"
        yield Video(
            sequence.name,
            numbered_frames(sequence / _picture_folder(sequence, problems)),
            tuple(_tracks(sequence.name, labels, problems)),
            labels,
            split_of(sequence.relative_to(folder).parts[:-1]),
        )


def _sequences(folder: Path) -> Iterator[Path]:
    for pattern in ("gt/gt.txt", "*/gt/gt.txt", "*/*/gt/gt.txt"):
        for path in sorted(folder.glob(pattern)):
            yield path.parent.parent


def _tracks(name: str, labels: Path, problems: Problems) -> Iterator[ObjectTrack]:
    classes = _class_names(labels.parent / "labels.txt")
    labelled: dict[int, set[int]] = defaultdict(set)
    boxes: dict[int, dict[int, BoxXYXY]] = defaultdict(dict)
    kinds: dict[int, str] = {}
    text = read_text(labels, errors="replace")
    for number, line in enumerate(text.splitlines()):
        values = numbers_of(line)
        if values == ():
            continue
        if values is None or not _is_track(values):
            problems.add("label_malformed", labels, None, f"line {number + 1}: '{line[:60]}'")
            continue
        frame, track = int(values[0]) - 1, int(values[1])
        if len(values) > 6 and values[6] == 0:
            problems.add("label_skipped", labels, frame, f"id {track}: flagged to be ignored")
            continue
        if frame in labelled[track]:
            problems.add("label_malformed", labels, frame, f"id {track}: a second box")
            continue
        has_class = len(values) in (8, 9) and values[7] >= 1
        kinds[track] = classes.get(int(values[7]), str(int(values[7]))) if has_class else ""
        labelled[track].add(frame)
        if len(values) != 9 or values[8] != 0:
            boxes[track][frame] = xyxy(values[2:6], first_pixel=1)
    for track, frames in labelled.items():
        if frames:
            yield ObjectTrack(
                f"{name}_{track}", kinds[track], frozenset(frames), boxes.get(track, {})
            )


def _is_track(values: tuple[float, ...]) -> bool:
    """Whether a line has a box, a frame from 1 on and an identity (detections have id -1)."""
    if len(values) < 6 or not all(math.isfinite(value) for value in values[:2]):
        return False
    return values[0] >= 1 and values[1] >= 0


def _class_names(path: Path) -> dict[int, str]:
    names = read_text(path).splitlines() if path.exists() else _CLASSES
    return {number: name.strip() for number, name in enumerate(names, start=1)}


def _picture_folder(sequence: Path, problems: Problems) -> str:
    path = sequence / "seqinfo.ini"
    parser = configparser.ConfigParser(interpolation=None, strict=False)
    try:
        parser.read_string(read_text(path) if path.exists() else "")
    except (configparser.Error, UnicodeDecodeError) as error:
        problems.add("label_malformed", path, None, str(error).splitlines()[0])
    return parser.get("Sequence", "imDir", fallback="img1")
