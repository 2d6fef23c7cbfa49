"""Which storage files a damaged bag has, and how each is read. Nothing in the bag is changed."""

from __future__ import annotations

from pathlib import Path

from refdet_ros.bags.compression import COMPRESSED_SUFFIX
from refdet_ros.bags.mcap_part import McapPart
from refdet_ros.bags.salvaged_part import SalvagedPart
from refdet_ros.bags.sqlite_part import SqlitePart

STORAGE_SUFFIXES = (".mcap", ".db3")


def salvage(path: Path) -> SalvagedPart:
    """Read a damaged storage file.

    Raises:
        SourceError: a package for it is missing, or it cannot be copied.
    """
    name = path.name[: -len(COMPRESSED_SUFFIX)] if path.suffix == COMPRESSED_SUFFIX else path.name
    return SqlitePart(path) if name.endswith(".db3") else McapPart(path)


def is_storage(path: Path) -> bool:
    """Whether a file's name is that of a storage file, compressed as a whole or not."""
    return any(
        path.name.endswith(suffix + packed)
        for suffix in STORAGE_SUFFIXES
        for packed in ("", COMPRESSED_SUFFIX)
    )
