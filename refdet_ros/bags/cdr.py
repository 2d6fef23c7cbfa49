"""Reads and replaces the header stamp inside serialised messages.

A message whose first field is a std_msgs/Header starts, in plain CDR, with four bytes of
encapsulation (the second one tells the byte order), then ``int32 sec`` and ``uint32 nanosec``,
both aligned. So restamping a megapixel image changes only eight bytes.
"""

from __future__ import annotations

import struct
from typing import Any

from refdet_core.errors import RefdetError

_STAMP = slice(4, 12)
_BYTE_ORDERS = {0x00: ">", 0x01: "<"}
_NS = 1_000_000_000


def split_ns(time_ns: int) -> tuple[int, int]:
    """Nanoseconds as ROS seconds and nanoseconds."""
    return divmod(time_ns, _NS)


def has_header(message_class: Any) -> bool:
    """Whether a rosidl message class starts with a std_msgs/Header."""
    fields = message_class.get_fields_and_field_types()
    return bool(fields) and next(iter(fields.values())) == "std_msgs/Header"


def read_stamp_ns(cdr: bytes) -> int:
    """The header stamp of a serialised message with a header, in nanoseconds."""
    sec, nanosec = struct.unpack(_byte_order(cdr) + "iI", cdr[_STAMP])
    return int(sec) * _NS + int(nanosec)


def read_frame_id(cdr: bytes) -> str:
    """The header's frame_id of a serialised message with a header."""
    order = _byte_order(cdr)
    (length,) = struct.unpack(order + "I", cdr[_STAMP.stop : _STAMP.stop + 4])
    text = cdr[_STAMP.stop + 4 : _STAMP.stop + 4 + length]
    return bytes(text).rstrip(b"\0").decode("utf-8", "replace")


def restamp(cdr: bytes, time_ns: int) -> bytes:
    """A copy of a serialised message with another header stamp."""
    stamp = struct.pack(_byte_order(cdr) + "iI", *split_ns(time_ns))
    return b"".join((cdr[: _STAMP.start], stamp, memoryview(cdr)[_STAMP.stop :]))


def _byte_order(cdr: bytes) -> str:
    if len(cdr) < _STAMP.stop or cdr[0] != 0 or cdr[1] not in _BYTE_ORDERS:
        raise RefdetError(
            "A message of {} bytes starting with {} is not plain CDR with a header; it cannot be "
            "restamped.".format(len(cdr), bytes(cdr[:4]).hex() or "nothing")
        )
    return _BYTE_ORDERS[cdr[1]]
