"""Reads the documentation of a dataclass's fields from its docstring."""

from __future__ import annotations

import inspect
import re
from typing import Dict, List

_ENTRY = re.compile(r" {4}(\w+(?:, \w+)*): (.+)")
_CONTINUATION = re.compile(r" {8}(\S.*)")
_ROLE = re.compile(r":\w+:`~?(?:\w+\.)*(\w+)`")


def attribute_docs(cls: type) -> Dict[str, str]:
    """One plain sentence for each field, from the ``Attributes:`` of a class and of its bases.

    Several fields may share an entry (``width, height: ...``); a base's entry is found unless the
    class has its own.
    """
    found: Dict[str, str] = {}
    for base in reversed(cls.__mro__):
        for names, text in _entries(inspect.cleandoc(base.__doc__ or "")):
            for name in names.split(", "):
                found[name] = _plain(text)
    return found


def _entries(doc: str) -> List[List[str]]:
    """``[names, text]`` of each entry; continuation lines are joined."""
    entries: List[List[str]] = []
    for line in doc.partition("Attributes:\n")[2].splitlines():
        entry, continuation = _ENTRY.fullmatch(line), _CONTINUATION.fullmatch(line)
        if entry:
            entries.append([entry[1], entry[2]])
        elif continuation and entries:
            entries[-1][1] += " " + continuation[1]
        else:
            break
    return entries


def _plain(text: str) -> str:
    """Plain text without reStructuredText markup, starting with a capital letter."""
    text = _ROLE.sub(r"\1", text).replace("``", "'")
    return text[:1].upper() + text[1:]
