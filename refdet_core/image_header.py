"""Reads a picture's size from its file's header, before anything is decoded.

A picture of 12000x12000 pixels in one colour is a PNG file of some kilobytes and takes 430 MB of
memory, so the size is checked first.
"""

from __future__ import annotations

import re
import struct
from typing import Callable, Optional, Tuple, Union

from refdet_core.tiff_pages import Size, first_size

Data = Union[bytes, bytearray, memoryview]
Reader = Callable[[memoryview], Optional[Size]]

# Start-of-frame markers of JPEG; DHT (c4), JPG (c8) and DAC (cc) lie between them.
_JPEG_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
# Markers without a length: TEM, RST0-7, SOI.
_JPEG_BARE = frozenset(range(0xD0, 0xD9)) | {0x01}
_PNM_SPACE = rb"(?:\s|#[^\n]*\n)+"
_PNM = re.compile(rb"P[1-6]" + _PNM_SPACE + rb"(\d+)" + _PNM_SPACE + rb"(\d+)\s")


def image_size(data: Data) -> Optional[Size]:
    """Width and height in pixels as a picture file's header states them.

    Args:
        data: the whole file: JPEG, PNG, WebP, TIFF, BMP, PBM, PGM or PPM.

    Returns:
        None if it is none of these, or its header is cut off.
    """
    view = memoryview(data).cast("B")
    _, read = _format_of(view)
    try:
        return read(view) if read else None
    except (struct.error, IndexError):
        return None


def image_format(data: Data) -> str:
    """The format by the file's first bytes, in lower case; empty if it is none of these."""
    return _format_of(memoryview(data).cast("B"))[0]


def _format_of(view: memoryview) -> Tuple[str, Optional[Reader]]:
    start = bytes(view[:16])
    for magic, name, read in _FORMATS:
        if start.startswith(magic):
            return name, read
    return "", None


def _png(view: memoryview) -> Optional[Size]:
    return _unpack(">II", view, 16)


def _bmp(view: memoryview) -> Optional[Size]:
    (header_bytes,) = struct.unpack_from("<I", view, 14)
    width, height = _unpack("<HH" if header_bytes == 12 else "<ii", view, 18)
    return width, abs(height)  # negative: the rows go from top to bottom


def _webp(view: memoryview) -> Optional[Size]:
    kind = bytes(view[12:16])
    if kind == b"VP8X":
        low_x, high_x, low_y, high_y = struct.unpack_from("<HBHB", view, 24)
        return 1 + low_x + (high_x << 16), 1 + low_y + (high_y << 16)
    if kind == b"VP8L":
        (bits,) = struct.unpack_from("<I", view, 21)
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    if kind == b"VP8 ":
        width, height = _unpack("<HH", view, 26)
        return width & 0x3FFF, height & 0x3FFF
    return None


def _jpeg(view: memoryview) -> Optional[Size]:
    position = 2
    while True:
        while view[position] != 0xFF:  # some writers leave bytes between the segments
            position += 1
        while view[position] == 0xFF:
            position += 1
        marker = view[position]
        position += 1
        if marker in _JPEG_FRAMES:
            height, width = _unpack(">HH", view, position + 3)
            return width, height
        if marker not in _JPEG_BARE:
            (length,) = struct.unpack_from(">H", view, position)
            position += length


def _pnm(view: memoryview) -> Optional[Size]:
    found = _PNM.match(bytes(view[:4096]))
    return None if found is None else (int(found.group(1)), int(found.group(2)))


def _unpack(layout: str, view: memoryview, offset: int) -> Size:
    first, second = struct.unpack_from(layout, view, offset)
    return int(first), int(second)


_FORMATS: Tuple[Tuple[bytes, str, Reader], ...] = (
    (b"\xff\xd8\xff", "jpeg", _jpeg),
    (b"\x89PNG\r\n\x1a\n", "png", _png),
    (b"RIFF", "webp", _webp),
    (b"II*\0", "tiff", first_size),
    (b"II+\0", "tiff", first_size),
    (b"MM\0*", "tiff", first_size),
    (b"MM\0+", "tiff", first_size),
    (b"BM", "bmp", _bmp),
    *((b"P%d" % number, "pnm", _pnm) for number in range(1, 7)),
)
