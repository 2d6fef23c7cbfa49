"""The pages of a TIFF file, such as the frames of a thermal recording, read from its directories.

OpenCV decodes the page that the header points to. So a page is chosen by its offset in the header,
without reading the pages before it, and by any version of OpenCV. The layout is that of the TIFF
6.0 specification, section 2, and of BigTIFF.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Dict, NamedTuple, Optional, Tuple, Union

import numpy as np

Size = Tuple[int, int]

_SUBFILE_TYPE, _WIDTH, _HEIGHT = 254, 256, 257
_REDUCED_OR_MASK = 0b101
_NUMBERS = {3: "H", 4: "I", 16: "Q"}
_MOST_TAGS = 4096


class _Layout(NamedTuple):
    """How a TIFF or BigTIFF file writes its directories; values as ``struct`` codes or bytes."""

    order: str
    offset_code: str
    first: int
    count_code: str
    tag_bytes: int
    value_at: int


@dataclass(frozen=True)
class TiffPages:
    """The pages that are pictures of the first one's size.

    Attributes:
        offsets: of their directories in the file.
        others: numbers of the pages of another size, without thumbnails and masks marked as such.
        cut_off: the file ends before its last page.
    """

    offsets: Tuple[int, ...]
    others: Tuple[int, ...] = ()
    cut_off: bool = False


@dataclass(frozen=True)
class _Directory:
    numbers: Dict[int, int]
    end: int

    @property
    def size(self) -> Optional[Size]:
        if _WIDTH not in self.numbers or _HEIGHT not in self.numbers:
            return None
        return self.numbers[_WIDTH], self.numbers[_HEIGHT]


def is_tiff(view: memoryview) -> bool:
    """Whether a file begins as TIFF and BigTIFF files do."""
    return bytes(view[:4]) in (b"II*\0", b"II+\0", b"MM\0*", b"MM\0+")


def first_size(view: memoryview) -> Optional[Size]:
    """Width and height of the page that the header points to; None if they are not stated.

    Raises:
        struct.error: the file is cut off.
    """
    layout = _layout(view)
    return _directory(view, layout, _offset(view, layout, layout.first)).size


def read_pages(data: Union[bytes, np.ndarray]) -> TiffPages:
    """List the pages of a TIFF file; no offsets if the data are none, or are cut off before one."""
    view = _view(data)
    offsets, others, size = [], [], None
    if not is_tiff(view):
        return TiffPages(())
    layout = _layout(view)
    seen = set()
    try:
        offset = _offset(view, layout, layout.first)
        while offset and offset not in seen:  # a chain that leads back to itself has ended
            seen.add(offset)
            directory = _directory(view, layout, offset)
            if not directory.numbers.get(_SUBFILE_TYPE, 0) & _REDUCED_OR_MASK:
                size = size or directory.size
                if directory.size == size:
                    offsets.append(offset)
                else:
                    others.append(len(seen) - 1)
            offset = _offset(view, layout, directory.end)
    except struct.error:
        return TiffPages(tuple(offsets), tuple(others), cut_off=True)
    return TiffPages(tuple(offsets), tuple(others))


def choose_page(data: np.ndarray, offset: int) -> None:
    """Let the header of a TIFF file point to the page whose directory is at ``offset``.

    Args:
        data: the file, ``(N,)`` uint8; changed in place.
    """
    layout = _layout(_view(data))
    struct.pack_into(layout.order + layout.offset_code, _view(data), layout.first, offset)


def _view(data: Union[bytes, np.ndarray]) -> memoryview:
    return memoryview(data if isinstance(data, bytes) else data.data).cast("B")


def _layout(view: memoryview) -> _Layout:
    order = "<" if view[0] == ord("I") else ">"
    (version,) = struct.unpack_from(order + "H", view, 2)
    if version == 43:  # BigTIFF
        return _Layout(order, "Q", 8, "Q", 20, 12)
    return _Layout(order, "I", 4, "H", 12, 8)


def _offset(view: memoryview, layout: _Layout, position: int) -> int:
    (offset,) = struct.unpack_from(layout.order + layout.offset_code, view, position)
    return int(offset)


def _directory(view: memoryview, layout: _Layout, offset: int) -> _Directory:
    (count,) = struct.unpack_from(layout.order + layout.count_code, view, offset)
    tags = offset + struct.calcsize(layout.order + layout.count_code)
    numbers = {}
    for position in range(tags, tags + min(count, _MOST_TAGS) * layout.tag_bytes, layout.tag_bytes):
        tag, kind = struct.unpack_from(layout.order + "HH", view, position)
        if tag in (_SUBFILE_TYPE, _WIDTH, _HEIGHT) and kind in _NUMBERS:
            code = layout.order + _NUMBERS[kind]
            (numbers[tag],) = struct.unpack_from(code, view, position + layout.value_at)
    return _Directory(numbers, tags + count * layout.tag_bytes)
