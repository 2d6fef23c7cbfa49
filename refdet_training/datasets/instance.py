"""One object followed through one video or seen in one photo."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path

import cv2
import numpy as np

from refdet_core.errors import SourceError
from refdet_core.types import BoxXYXY


@dataclass(frozen=True)
class FrameRef:
    """Where a frame's pixels are.

    Attributes:
        path: a picture, decoded pixels (.npy), or a video when ``video_frame`` is given.
        video_frame: 0-based number of the frame the decoder returns; None for a picture.
    """

    path: Path
    video_frame: int | None = None

    def read(self) -> np.ndarray:
        """``(H, W, 3)`` uint8 BGR, not to be written to.

        Raises:
            SourceError: the file is gone or damaged.
        """
        frame: np.ndarray | None
        if self.path.suffix == ".npy":
            frame = _map_pixels(self.path)
        elif self.video_frame is None:
            frame = cv2.imread(str(self.path))
        else:
            video = _open_video(str(self.path), os.getpid())
            if video.get(cv2.CAP_PROP_POS_FRAMES) != self.video_frame:
                video.set(cv2.CAP_PROP_POS_FRAMES, self.video_frame)
            frame = video.read()[1]
        if frame is None:
            where = "" if self.video_frame is None else f", frame {self.video_frame}"
            raise SourceError(
                f"Cannot read {self.path}{where}; run 'refdet-train prepare' again to see what is "
                "damaged."
            )
        return np.asarray(frame)


def _map_pixels(path: Path) -> np.ndarray | None:
    try:
        return np.load(path, mmap_mode="r")
    except (OSError, ValueError):
        return None


@lru_cache(maxsize=8)
def _open_video(path: str, process_id: int) -> cv2.VideoCapture:
    """An open video of this process: workers forked from it would share its file position."""
    return cv2.VideoCapture(path)


@dataclass(frozen=True)
class Instance:
    """One object in one video (or photo).

    Attributes:
        object_id, video_id, source: names; ``source`` is the prepared data set's name.
        family: instances of one family may be the same physical object or are too alike in
            origin to be called different; they are never negatives of each other unless they
            are seen in the same frame.
        kind: what sort of object it is ("car"), empty when unknown; others of its kind are the
            look-alikes of hard negative pairs.
        frames: by frame number, only frames inside the labelled span.
        boxes_xyxy: box by frame number; a labelled frame without one shows the object absent.
    """

    object_id: str
    video_id: str
    source: str
    family: str
    kind: str
    frames: Mapping[int, FrameRef]
    boxes_xyxy: Mapping[int, BoxXYXY]

    @cached_property
    def present(self) -> Sequence[int]:
        """Frame numbers where the object is visible, ascending."""
        return sorted(number for number in self.boxes_xyxy if number in self.frames)

    def read(self, number: int) -> np.ndarray:
        """The frame of that number, ``(H, W, 3)`` uint8 BGR; :class:`SourceError` if damaged."""
        return self.frames[number].read()
