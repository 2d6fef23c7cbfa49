"""sensor_msgs images to ``(H, W, 3)`` uint8 BGR arrays, and arrays to messages.

cv_bridge converts the encodings it knows, if it is installed and works; the converter below does
the rest. Both give the same pixels.
"""

from __future__ import annotations

import array
import os
from typing import Any, Callable, Dict, Optional, Tuple

import cv2
import numpy as np
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header

from refdet_core.contrast import Contrast
from refdet_core.errors import RefdetError, SourceError
from refdet_core.image_files import Stretch, decode_image, to_bgr8

JPEG_QUALITY = 90

# encoding: (numpy kind, channels, OpenCV conversion to BGR or None). More than 8 bits become 8 by
# refdet_core.contrast: grey before the conversion, colours after it.
_PACKED: Dict[str, Tuple[str, int, Optional[int]]] = {
    "bgr8": ("u1", 3, None),
    "8UC3": ("u1", 3, None),
    "rgb8": ("u1", 3, cv2.COLOR_RGB2BGR),
    "bgra8": ("u1", 4, cv2.COLOR_BGRA2BGR),
    "8UC4": ("u1", 4, cv2.COLOR_BGRA2BGR),
    "rgba8": ("u1", 4, cv2.COLOR_RGBA2BGR),
    "mono8": ("u1", 1, cv2.COLOR_GRAY2BGR),
    "8UC1": ("u1", 1, cv2.COLOR_GRAY2BGR),
    "bgr16": ("u2", 3, None),
    "16UC3": ("u2", 3, None),
    "rgb16": ("u2", 3, cv2.COLOR_RGB2BGR),
    "bgra16": ("u2", 4, cv2.COLOR_BGRA2BGR),
    "16UC4": ("u2", 4, cv2.COLOR_BGRA2BGR),
    "rgba16": ("u2", 4, cv2.COLOR_RGBA2BGR),
    "mono16": ("u2", 1, cv2.COLOR_GRAY2BGR),
    "16UC1": ("u2", 1, cv2.COLOR_GRAY2BGR),
    "16SC1": ("i2", 1, cv2.COLOR_GRAY2BGR),
    "32SC1": ("i4", 1, cv2.COLOR_GRAY2BGR),
    "32FC1": ("f4", 1, cv2.COLOR_GRAY2BGR),
    "64FC1": ("f8", 1, cv2.COLOR_GRAY2BGR),
    # OpenCV names a Bayer pattern by the second and third pixel of the second row, ROS by the
    # corner.
    "bayer_rggb8": ("u1", 1, cv2.COLOR_BayerBG2BGR),
    "bayer_bggr8": ("u1", 1, cv2.COLOR_BayerRG2BGR),
    "bayer_gbrg8": ("u1", 1, cv2.COLOR_BayerGR2BGR),
    "bayer_grbg8": ("u1", 1, cv2.COLOR_BayerGB2BGR),
    "bayer_rggb16": ("u2", 1, cv2.COLOR_BayerBG2BGR),
    "bayer_bggr16": ("u2", 1, cv2.COLOR_BayerRG2BGR),
    "bayer_gbrg16": ("u2", 1, cv2.COLOR_BayerGR2BGR),
    "bayer_grbg16": ("u2", 1, cv2.COLOR_BayerGB2BGR),
    "yuv422": ("u1", 2, cv2.COLOR_YUV2BGR_UYVY),
    "uyvy": ("u1", 2, cv2.COLOR_YUV2BGR_UYVY),
    "yuv422_yuy2": ("u1", 2, cv2.COLOR_YUV2BGR_YUY2),
    "yuyv": ("u1", 2, cv2.COLOR_YUV2BGR_YUY2),
}
# Full-resolution luma rows, then interleaved chroma rows.
_SEMI_PLANAR = ("nv12", "nv21", "nv24")
SUPPORTED_ENCODINGS = tuple(_PACKED) + _SEMI_PLANAR
_CV_BRIDGE_ENCODINGS = frozenset(
    name for name in _PACKED if name in ("bgr8", "rgb8", "bgra8", "rgba8", "mono8")
)


