"""Writes annotated frames as a video that any player opens."""

from __future__ import annotations

from pathlib import Path
from typing import Optional, Tuple

import cv2
import numpy as np

from refdet_core.closeable import Closeable
from refdet_core.errors import SourceError

FALLBACK_FPS = 10.0
"""For sources without time stamps."""


class VideoFile(Closeable):
    """An MP4 being written. Use it as a context manager.

    The codec is MPEG-4 part 2: the OpenCV wheels cannot write H.264. The first frame sets the
    size; frames of other sizes are scaled to it.
    """

    def __init__(self, path: Path, fps: float) -> None:
        self._path = path
        self._fps = fps
        self._size: Tuple[int, int] = (0, 0)
        self._writer: Optional[cv2.VideoWriter] = None

    def write(self, frame_bgr: np.ndarray) -> None:
        """Append a frame.

        Raises:
            SourceError: the file cannot be written.
        """
        if self._writer is None:
            # MPEG-4 takes even sides only.
            self._size = (max(2, frame_bgr.shape[1] // 2 * 2), max(2, frame_bgr.shape[0] // 2 * 2))
            codec = cv2.VideoWriter.fourcc(*"mp4v")
            self._writer = cv2.VideoWriter(str(self._path), codec, self._fps, self._size)
            if not self._writer.isOpened():
                raise SourceError(
                    f"The video '{self._path}' cannot be written; is the folder writable, and can "
                    "this OpenCV write MPEG-4?"
                )
        if frame_bgr.shape[1::-1] != self._size:
            frame_bgr = cv2.resize(frame_bgr, self._size)
        self._writer.write(frame_bgr)

    def close(self) -> None:
        if self._writer is not None:
            self._writer.release()
