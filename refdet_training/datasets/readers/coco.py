"""COCO (Lin et al., ECCV 2014): a JSON with ``images``, ``annotations`` and ``categories``.

``bbox`` is ``[x, y, width, height]``, 0-based pixels. Every photo becomes a video of one frame and
every annotation an object seen once: a self-pair, kind = category. Crowd regions (``iscrowd``)
are not one object and are left out. The JSONs are looked for in the folder, in ``annotations/``
and in one sub-folder each (Roboflow); the pictures near them, in ``images/`` or in the folder that
the JSON is named after (``instances_train2017.json`` → ``train2017/``).
"""

from __future__ import annotations

import json
import mmap
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from refdet_core.errors import SourceError
from refdet_core.text_files import read_text
from refdet_core.types import BoxXYXY
from refdet_training.datasets.instance import FrameRef
from refdet_training.datasets.problems import Problems
from refdet_training.datasets.readers.files import picture_id, split_of, xyxy
from refdet_training.datasets.readers.record import ObjectTrack, Video

LOOKS_LIKE = "a JSON with images, annotations (bbox) and categories, in it or in annotations/"
_KEYS = (b'"images"', b'"annotations"', b'"bbox"')


def detect(folder: Path) -> bool:
    """Whether there is a JSON with COCO's keys."""
    return bool(_label_files(folder))


def read(folder: Path, problems: Problems) -> Iterator[Video]:
    """Yield a video of one frame for each photo that has boxes."""
    for labels in _label_files(folder):
        try:
            content = json.loads(read_text(labels))
        except ValueError as error:
            raise SourceError(f"{labels} is not valid JSON: {error}.") from error
        kinds = {item.get("id"): str(item.get("name")) for item in content.get("categories", [])}
        by_image: dict[Any, list[dict[str, Any]]] = defaultdict(list)
        for item in content.get("annotations", []):
            by_image[item.get("image_id")].append(item)
        images = {
            item["id"]: item
            for item in content.get("images", [])
            if "id" in item and "file_name" in item
        }
        for image_id in by_image.keys() - images.keys():
            problems.add("label_malformed", labels, None, f"there is no image with id {image_id}")
        pictures = _picture_folder(folder, labels, [i["file_name"] for i in images.values()])
        split = split_of((*labels.relative_to(folder).parts[:-1], labels.stem))
        for image_id, image in images.items():
            picture = pictures / image["file_name"]
            if image_id not in by_image:
                problems.add("label_missing", picture)
                continue
            name = picture_id(picture, folder)
            size = (image["width"], image["height"]) if "width" in image else None
            objects = _objects(name, by_image[image_id], kinds, labels, problems)
            yield Video(name, {0: FrameRef(picture)}, objects, labels, split, size)


def _objects(
    name: str,
    items: list[dict[str, Any]],
    kinds: dict[Any, str],
    labels: Path,
    problems: Problems,
) -> tuple[ObjectTrack, ...]:
    objects = []
    for number, item in enumerate(items):
        if item.get("iscrowd"):
            problems.add("label_skipped", labels, None, f"{name}: crowd region")
            continue
        try:
            box: BoxXYXY = xyxy(float(value) for value in item["bbox"])
        except (KeyError, TypeError, ValueError):
            problems.add("label_malformed", labels, None, f"{name}: no bbox of four numbers")
            continue
        kind = kinds.get(item.get("category_id"), "")
        objects.append(ObjectTrack(f"{name}_{item.get('id', number)}", kind, (0,), {0: box}))
    return tuple(objects)


def _label_files(folder: Path) -> list[Path]:
    found = [
        path
        for pattern in ("*.json", "annotations/*.json", "*/*.coco.json")
        for path in sorted(folder.glob(pattern))
        if _has_keys(path)
    ]
    # COCO's own keypoint and caption files repeat the instances.
    instances = [path for path in found if path.name.startswith("instances")]
    return instances or found


def _has_keys(path: Path) -> bool:
    if path.stat().st_size == 0:
        return False
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as text:
        return text[:64].lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"{") and all(
            text.find(key) >= 0 for key in _KEYS
        )


def _picture_folder(folder: Path, labels: Path, names: list[str]) -> Path:
    stem = labels.stem.removeprefix("instances_")
    candidates = (
        labels.parent,
        folder / "images",
        folder / stem,
        folder / "images" / stem,
        folder,
    )
    return next(
        (path for path in candidates if any((path / name).exists() for name in names[:50])),
        labels.parent,
    )
