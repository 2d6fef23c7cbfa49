"""Reads text files from any editor."""

from __future__ import annotations

import codecs
from pathlib import Path

# Windows editors, Excel and PowerShell write these marks.
_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


def read_text(path: Path, errors: str = "strict") -> str:
    """A text file's content without its byte-order mark: UTF-8, or UTF-16 if the mark says so.

    Args:
        errors: ``strict`` raises on bytes that are not text, ``replace`` replaces them.

    Raises:
        OSError: it cannot be read.
        UnicodeDecodeError: it is not text, and ``errors`` is ``strict``.
    """
    return Path(path).read_text(encoding=text_encoding(path), errors=errors)


def text_encoding(path: Path) -> str:
    """The encoding that ``open`` needs to drop a byte-order mark if there is one.

    Raises:
        OSError: the file cannot be read.
    """
    with Path(path).open("rb") as file:
        start = file.read(3)
    return next((encoding for mark, encoding in _MARKS if start.startswith(mark)), "utf-8")
