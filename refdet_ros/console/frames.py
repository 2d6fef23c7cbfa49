"""Camera frames, and the JPEG pictures made from them for the browsers."""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Dict, Optional, Tuple

import cv2
import numpy as np

from refdet_core.image_header import image_format, image_size
from refdet_ros.conversions import compressed_to_bgr, image_to_bgr

STILL_WIDTH, STILL_QUALITY = 1920, 88
_OPTIMIZED_WIDTH = 640


@dataclass(frozen=True)
class Rung:
    """One step of picture quality: the widest picture that is sent, and its JPEG quality."""

    width: int
    quality: int


STILL = Rung(STILL_WIDTH, STILL_QUALITY)
"""For a held frame, where the operator has time to look closely."""


@dataclass(frozen=True)
class Picture:
    """A JPEG file, and the size of the frame it shows."""

    jpeg: bytes
    frame_size: Tuple[int, int]


class Frame:
    """A camera frame as a serialised message; it is decoded only when needed.

    Attributes:
        stamp_ns: its header's stamp.
        compressed: whether it is a ``CompressedImage``.
        received_s: when it came, on the wall clock.
    """

    __slots__ = ("_message", "cdr", "compressed", "pictures", "received_s", "stamp_ns")

    def __init__(self, cdr: bytes, stamp_ns: int, compressed: bool) -> None:
        self.cdr = cdr
        self.stamp_ns = stamp_ns
        self.compressed = compressed
        self.received_s = time.time()
        self.pictures: Dict[Rung, asyncio.Future[Picture]] = {}
        self._message: Optional[Any] = None

    def message(self) -> Any:
        """The ROS message."""
        if self._message is None:
            from rclpy.serialization import deserialize_message
            from sensor_msgs.msg import CompressedImage, Image

            self._message = deserialize_message(
                self.cdr, CompressedImage if self.compressed else Image
            )
        return self._message

    def bgr(self) -> np.ndarray:
        """``(H, W, 3)`` uint8 BGR.

        Raises:
            ImageError: it cannot be decoded.
        """
        message = self.message()
        return compressed_to_bgr(message) if self.compressed else image_to_bgr(message)

    def encode(self, rung: Rung) -> Picture:
        """The picture for a rung; the camera's own JPEG if that is small enough."""
        if self.compressed:
            own = bytes(self.message().data)
            size = image_size(own) if image_format(own) == "jpeg" else None
            if size is not None and size[0] <= rung.width and rung.quality >= 70:
                return Picture(own, size)
        frame_bgr = self.bgr()
        return Picture(to_jpeg(frame_bgr, rung), (frame_bgr.shape[1], frame_bgr.shape[0]))


def to_jpeg(picture: np.ndarray, rung: Rung) -> bytes:
    """A picture ``(H, W)`` or ``(H, W, 3)``, made smaller if it is wider than the rung."""
    height, width = picture.shape[:2]
    if width > rung.width:
        size = (rung.width, max(1, round(height * rung.width / width)))
        picture = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
    # Optimised Huffman tables save a tenth of a small picture; for large ones they take long.
    optimize = int(rung.width <= _OPTIMIZED_WIDTH)
    options = (cv2.IMWRITE_JPEG_QUALITY, rung.quality, cv2.IMWRITE_JPEG_OPTIMIZE, optimize)
    return bytes(cv2.imencode(".jpg", picture, options)[1])


class Encoder:
    """Makes pictures in its own thread; browsers on the same rung share them."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="encoder")

    async def picture(self, frame: Frame, rung: Rung) -> Picture:
        """The frame's picture.

        Raises:
            ImageError: the frame cannot be decoded.
        """
        made = frame.pictures.get(rung)
        if made is None:
            loop = asyncio.get_running_loop()
            made = loop.run_in_executor(self._pool, frame.encode, rung)
            frame.pictures[rung] = made
        # A browser that disconnects must not cancel the picture that others wait for.
        return await asyncio.shield(made)

    async def run(self, function: Any, *arguments: Any) -> Any:
        """Run another slow function in the same thread."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, function, *arguments)

    def close(self) -> None:
        """End the thread after its current work."""
        self._pool.shutdown(wait=False)
