"""Frames of a video, with the times at which they were taken.

OpenCV gives the presentation timestamp of the frame it has just read, so variable frame rates and
gaps need no further package on the drone.
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Iterator, Optional, Union

import cv2
import numpy as np

from refdet_core.contrast import Contrast
from refdet_core.frame_clock import FrameClock
from refdet_core.image_files import to_bgr8

FrameName = Union[int, str]
"""The 0-based index in a video or TIFF file, or an image's file name (``stack.tif#3``: a page)."""

_MOST_MS = 1e12
_GREY_16 = b"Y1\0\x10"
"""FFmpeg's code of 16-bit grey; the last byte is the number of bits."""


@dataclass(frozen=True)
class Frame:
    """One frame.

    Attributes:
        name: a video's, TIFF file's or camera's 0-based frame index, or an image's file name.
            Frames of a camera that came while another was searched leave gaps in its count.
        time_s: since the first frame; None if the source has no time.
        bgr: ``(H, W, 3)`` uint8.
    """

    name: FrameName
    time_s: Optional[float]
    bgr: np.ndarray


def frame_rate(capture: cv2.VideoCapture) -> Optional[float]:
    """The nominal frames per second; None if the video does not say."""
    rate = float(capture.get(cv2.CAP_PROP_FPS))
    return rate if math.isfinite(rate) and 0 < rate <= 1000 else None


def presentation_ns(capture: cv2.VideoCapture) -> Optional[int]:
    """The timestamp of the frame that was just read, in nanoseconds; None if it has none.

    OpenCV also returns zero for a frame without a timestamp. Taking a video's first frame for one
    does no harm.
    """
    position_ms = float(capture.get(cv2.CAP_PROP_POS_MSEC))
    if not math.isfinite(position_ms) or position_ms == 0 or abs(position_ms) > _MOST_MS:
        return None
    return round(position_ms * 1e6)


def read_frames(capture: cv2.VideoCapture, contrast: Contrast) -> Iterator[Frame]:
    """All frames that are left in a video, timed from the next one on.

    Times come from the presentation timestamps, and from the nominal rate where there are none;
    without either there is no time.
    """
    rate = frame_rate(capture)
    clock = FrameClock()
    index = 0
    while True:
        readable, picture = capture.read()
        if not readable or picture is None:
            return
        stamp_ns = presentation_ns(capture)
        if index == 0 and stamp_ns is None:
            stamp_ns = 0
        time_s = clock.time_s(stamp_ns, index / rate if rate else 0.0)
        timed = rate is not None or index == 0 or time_s > 0
        yield Frame(index, time_s if timed else None, to_bgr8(picture, contrast.frame))
        index += 1


def read_deep_grey(capture: cv2.VideoCapture) -> Optional[str]:
    """Have 16-bit grey video read in full, not only its upper eight bits.

    Returns:
        What is lost, as the end of a sentence; None if nothing is.
    """
    code = struct.pack("<I", int(capture.get(cv2.CAP_PROP_CODEC_PIXEL_FORMAT)) & 0xFFFFFFFF)
    bits = code[3] if code.startswith(_GREY_16[:3]) else code[0] if code.endswith(b"1Y") else 8
    if bits <= 8 or (code == _GREY_16 and capture.set(cv2.CAP_PROP_CONVERT_RGB, 0)):
        return None
    return (
        f"has {bits}-bit grey pixels, of which this OpenCV reads the upper 8 bits; 16-bit grey "
        "in the codec FFV1, or a folder of 16-bit PNG or TIFF images, is read in full"
    )


def is_raw_stream(path: Path) -> bool:
    """Whether a file is encoded video without a container (H.264, H.265, MPEG-4, MJPEG).

    Such a file has no timestamps; FFmpeg makes them up from a rate that it assumes.
    """
    with path.open("rb") as file:
        start = file.read(5)
    # A program stream begins with a pack header (ba), and has a clock.
    raw = start.startswith(b"\0\0\0\1") or (start.startswith(b"\0\0\1") and start[3:4] != b"\xba")
    return raw or start.startswith(b"\xff\xd8\xff")
