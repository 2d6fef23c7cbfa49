"""What the readers share: pictures of a folder, lines of numbers, splits told by folder names."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from pathlib import Path

from refdet_core.text_files import read_text
from refdet_core.types import BoxXYXY
from refdet_training.datasets.instance import FrameRef
from refdet_training.datasets.problems import Problems

PICTURES = {".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp"}
_SPLIT_WORDS = {"train": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}


def pictures_in(folder: Path) -> list[Path]:
    """Picture files directly in a folder, by name; none when the folder does not exist."""
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if path.suffix.lower() in PICTURES)


def has_picture(folder: Path) -> bool:
    """Whether a folder has a picture, without listing all of a large one."""
    return folder.is_dir() and any(path.suffix.lower() in PICTURES for path in folder.iterdir())


def numbered_frames(folder: Path) -> dict[int, FrameRef]:
    """Frames by 0-based number from pictures that are named by number.

    Trackers' data sets count files from 1 (``00000001.jpg`` is frame 0); where a file has the
    number 0, files count from 0. Names without numbers are taken in their order.
    """
    pictures = pictures_in(folder)
    digits = [re.search(r"(\d+)$", path.stem) for path in pictures]
    numbers = [int(found.group(1)) for found in digits if found]
    if len(set(numbers)) < len(pictures):
        return {number: FrameRef(path) for number, path in enumerate(pictures)}
    first = 0 if 0 in numbers else 1
    return {number - first: FrameRef(path) for number, path in zip(numbers, pictures, strict=True)}


def frames_for_lines(folder: Path, lines: int) -> dict[int, FrameRef]:
    """Frames for labels that have one line a frame.

    As many pictures as lines belong together in their order, whatever number the first one
    has. Otherwise a picture is missing or not labelled, and only the numbers can tell which.
    """
    frames = numbered_frames(folder)
    if len(frames) == lines:
        return dict(enumerate(frames[number] for number in sorted(frames)))
    return frames


def box_lines(path: Path, problems: Problems) -> list[tuple[float, ...] | None]:
    """One ``(x, y, w, h)`` a line, comma or white space between; None for a line that is not."""
    boxes: list[tuple[float, ...] | None] = []
    text = read_text(path, errors="replace")
    for number, line in enumerate(text.rstrip().splitlines()):
        values = numbers_of(line)
        if values is None or len(values) != 4:
            problems.add("label_malformed", path, number, f"not four numbers: '{line[:60]}'")
            boxes.append(None)
        else:
            boxes.append(values)
    return boxes


def numbers_of(text: str) -> tuple[float, ...] | None:
    """Numbers between commas or white space; None when something is not a number."""
    try:
        return tuple(float(part) for part in re.split(r"[,;\s]+", text.strip()) if part)
    except ValueError:
        return None


def flags_of(path: Path, problems: Problems) -> tuple[float, ...] | None:
    """Numbers of a file, on one line or on many; None when there is no such file."""
    if not path.exists():
        return None
    values = numbers_of(read_text(path, errors="replace"))
    if values is None:
        problems.add("label_malformed", path, None, "not numbers only; the file is not used")
    return values


def xyxy(box_xywh: Iterable[float], first_pixel: int = 0) -> BoxXYXY:
    """Corners of a box given by corner and size; ``first_pixel`` is 1 where pixels count from 1."""
    x, y, width, height = box_xywh
    x, y = x - first_pixel, y - first_pixel
    return x, y, x + width, y + height


def says_absent(box_xywh: tuple[float, ...]) -> bool:
    """Trackers' data sets write an absent object as NaN or as a box of zeros."""
    return all(math.isnan(value) for value in box_xywh) or not any(box_xywh)


def split_of(parts: Iterable[str]) -> str:
    """The split that a folder's name ("train", "valid", "test") or part of a file's name stands
    for, or ""."""
    words = [word for part in parts for word in re.split(r"[^a-z]+", part.lower())]
    return next((_SPLIT_WORDS[word] for word in words if word in _SPLIT_WORDS), "")


def picture_id(picture: Path, root: Path) -> str:
    """Name of a photo: its path below the data set, without the folder "images" and the suffix."""
    try:
        parts = picture.relative_to(root).with_suffix("").parts
    except ValueError:
        parts = (picture.stem,)
    return "_".join(part for part in parts if part != "images")
