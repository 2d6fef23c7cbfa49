"""YOLO text labels: for each photo a ``.txt`` with a line ``class cx cy w h`` for each object.

Centre and size are fractions of the picture's width and height. A line with more numbers is an
outline ``class x1 y1 x2 y2 …``, whose enclosing box is taken. The label lies beside the picture, or
in ``labels/`` where the picture is in ``images/`` (``images/train/a.jpg`` ↔ ``labels/train/a.txt``,
``train/images/a.jpg`` ↔ ``train/labels/a.txt``). ``classes.txt`` (a name a line), ``obj.names`` or
``names`` in ``data.yaml`` name the classes; without them the number is the kind. Every photo
becomes a video of one frame and every line an object seen once: a self-pair.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import yaml

from refdet_core.text_files import read_text
from refdet_core.types import BoxXYXY
from refdet_training.datasets.instance import FrameRef
from refdet_training.datasets.problems import Problems
from refdet_training.datasets.readers.files import PICTURES, numbers_of, picture_id, split_of
from refdet_training.datasets.readers.record import ObjectTrack, Video

LOOKS_LIKE = "pictures with a .txt of the same name beside them, or images/ and labels/"
_FOLDERS = (".", "images", "images/*", "*/images")
_NAME_FILES = ("classes.txt", "obj.names", "labels/classes.txt", "data.yaml", "dataset.yaml")
_LOOK_AT = 100


def detect(folder: Path) -> bool:
    """Whether one of the first pictures has a label of YOLO's form."""
    for number, picture in enumerate(_pictures(folder)):
        label = _label(picture)
        if label and any(_box(numbers_of(line)) for line in _lines(label)):
            return True
        if number >= _LOOK_AT:
            break
    return False


def read(folder: Path, problems: Problems) -> Iterator[Video]:
    """Yield a video of one frame for each photo that has boxes."""
    names = _class_names(folder, problems)
    for picture in _pictures(folder):
        label = _label(picture)
        if label is None:
            problems.add("label_missing", picture)
            continue
        name = picture_id(picture, folder)
        objects = []
        for number, line in enumerate(_lines(label)):
            values = numbers_of(line)
            box = _box(values)
            if values is None or box is None:
                problems.add("label_malformed", label, None, f"line {number + 1}: '{line[:60]}'")
                continue
            kind = names.get(int(values[0]), str(int(values[0])))
            objects.append(ObjectTrack(f"{name}_{number}", kind, (0,), {0: box}))
        split = split_of(picture.relative_to(folder).parts[:-1])
        yield Video(name, {0: FrameRef(picture)}, tuple(objects), label, split=split, relative=True)


def _pictures(folder: Path) -> Iterator[Path]:
    for pattern in _FOLDERS:
        for place in sorted(folder.glob(pattern)) if pattern != "." else [folder]:
            if place.is_dir():
                yield from sorted(p for p in place.iterdir() if p.suffix.lower() in PICTURES)


def _label(picture: Path) -> Path | None:
    candidates = [picture.with_suffix(".txt")]
    parts = list(picture.parts)
    if "images" in parts:
        last = len(parts) - 1 - parts[::-1].index("images")
        parts[last] = "labels"
        candidates.append(Path(*parts).with_suffix(".txt"))
    return next((path for path in candidates if path.is_file()), None)


def _lines(label: Path) -> list[str]:
    text = read_text(label, errors="replace")
    return [line for line in text.splitlines() if line.strip()]


def _box(values: tuple[float, ...] | None) -> BoxXYXY | None:
    """Corners as fractions of the picture; None when the numbers are not a label."""
    if values is None or len(values) < 5 or values[0] < 0 or not values[0].is_integer():
        return None
    if len(values) == 5:
        _, x, y, width, height = values
        if max(abs(value) for value in values[1:]) > 2:  # pixels, not fractions
            return None
        return x - width / 2, y - height / 2, x + width / 2, y + height / 2
    if len(values) < 7 or len(values) % 2 == 0:
        return None
    return min(values[1::2]), min(values[2::2]), max(values[1::2]), max(values[2::2])


def _class_names(folder: Path, problems: Problems) -> dict[int, str]:
    path = next((folder / name for name in _NAME_FILES if (folder / name).is_file()), None)
    if path is None:
        return {}
    text = read_text(path, errors="replace")
    if path.suffix != ".yaml":
        return {number: line.strip() for number, line in enumerate(text.splitlines())}
    try:
        names = yaml.safe_load(text)["names"]
        pairs = names.items() if isinstance(names, dict) else enumerate(names)
        return {int(number): str(name) for number, name in pairs}
    except (yaml.YAMLError, KeyError, TypeError, ValueError):
        problems.add("label_malformed", path, None, "no list of class names under 'names'")
        return {}
