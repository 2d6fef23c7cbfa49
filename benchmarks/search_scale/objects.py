"""The objects to look for, read straight from data sets as people have them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from refdet_core.errors import SourceError
from refdet_training.datasets.instance import Instance
from refdet_training.datasets.problems import Problems
from refdet_training.datasets.readers import AUTO, FORMATS, find_format

PLACES = "places.json"


def load_objects(
    data: Path, sources: Sequence[str], left_out: Sequence[str] = ()
) -> list[Instance]:
    """Every labelled object; videos of one place are one family.

    Args:
        data: a folder of data sets; ``places.json`` in it may say which videos show one place.
        sources: names of data sets in it.
        left_out: names of videos that are not used.

    Raises:
        SourceError: a data set is missing, or nothing is left.
    """
    place_of = _places(data / PLACES)
    found = [
        item
        for source in sources
        for item in _read(data / source, source, place_of)
        if item.video_id not in left_out
    ]
    if not found:
        raise SourceError(f"{data} has no labelled object in {', '.join(sources)} to measure on.")
    return found


def _read(folder: Path, source: str, place_of: Mapping[str, str]) -> Iterator[Instance]:
    for video in FORMATS[find_format(AUTO, folder)].read(folder, Problems()):
        place = place_of.get(video.video_id, video.video_id)
        for item in video.objects:
            frames = {n: video.frames[n] for n in item.labelled if n in video.frames}
            boxes = {n: box for n, box in item.boxes_xyxy.items() if n in frames}
            if boxes:
                yield Instance(
                    item.object_id, video.video_id, source, place, item.kind, frames, boxes
                )


def _places(file: Path) -> dict[str, str]:
    """The place of each video; empty without the file."""
    if not file.is_file():
        return {}
    places = json.loads(file.read_text(encoding="utf-8"))["places"]
    return {video: place for place, videos in places.items() for video in videos}
