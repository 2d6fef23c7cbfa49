"""What every reader yields: a video (or photo) with its frames and its labelled objects."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from refdet_core.types import BoxXYXY
from refdet_training.datasets.instance import FrameRef


@dataclass(frozen=True)
class ObjectTrack:
    """One object in one video.

    Attributes:
        object_id: unique in the data set.
        kind: category, empty when the data set does not say.
        labelled: frame numbers for which it is known whether the object is visible.
        boxes_xyxy: by frame number; a labelled frame without a box shows the object absent.
    """

    object_id: str
    kind: str
    labelled: Collection[int]
    boxes_xyxy: Mapping[int, BoxXYXY]


@dataclass(frozen=True)
class Video:
    """One video, picture sequence or photo (frame 0 only), as the data set has it.

    Attributes:
        video_id: unique in the data set; also a file name.
        frames: the location of each frame's pixels, by 0-based frame number.
        objects: what is labelled in it.
        labels: file that the labels come from.
        split: where the data set itself puts the video ("train", "val", "test"), else empty.
        size: ``(width, height)`` that the labels were made for, None when they do not say.
        relative: boxes are fractions of the frame's width and height instead of pixels.
    """

    video_id: str
    frames: Mapping[int, FrameRef]
    objects: tuple[ObjectTrack, ...]
    labels: Path
    split: str = ""
    size: tuple[int, int] | None = None
    relative: bool = False