class ImageError(RefdetError):
    """An image message that cannot be read."""


def image_to_bgr(message: Image, stretch: Optional[Stretch] = None) -> np.ndarray:
    """The image in a raw message. The result of ``bgr8`` shares the message's memory.

    Args:
        stretch: makes pictures of more than 8 bits uint8; None takes the range they use.

    Returns:
        ``(H, W, 3)`` uint8 BGR.

    Raises:
        ImageError: unknown encoding, no pixels, or less data than the message's fields promise.
    """
    encoding = message.encoding
    if encoding not in SUPPORTED_ENCODINGS:
        raise ImageError(
            "The image encoding '{}' is not supported; supported are {}.".format(
                encoding, ", ".join(SUPPORTED_ENCODINGS)
            )
        )
    if not message.width or not message.height:
        raise ImageError(f"The image has no pixels: {message.width}x{message.height}.")
    if _cv_bridge is not None and encoding in _CV_BRIDGE_ENCODINGS:
        _check_size(message, message.height, message.width * _pixel_bytes(encoding))
        return _cv_bridge(message)
    if encoding in _SEMI_PLANAR:
        return _semi_planar(message)
    return _packed(message, stretch or Contrast().still)


def compressed_to_bgr(message: CompressedImage, stretch: Optional[Stretch] = None) -> np.ndarray:
    """The picture in a JPEG, PNG, TIFF or WebP file; ``(H, W, 3)`` uint8 BGR.

    Args:
        stretch: makes pictures of more than 8 bits uint8; None takes the range they use.

    Raises:
        ImageError: it cannot be decoded, or is too large.
    """
    data = np.frombuffer(message.data, dtype=np.uint8)
    try:
        return to_bgr8(decode_image(data, f"The image (format '{message.format}')"), stretch)
    except SourceError as error:
        raise ImageError(str(error)) from error


def to_image(picture: np.ndarray, encoding: str, header: Header) -> Image:
    """An array as a raw message: ``mono8`` from ``(H, W)`` or ``bgr8`` from ``(H, W, 3)`` uint8."""
    data = array.array("B")
    # frombytes takes 0.3 ms at 720p; assigning bytes checks every element in debug mode.
    data.frombytes(np.ascontiguousarray(picture).data.cast("B"))
    message = Image(
        header=header, encoding=encoding, height=picture.shape[0], width=picture.shape[1]
    )
    message.step = picture.strides[0] if picture.flags.c_contiguous else picture[0].nbytes
    message.data = data
    return message


def to_compressed(picture: np.ndarray, encoding: str, header: Header) -> CompressedImage:
    """An array as a JPEG message, with the format string of image_transport's own plugin."""
    data = array.array("B")
    _, jpeg = cv2.imencode(".jpg", picture, (cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY))
    data.frombytes(jpeg.data)
    return CompressedImage(
        header=header, format=f"{encoding}; jpeg compressed {encoding}", data=data
    )


def _pixel_bytes(encoding: str) -> int:
    kind, channels, _ = _PACKED[encoding]
    return np.dtype(kind).itemsize * channels


def _check_size(message: Image, rows: int, row_bytes: int) -> None:
    """Refuse messages that announce more pixels than they contain."""
    if message.step < row_bytes:
        raise ImageError(
            f"The {message.encoding} image of width {message.width} needs rows of at least "
            f"{row_bytes} bytes, its step is {message.step}."
        )
    needed = message.step * (rows - 1) + row_bytes
    if len(message.data) < needed:
        raise ImageError(
            f"The {message.width}x{message.height} {message.encoding} image needs {needed} "
            f"bytes of data, got {len(message.data)}."
        )


