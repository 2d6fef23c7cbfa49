"""The supported formats, one reader module for each."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from refdet_core.errors import ConfigError, SourceError
from refdet_training.datasets.problems import Problems
from refdet_training.datasets.readers import coco, got10k, lasot, mot, refdet, yolo
from refdet_training.datasets.readers.record import Video


@dataclass(frozen=True)
class Format:
    """How to recognise and read one format.

    Attributes:
        looks_like: what its folder looks like, for people.
        detect: whether a folder looks like that.
        read: yields the videos and adds what is wrong to the problems.
    """

    looks_like: str
    detect: Callable[[Path], bool]
    read: Callable[[Path, Problems], Iterator[Video]]


FORMATS = {
    "refdet": Format(refdet.LOOKS_LIKE, refdet.detect, refdet.read),
    "lasot": Format(lasot.LOOKS_LIKE, lasot.detect, lasot.read),
    "got10k": Format(got10k.LOOKS_LIKE, got10k.detect, got10k.read),
    "coco": Format(coco.LOOKS_LIKE, coco.detect, coco.read),
    "yolo": Format(yolo.LOOKS_LIKE, yolo.detect, yolo.read),
    "mot": Format(mot.LOOKS_LIKE, mot.detect, mot.read),
}
AUTO = "auto"


def find_format(name: str, folder: Path) -> str:
    """The format's name, detected from the folder when ``name`` is "auto".

    Raises:
        ConfigError: there is no such format, or the folder could be of several.
        SourceError: the folder is not there, or looks like none of the formats.
    """
    if name != AUTO and name not in FORMATS:
        raise ConfigError(f"There is no format '{name}'; choose one of {[AUTO, *FORMATS]}.")
    if not folder.is_dir():
        raise SourceError(f"{folder} is not a folder.")
    if name != AUTO:
        return name
    found = [key for key, item in FORMATS.items() if item.detect(folder)]
    if len(found) > 1:
        raise ConfigError(f"{folder} could be any of {found}; say which one with --format.")
    if not found:
        known = "\n".join(f"  {key:7} {item.looks_like}" for key, item in FORMATS.items())
        raise SourceError(
            f"{folder} looks like none of the known formats. It should be one of\n{known}\n"
            "Point --data at the data set's own folder, not at one above it."
        )
    return found[0]
