"""Reading pictures from files: any depth OpenCV knows, with a bound on what is decoded."""

from __future__ import annotations

from pathlib import Path
from typing import Callable, Union

import cv2
import numpy as np

from refdet_core.contrast import Contrast
from refdet_core.errors import SourceError
from refdet_core.image_header import image_size
from refdet_core.imaging import PAD_BGR

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp", ".pgm", ".ppm")
ALPHA_SUFFIXES = (".png", ".webp")

MAX_PIXELS = 64 << 20
"""Most pixels that are decoded (200 MB as BGR)."""

Stretch = Callable[[np.ndarray, bool], np.ndarray]
"""Makes a picture uint8, given whether it is of several colours: a method of
:class:`~refdet_core.contrast.Contrast`."""


def read_image(path: Path, stretch: Union[Stretch, None] = None) -> np.ndarray:
    """Read a picture as ``(H, W, 3)`` uint8 BGR, turned upright as its EXIF data says.

    Grey becomes three equal channels; transparent parts of PNG and WebP show the grey that the
    network pads with.

    Args:
        stretch: makes pictures of more than 8 bits uint8; None takes the range they use.

    Raises:
        SourceError: missing, empty, not an image, too large, or cut off.
    """
    path = Path(path)
    check_file(path)
    try:
        data = np.frombuffer(path.read_bytes(), dtype=np.uint8)
    except OSError as error:
        raise SourceError(f"'{path}' cannot be read: {error.strerror}.") from error
    # Decoders turn a cut-off JPEG into a picture with a grey lower part. An end marker after
    # the last start of scan is what tells a whole file.
    content = data.tobytes()
    if content.startswith(b"\xff\xd8") and content.rfind(b"\xff\xd9") < content.rfind(b"\xff\xda"):
        raise SourceError(f"The JPEG '{path}' is cut off; copy it again.")
    picture = decode_image(data, f"'{path}'", path.suffix.lower() in ALPHA_SUFFIXES)
    try:
        return to_bgr8(picture, stretch)
    except SourceError as error:
        raise SourceError(f"'{path}' cannot be used: {error}") from error


def decode_image(data: np.ndarray, what: str, alpha: bool = False) -> np.ndarray:
    """Decode an image file.

    Args:
        data: its bytes, ``(N,)`` uint8.
        what: the file's name for the messages.
        alpha: keep a fourth channel; a file's EXIF orientation is not followed then.

    Returns:
        ``(H, W)``, or ``(H, W, 3)`` BGR, or with ``alpha`` ``(H, W, 4)``; of the file's own depth.

    Raises:
        SourceError: not an image file, cut off, or more than :data:`MAX_PIXELS`.
    """
    size = image_size(data.data)
    if size is None:
        raise SourceError(
            f"{what} ({data.size} bytes) cannot be decoded; a complete JPEG, PNG, WebP, TIFF, BMP "
            "or PNM file is needed."
        )
    width, height = size
    if width * height > MAX_PIXELS:
        raise SourceError(
            f"{what} is {width}x{height} px; at most {MAX_PIXELS / 1e6:.0f} million pixels are "
            "decoded. Shrink or crop it."
        )
    flags = cv2.IMREAD_UNCHANGED if alpha else cv2.IMREAD_ANYCOLOR | cv2.IMREAD_ANYDEPTH
    try:
        picture = cv2.imdecode(data, flags)
    except cv2.error as error:
        raise SourceError(f"{what} cannot be decoded: {error.err}.") from error
    if picture is None or not picture.size:
        raise SourceError(f"{what} cannot be decoded: it is damaged or cut off.")
    return np.asarray(picture)


def to_bgr8(picture: np.ndarray, stretch: Union[Stretch, None] = None) -> np.ndarray:
    """Make a picture of any depth ``(H, W, 3)`` uint8 BGR.

    Args:
        picture: ``(H, W)``, ``(H, W, 1)``, ``(H, W, 3)`` BGR or ``(H, W, 4)`` with alpha.
        stretch: as for :func:`read_image`.

    Raises:
        SourceError: another number of channels.
    """
    channels = 1 if picture.ndim == 2 else picture.shape[2]
    if channels not in (1, 3, 4):
        raise SourceError(f"images of {channels} channels are not supported; use 1, 3 or 4.")
    coloured = picture[:, :, :3] if channels == 4 else picture
    coloured = (stretch or Contrast().still)(coloured, channels > 1)
    if channels == 1:
        return cv2.cvtColor(coloured, cv2.COLOR_GRAY2BGR)
    return _over_grey(coloured, picture[:, :, 3:]) if channels == 4 else coloured


def check_file(path: Path) -> None:
    """Refuse what is no file with content.

    Raises:
        SourceError: missing, not a file, or empty.
    """
    if not path.exists():
        raise SourceError(f"'{path}' does not exist.")
    if not path.is_file():
        raise SourceError(f"'{path}' is not a file.")
    if path.stat().st_size == 0:
        raise SourceError(f"'{path}' is empty (0 bytes).")


def _over_grey(picture_bgr: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    opaque = np.iinfo(alpha.dtype).max if alpha.dtype.kind in "iu" else 1.0
    share = alpha.astype(np.float32) / opaque
    blended = picture_bgr * share + np.array(PAD_BGR, dtype=np.float32) * (1 - share)
    return np.asarray(np.rint(blended).astype(np.uint8))
