"""Reads pictures from files: any depth that OpenCV knows, up to a limit of pixels."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Callable, Optional, Tuple, Union

import cv2
import numpy as np

from refdet_core.contrast import Contrast
from refdet_core.errors import SourceError
from refdet_core.image_header import image_size
from refdet_core.imaging import PAD_BGR
from refdet_core.tiff_pages import TiffPages, choose_page, read_pages

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp", ".pgm", ".ppm")
ALPHA_SUFFIXES = (".png", ".webp")
TIFF_SUFFIXES = (".tif", ".tiff")

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
        path: the file; ``stack.tif#3`` is the fourth page of a TIFF file with several.
        stretch: makes pictures of more than 8 bits uint8; None takes the range they use.

    Raises:
        SourceError: missing, empty, not an image, too large, cut off, or of several pages of which
            none is named.
    """
    file, number = _split_page(Path(path))
    check_file(file)
    data = _load(file)
    # Decoders turn a cut-off JPEG into a picture with a grey lower part. An end marker after
    # the last start of scan is what tells a whole file.
    if data[:2].tobytes() == b"\xff\xd8":
        content = data.tobytes()
        if content.rfind(b"\xff\xd9") < content.rfind(b"\xff\xda"):
            raise SourceError(f"The JPEG '{file}' is cut off; copy it again.")
    offset = _page_offset(read_pages(data), file, number)
    return _picture(data, path, offset, stretch)


def read_page(path: Path, offset: int, stretch: Union[Stretch, None] = None) -> np.ndarray:
    """:func:`read_image` for the page of a TIFF file whose directory is at ``offset``."""
    return _picture(_load(path), path, offset, stretch)


def pages_of(path: Path) -> TiffPages:
    """The pages of a TIFF file; no offsets for files of other formats.

    Raises:
        SourceError: missing, empty, or not readable.
    """
    if path.suffix.lower() not in TIFF_SUFFIXES:
        return TiffPages(())
    check_file(path)
    return read_pages(_load(path))


def page_name(file_name: str, number: int) -> str:
    """What :func:`read_image` calls a page, counted from 0."""
    return f"{file_name}#{number}"


def decode_image(
    data: np.ndarray, what: str, alpha: bool = False, page_offset: Optional[int] = None
) -> np.ndarray:
    """Decode an image file.

    Args:
        data: its bytes, ``(N,)`` uint8.
        what: the file's name for the messages.
        alpha: keep a fourth channel; a file's EXIF orientation is not followed then.
        page_offset: of a TIFF page's directory; ``data`` are changed. None: a file of one page.

    Returns:
        ``(H, W)``, or ``(H, W, 3)`` BGR, or with ``alpha`` ``(H, W, 4)``; of the file's own depth.

    Raises:
        SourceError: not an image file, cut off, of several pages, or more than
            :data:`MAX_PIXELS`.
    """
    if page_offset is not None:
        choose_page(data, page_offset)
    elif len(read_pages(data).offsets) > 1:
        raise SourceError(f"{what} has several pages; give one of them as a picture of its own.")
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
    """Refuse a path that is not a file with content.

    Raises:
        SourceError: missing, not a file, or empty.
    """
    if not path.exists():
        raise SourceError(f"'{path}' does not exist.")
    if not path.is_file():
        raise SourceError(f"'{path}' is not a file.")
    if path.stat().st_size == 0:
        raise SourceError(f"'{path}' is empty (0 bytes).")


def _split_page(path: Path) -> Tuple[Path, Optional[int]]:
    """The file and the number of the page that a path names; None if it names none."""
    found = re.fullmatch(r"(.+\.tiff?)#([0-9]+)", path.name, re.IGNORECASE)
    if found is None or path.exists():
        return path, None
    return path.with_name(found.group(1)), int(found.group(2))


def _load(path: Path) -> np.ndarray:
    """A file's bytes, ``(N,)`` uint8; a TIFF file, which may not fit into memory, is mapped."""
    try:
        if path.suffix.lower() in TIFF_SUFFIXES:
            return np.memmap(path, np.uint8, mode="c")
        return np.frombuffer(path.read_bytes(), dtype=np.uint8)
    except OSError as error:
        raise SourceError(f"'{path}' cannot be read: {error.strerror}.") from error


def _page_offset(pages: TiffPages, path: Path, number: Optional[int]) -> Optional[int]:
    count = len(pages.offsets)
    if number is None:
        if count > 1:
            raise SourceError(
                f"'{path}' has {count} pages; name the one to use: "
                f"'{page_name(path.name, 0)}' is the first, "
                f"'{page_name(path.name, count - 1)}' the last."
            )
        return None
    if number >= count:
        raise SourceError(
            f"'{path}' has no page {number}: its {count} pages are counted from 0."
            if count
            else f"'{path}' is no TIFF file, so it has no page {number}."
        )
    return pages.offsets[number]


def _picture(
    data: np.ndarray, path: Path, page_offset: Optional[int], stretch: Union[Stretch, None]
) -> np.ndarray:
    alpha = path.suffix.lower() in ALPHA_SUFFIXES
    picture = decode_image(data, f"'{path}'", alpha, page_offset)
    try:
        return to_bgr8(picture, stretch)
    except SourceError as error:
        raise SourceError(f"'{path}' cannot be used: {error}") from error


def _over_grey(picture_bgr: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    opaque = np.iinfo(alpha.dtype).max if alpha.dtype.kind in "iu" else 1.0
    share = alpha.astype(np.float32) / opaque
    blended = picture_bgr * share + np.array(PAD_BGR, dtype=np.float32) * (1 - share)
    return np.asarray(np.rint(blended).astype(np.uint8))
