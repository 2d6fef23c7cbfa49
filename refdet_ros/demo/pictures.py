"""The demo's pictures: reference photos as files, and the contact sheet."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Sequence

import cv2
import numpy as np

from refdet_core.drawing import contact_sheet, draw_box, draw_magnified, fit, template_colour
from refdet_core.errors import SourceError
from refdet_core.types import BoxXYXY, Reference
from refdet_ros.bags.frames import frames_at
from refdet_ros.bags.parts import BagTopic
from refdet_ros.bags.reading import Bag
from refdet_ros.bags.replay import Replay
from refdet_ros.bags.targets import Target, cut_reference
from refdet_ros.bags.video import annotate, frame_caption, sample_numbers
from refdet_ros.bags.worst_moments import worst_moments

FRAMES_PER_TARGET = 3
_CELL_WIDTH = 480
_IOU = 0.5  # less is the wrong place


def write_references(folder: Path, targets: Sequence[Target]) -> list[Path]:
    """Write every reference photo as PNG, and the objects' boxes as ``rois.txt``: a line ``FILE
    X,Y,W,H`` for each."""
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    rois = []
    for target in targets:
        for number, reference in enumerate(target.references, start=1):
            path = folder / f"{_file_name(target.template_id)}_{number}.png"
            _write(path, reference.image_bgr)
            written.append(path)
            if reference.roi_xyxy is not None:
                x1, y1, x2, y2 = (round(value) for value in reference.roi_xyxy)
                rois.append(f"{path.name} {x1},{y1},{x2 - x1},{y2 - y1}\n")
    (folder / "rois.txt").write_text("".join(rois), encoding="utf-8")
    return written


def write_contact_sheet(
    path: Path, bag: Bag, topic: BagTopic, replay: Replay, targets: Sequence[Target]
) -> None:
    """One row per target: its first reference photo, frames spread over the bag, and the worst
    answer."""
    chosen = {target.template_id: _frames_of(target, replay) for target in targets}
    wanted = {number for numbers in chosen.values() for number in numbers}
    pictures = frames_at(bag, topic, wanted)
    height, width = next(iter(pictures.values())).shape[:2]
    cell = (_CELL_WIDTH, round(_CELL_WIDTH * height / width))
    cells: list[np.ndarray] = []
    captions: list[str] = []
    for target in targets:
        colour = template_colour(target.template_id)
        cells.append(_show_reference(target.references[0], colour, cell))
        captions.append(f"{target.template_id}: reference 1 of {len(target.references)}")
        for number in chosen[target.template_id]:
            frame_bgr = annotate(pictures[number].copy(), number, replay, [target])
            where = _where(target, number, replay)
            cells.append(frame_bgr if where is None else draw_magnified(frame_bgr, where))
            captions.append(frame_caption(number, replay, target))
    _write(path, contact_sheet(cells, captions, FRAMES_PER_TARGET + 1, cell))


def _frames_of(target: Target, replay: Replay) -> list[int]:
    """Answered frames that show the target, else any, and the worst answer, where the truth is
    known; enough for one row."""
    answered = sorted(set(replay.answers) - target.reference_frames)
    worst: list[int] = []
    if target.truth is not None:
        with_object = [number for number in answered if number in target.truth.boxes_xyxy]
        answered = with_object or answered
        worst = [moment.frame for moment in worst_moments(replay, [target], _IOU, 1)[:1]]
    count = FRAMES_PER_TARGET - len(worst)
    # In the first and last frames the object is often half outside: skip the ends.
    inner = sample_numbers(count + 2, [number for number in answered if number not in worst])
    return (inner[1:-1] if len(inner) == count + 2 else inner[:count]) + worst


def _where(target: Target, number: int, replay: Replay) -> BoxXYXY | None:
    found = replay.best_boxes(target.template_id).get(number)
    truth = target.truth.boxes_xyxy.get(number) if target.truth is not None else None
    return found if found is not None else truth


def _show_reference(
    reference: Reference, colour: tuple[int, int, int], cell: tuple[int, int]
) -> np.ndarray:
    """The object and its surroundings enlarged to a cell, with the ROI."""
    if reference.roi_xyxy is not None:
        reference = cut_reference(reference.image_bgr, reference.roi_xyxy)
    picture = fit(reference.image_bgr, cell)
    if reference.roi_xyxy is not None:
        scale = picture.shape[1] / reference.image_bgr.shape[1]
        x1, y1, x2, y2 = (value * scale for value in reference.roi_xyxy)
        draw_box(picture, (x1, y1, x2, y2), colour)
    return picture


def _file_name(template_id: str) -> str:
    return re.sub(r"[^A-Za-z0-9_.-]+", "_", template_id)


def _write(path: Path, picture: np.ndarray) -> None:
    try:
        written = cv2.imwrite(str(path), picture)
    except cv2.error:
        written = False
    if not written:
        raise SourceError(f"'{path}' cannot be written; is the folder writable?")
