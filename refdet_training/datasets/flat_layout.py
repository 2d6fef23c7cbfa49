"""A flat folder layout, for tools that read it.

For each split::

    templates/<object>.jpg             the object cut out of its first labelled frame
    search/images/<object>__<n>.jpg    frame n, for every labelled frame n after it
    search/labels/<object>__<n>.txt    YOLO's "0 cx cy w h" (fractions of the frame); an empty
                                       file when the object is absent in that frame

The name before the last ``__`` is the search frame's template. An object seen in only one photo is
searched in that photo. Frames are hard links to the prepared files where the disk allows it.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Mapping, Sequence
from math import ceil, floor
from pathlib import Path

import cv2
from tqdm import tqdm

from refdet_core.types import BoxXYXY
from refdet_training.datasets.instance import Instance

FOLDER = "refdet_flat"


def write_flat_layout(
    folder: Path, instances: Sequence[Instance], splits: Mapping[str, Sequence[str]], quality: int
) -> Path:
    """Write ``folder/refdet_flat`` completely or not at all; returns its path."""
    temporary, target = folder / f"{FOLDER}.tmp", folder / FOLDER
    shutil.rmtree(temporary, ignore_errors=True)
    for split, videos in splits.items():
        place = temporary / split
        for name in ("templates", "search/images", "search/labels"):
            (place / name).mkdir(parents=True)
        members = set(videos)
        chosen = [item for item in instances if item.video_id in members]
        for item in tqdm(chosen, desc=f"flat layout, {split}", unit="object"):
            _write_object(folder, place, item, quality)
    shutil.rmtree(target, ignore_errors=True)
    temporary.replace(target)
    return target


def _write_object(folder: Path, place: Path, item: Instance, quality: int) -> None:
    name = item.object_id
    if not name.startswith(item.video_id):
        name = f"{item.video_id}_{name}"
    name = re.sub(r"[^\w.-]", "_", name)
    parameters = [cv2.IMWRITE_JPEG_QUALITY, quality]
    first = item.present[0]
    template = item.read(first)
    x1, y1, x2, y2 = item.boxes_xyxy[first]
    crop = template[floor(y1) : ceil(y2), floor(x1) : ceil(x2)]
    cv2.imwrite(str(place / "templates" / f"{name}.jpg"), crop, parameters)
    numbers = [number for number in sorted(item.frames) if number > first] or [first]
    for number in numbers:
        stem = f"{name}__{number:06d}"
        frame = item.read(number)
        picture = place / "search" / "images" / f"{stem}.jpg"
        ref = item.frames[number]
        if ref.video_frame is None and ref.path.suffix.lower() in (".jpg", ".jpeg"):
            # Never link an original: editing the copy would change it too.
            _link_or_copy(ref.path, picture, link=ref.path.is_relative_to(folder))
        else:
            cv2.imwrite(str(picture), frame, parameters)
        box = item.boxes_xyxy.get(number)
        label = "" if box is None else _yolo_line(box, frame.shape[1], frame.shape[0])
        (place / "search" / "labels" / f"{stem}.txt").write_text(label, encoding="utf-8")


def _link_or_copy(source: Path, target: Path, link: bool) -> None:
    try:
        if link:
            os.link(source, target)
            return
    except OSError:  # another disk, or one without hard links
        pass
    shutil.copyfile(source, target)


def _yolo_line(box: BoxXYXY, width: int, height: int) -> str:
    x1, y1, x2, y2 = box
    values = ((x1 + x2) / 2 / width, (y1 + y2) / 2 / height, (x2 - x1) / width, (y2 - y1) / height)
    return "0 " + " ".join(f"{value:.6f}" for value in values) + "\n"
