"""Format of the messages to browsers. A picture is a header, a JPEG and perhaps a heatmap."""

from __future__ import annotations

import json
import struct
from typing import Any, Dict


def pack(header: Dict[str, Any], jpeg: bytes, heatmap: bytes = b"") -> bytes:
    """``uint32`` length of the header, the header as JSON, the JPEG, the heatmap's JPEG.

    The header gets the lengths of both as ``jpeg`` and ``heatmap``.
    """
    header = {**header, "jpeg": len(jpeg), "heatmap": len(heatmap)}
    text = json.dumps(header, separators=(",", ":")).encode()
    return b"".join((struct.pack("<I", len(text)), text, jpeg, heatmap))


def text(kind: str, content: Dict[str, Any]) -> str:
    """Any other message, as JSON."""
    return json.dumps({"type": kind, **content}, separators=(",", ":"))