def _packed(message: Image, stretch: Stretch) -> np.ndarray:
    """Encodings with interleaved pixels."""
    kind, channels, conversion = _PACKED[message.encoding]
    _check_size(message, message.height, message.width * _pixel_bytes(message.encoding))
    dtype = np.dtype((">" if message.is_bigendian else "<") + kind)
    shape: Tuple[int, ...] = (message.height, message.width, channels)
    strides: Tuple[int, ...] = (message.step, dtype.itemsize * channels, dtype.itemsize)
    if channels == 1:
        shape, strides = shape[:2], strides[:2]
    pixels = np.ndarray(shape, dtype, buffer=message.data, strides=strides)
    if kind != "u1":
        # OpenCV takes neither the other byte order nor rows that begin at an odd address.
        pixels = np.ascontiguousarray(pixels, dtype=np.dtype(kind))
    if channels == 2 and message.width % 2:
        raise ImageError(
            f"A {message.encoding} image has two pixels to a chroma sample; width "
            f"{message.width} is odd."
        )
    if message.encoding.startswith("bayer_") and min(message.width, message.height) < 2:
        raise ImageError(
            f"A Bayer image must be at least 2x2, got {message.width}x{message.height}."
        )
    if channels == 1:
        pixels = stretch(pixels, message.encoding.startswith("bayer_"))
    picture = pixels if conversion is None else cv2.cvtColor(pixels, conversion)
    return np.asarray(stretch(picture, True) if channels > 2 else picture)


def _semi_planar(message: Image) -> np.ndarray:
    """NV12, NV21 (chroma at half size, UV or VU) and NV24 (chroma at full size, UV)."""
    width, height = message.width, message.height
    if width % 2 or height % 2:
        raise ImageError(f"A {message.encoding} image needs even sides, got {width}x{height}.")
    if message.encoding != "nv24":
        rows = height * 3 // 2
        _check_size(message, rows, width)
        planes = np.ndarray((rows, width), np.uint8, buffer=message.data, strides=(message.step, 1))
        code = cv2.COLOR_YUV2BGR_NV12 if message.encoding == "nv12" else cv2.COLOR_YUV2BGR_NV21
        return np.asarray(cv2.cvtColor(planes, code))
    # Chroma rows are twice as long as luma rows and follow with twice the step.
    _check_size(message, 3 * height, width)
    luma = np.ndarray((height, width), np.uint8, buffer=message.data, strides=(message.step, 1))
    chroma = np.ndarray(
        (height, width, 2),
        np.uint8,
        buffer=message.data,
        offset=message.step * height,
        strides=(2 * message.step, 2, 1),
    )
    # OpenCV has no 4:4:4 in the video range; every second chroma sample makes it UYVY.
    uyvy = np.empty((height, width, 2), np.uint8)
    uyvy[:, :, 1] = luma
    uyvy[:, 0::2, 0] = chroma[:, 0::2, 0]
    uyvy[:, 1::2, 0] = chroma[:, 0::2, 1]
    return np.asarray(cv2.cvtColor(uyvy, cv2.COLOR_YUV2BGR_UYVY))


def _find_cv_bridge() -> Optional[Callable[[Image], np.ndarray]]:
    """cv_bridge's conversion, or None if it is missing or unsafe.

    Its compiled part is built against NumPy 1 on Humble and Jazzy and can crash the process
    under NumPy 2, so it is not even tried there. REFDET_CV_BRIDGE=0 does without it.
    """
    if int(np.__version__.split(".")[0]) >= 2 or os.environ.get("REFDET_CV_BRIDGE") == "0":
        return None
    try:
        from cv_bridge import CvBridge

        bridge: Any = CvBridge()
        probe = Image(height=1, width=1, encoding="rgb8", step=3, data=array.array("B", (1, 2, 3)))
        if bridge.imgmsg_to_cv2(probe, "bgr8").tolist() != [[[3, 2, 1]]]:
            return None
    except Exception:
        return None
    return lambda message: np.asarray(bridge.imgmsg_to_cv2(message, "bgr8"))


_cv_bridge = _find_cv_bridge()
