"""Width and height of a JPEG or PNG file from its first bytes, without decoding it.

A small file can promise more pixels than memory holds, so the size is read before any decoder
sees the file.
"""

from __future__ import annotations

import struct
from typing import Tuple

from refdet_core.errors import BadReferenceError

_PNG = b"\x89PNG\r\n\x1a\n"
_JPEG = b"\xff\xd8"
# Start-of-frame markers; C4, C8 and CC share the range and are something else.
_FRAME_MARKERS = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_WITHOUT_LENGTH = frozenset({0x01, *range(0xD0, 0xD8)})


def picture_format(content: bytes) -> str:
    """``jpeg``, ``png`` or an empty string."""
    if content.startswith(_PNG):
        return "png"
    return "jpeg" if content.startswith(_JPEG) else ""


def picture_size(content: bytes) -> Tuple[int, int]:
    """Width and height in pixels.

    Raises:
        BadReferenceError: it is no JPEG or PNG file, or its header is damaged.
    """
    kind = picture_format(content)
    try:
        if kind == "png":
            width, height = struct.unpack_from(">II", content, 16)
            return int(width), int(height)
        if kind == "jpeg":
            return _jpeg_size(content)
    except (struct.error, IndexError):
        pass
    raise BadReferenceError("The file is not a complete JPEG or PNG picture.")


def _jpeg_size(content: bytes) -> Tuple[int, int]:
    position = 2
    while True:
        if content[position] != 0xFF:
            raise IndexError
        marker = content[position + 1]
        if marker == 0xFF:  # padding
            position += 1
        elif marker in _WITHOUT_LENGTH:
            position += 2
        elif marker in _FRAME_MARKERS:
            height, width = struct.unpack_from(">HH", content, position + 5)
            return int(width), int(height)
        else:
            (length,) = struct.unpack_from(">H", content, position + 2)
            position += 2 + max(2, length)
