"""One object in one video or photo."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path

import cv2
import numpy as np

from refdet_core.errors import SourceError
from refdet_core.types import BoxXYXY


@dataclass(frozen=True)
class FrameRef:
    """The location of a frame's pixels.

    Attributes:
        path: an image, decoded pixels (.npy), or a video if ``video_frame`` is given.
        video_frame: 0-based frame number in the decoder's order; None for an image.
    """

    path: Path
    video_frame: int | None = None

    def read(self) -> np.ndarray:
        """``(H, W, 3)`` uint8 BGR, read-only.

        Raises:
            SourceError: the file is missing or damaged.
        """
        frame: np.ndarray | None
        if self.path.suffix == ".npy":
            frame = _map_pixels(self.path)
        elif self.video_frame is None:
            frame = cv2.imread(str(self.path))
        else:
            video = _open_video(str(self.path))
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


def _keep_open() -> Callable[[str], cv2.VideoCapture]:
    """Opens a video, or returns it while it is among the eight used last."""
    return lru_cache(maxsize=8)(cv2.VideoCapture)


_open_video = _keep_open()
_videos_of_parents: list[object] = []


def _leave_videos_to_the_parent() -> None:
    """A forked worker opens videos of its own, and never closes one of its parent's.

    They would share a file position; and closing one waits for the decoder's threads, which no
    fork takes along.
    """
    global _open_video
    _videos_of_parents.append(_open_video)
    _open_video = _keep_open()


os.register_at_fork(after_in_child=_leave_videos_to_the_parent)


@dataclass(frozen=True)
class Instance:
    """One object in one video (or photo).

    Attributes:
        object_id, video_id, source: names; ``source`` is the prepared data set's name.
        family: instances of one family may be the same physical object, or are of too similar
            origin; they are never negatives of each other unless one frame shows both.
        kind: the object's category ("car"), empty if unknown; others of its kind are the
            distractors of hard negative pairs.
        frames: the frames inside the labelled span, by number.
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
        """The numbers of the frames that show the object, ascending."""
        return sorted(number for number in self.boxes_xyxy if number in self.frames)

    def read(self, number: int) -> np.ndarray:
        """The frame of that number, ``(H, W, 3)`` uint8 BGR; :class:`SourceError` if damaged."""
        return self.frames[number].read()
