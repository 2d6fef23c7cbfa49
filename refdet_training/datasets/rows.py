"""Rows of the index, from a reader's labels and the readable frames."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from refdet_core.types import BoxXYXY
from refdet_training.datasets.box_hygiene import clean_box
from refdet_training.datasets.frames import StoredFrame, StoredFrames
from refdet_training.datasets.index import COLUMNS
from refdet_training.datasets.problems import Problems
from refdet_training.datasets.readers.record import ObjectTrack, Video

_ABSENT = (float("nan"),) * 4


@dataclass(frozen=True)
class Naming:
    """Rules for source, family and kind.

    Attributes:
        source: the prepared data set's name.
        family_pattern, kind_pattern: regular expressions for the video's name; the first group
            that takes part, or all that is found. A named group, ``(?P<people>person|group)``,
            stands for its name. Empty, or nothing found: the video's name, the labels' kind.
    """

    source: str
    family_pattern: str
    kind_pattern: str

    def family(self, video: Video) -> str:
        """The family of a video."""
        return _named(self.family_pattern, video.video_id) or video.video_id

    def kind(self, video: Video, item: ObjectTrack) -> str:
        """The kind of an object."""
        return _named(self.kind_pattern, video.video_id) or item.kind


def index_rows(
    video: Video, stored: StoredFrames, names: Naming, problems: Problems
) -> Iterator[dict[str, Any]]:
    """Rows (:data:`refdet_training.datasets.index.COLUMNS`) of one video's objects.

    A frame whose box was dropped gets no row, because the object's presence is unknown.
    """
    frames: dict[int, StoredFrame] = {}
    for number, frame in sorted(stored.frames.items()):
        if video.size is None or tuple(video.size) == (frame.width, frame.height):
            frames[number] = frame
        else:
            detail = f"{frame.width}x{frame.height}, labels are for {video.size}"
            problems.add("frame_size", frame.picture, number, detail)
    for item in video.objects:
        boxes = _clean_boxes(video, item, frames, problems)
        if not any(boxes.values()):
            problems.add("object_without_box", video.labels, None, item.object_id)
            continue
        texts = (
            *(names.source, video.video_id, item.object_id),
            *(names.family(video), names.kind(video, item)),
        )
        for number, box in boxes.items():
            frame = frames[number]
            place = (number, frame.picture, frame.video_frame)
            yield dict(zip(COLUMNS, (*texts, *place, *(box or _ABSENT)), strict=True))


def _clean_boxes(
    video: Video, item: ObjectTrack, frames: Mapping[int, StoredFrame], problems: Problems
) -> dict[int, BoxXYXY | None]:
    """Box by frame number, None where the object is absent; unknown frames are omitted."""
    boxes: dict[int, BoxXYXY | None] = {}
    for number in sorted(frames.keys() & set(item.labelled)):
        box = item.boxes_xyxy.get(number)
        if box is None:
            boxes[number] = None
            continue
        width, height = frames[number].width, frames[number].height
        if video.relative:
            box = (box[0] * width, box[1] * height, box[2] * width, box[3] * height)
        cleaned, wrong = clean_box(box, width, height)
        if wrong:
            corners = ", ".join(f"{value:.1f}" for value in box)
            problems.add(wrong, video.labels, number, f"{item.object_id}: {corners}")
        if cleaned is not None:
            boxes[number] = cleaned
    return boxes


def _named(pattern: str, text: str) -> str:
    found = re.search(pattern, text) if pattern else None
    if found is None:
        return ""
    if found.lastgroup:
        return found.lastgroup
    return next(filter(None, found.groups()), "") if found.re.groups else found.group()
