"""Contiguous labelled video, read directly from a data set.

Nothing is prepared or re-encoded: every frame is used as the decoder returns it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2

from refdet_core.errors import ConfigError, SourceError
from refdet_core.video_file import FALLBACK_FPS
from refdet_training.datasets.instance import Instance
from refdet_training.datasets.problems import Problems
from refdet_training.datasets.readers import AUTO, FORMATS, find_format
from refdet_training.datasets.readers.record import ObjectTrack, Video
from refdet_training.datasets.rows import Naming
from refdet_training.datasets.splits import read_splits
from refdet_training.evaluation.detection_protocol import Skipped
from refdet_training.evaluation.tracking_protocol import sequence

MIN_FRAMES = 10
SPLITS = "splits.json"
SCENES = r"(?P<people>person|group)|(?P<water>wakeboard|boat)|_([A-Z]+)_|^([A-Za-z]+)"
"""The scene of a video, by its name: boats and wakeboards share a lake, and clips of one kind of
aircraft may show the same one. A video of another scene cannot show the object."""


@dataclass(frozen=True)
class Footage:
    """One object in the longest contiguous run of labelled frames that starts with the object in
    view.

    Attributes:
        instance: the object; ``family`` is its scene.
        numbers: frame numbers, ascending.
        fps: the video's frames per second.
        frame_size: ``(width, height)`` in pixels.
    """

    instance: Instance
    numbers: tuple[int, ...]
    fps: float
    frame_size: tuple[int, int]

    @property
    def source(self) -> str:
        return self.instance.source

    @property
    def video_id(self) -> str:
        return self.instance.video_id

    @property
    def object_id(self) -> str:
        return self.instance.object_id


@dataclass(frozen=True)
class Choice:
    """The choice of footage.

    Attributes:
        data: a folder of data sets, each in a format of :mod:`refdet_training.datasets.readers`,
            with ``splits.json`` beside them.
        sources: names of these data sets.
        split: of ``splits.json``.
        frames: at most the first N of each sequence; 0: all.
        scenes: regular expression for a video's name, as the ``family_pattern`` of
            :class:`refdet_training.datasets.rows.Naming`: what it finds names the scene.
    """

    data: Path
    sources: tuple[str, ...]
    split: str
    frames: int = 0
    scenes: str = SCENES


def load_footage(choice: Choice) -> tuple[list[Footage], list[Skipped]]:
    """The sequences, and those that are too short or whose video cannot be read.

    Raises:
        SourceError: a data set is missing, or has nothing to measure.
    """
    missing = [name for name in choice.sources if not (choice.data / name).is_dir()]
    if missing:
        raise SourceError(
            f"{choice.data} has no folder {' or '.join(missing)}. Point --data at the folder that "
            "holds the data sets, or name others with --sources."
        )
    found: list[Footage] = []
    skipped: list[Skipped] = []
    for source in choice.sources:
        for video in _videos(choice, source):
            for item in video.objects:
                footage = _footage(choice, source, video, item)
                if isinstance(footage, Skipped):
                    skipped.append(footage)
                else:
                    found.append(footage)
    if not found:
        raise SourceError(
            f"Nothing to measure: the split '{choice.split}' of {', '.join(choice.sources)} in "
            f"{choice.data} has no sequence of {MIN_FRAMES} frames or more."
        )
    return found, skipped


def named(footages: Sequence[Footage], videos: Sequence[str]) -> list[Footage]:
    """The footage of the named videos; all if none is named.

    Raises:
        ConfigError: there is no such video.
    """
    known = list(dict.fromkeys(item.video_id for item in footages))
    unknown = [name for name in videos if name not in known]
    if unknown:
        raise ConfigError(f"There is no video {', '.join(unknown)}; there are {', '.join(known)}.")
    return [item for item in footages if not videos or item.video_id in videos]


def _videos(choice: Choice, source: str) -> Iterable[Video]:
    folder = choice.data / source
    listed = read_splits(choice.data / SPLITS, (source,))
    if choice.split not in listed:
        raise SourceError(
            f"{choice.data / SPLITS} has no split '{choice.split}' for {source}; it has "
            f"{sorted(listed)}."
        )
    wanted = set(listed[choice.split])
    videos = FORMATS[find_format(AUTO, folder)].read(folder, Problems())
    return [video for video in videos if video.video_id in wanted]


def _footage(choice: Choice, source: str, video: Video, item: ObjectTrack) -> Footage | Skipped:
    labelled = {number: video.frames[number] for number in item.labelled if number in video.frames}
    boxes = {number: box for number, box in item.boxes_xyxy.items() if number in labelled}
    scene = Naming(source, choice.scenes, "").family(video)
    instance = Instance(item.object_id, video.video_id, source, scene, item.kind, labelled, boxes)
    numbers: Sequence[int] = sequence(instance)
    if choice.frames:
        numbers = numbers[: choice.frames]
    if len(numbers) < MIN_FRAMES:
        reason = f"its longest contiguous run has {len(numbers)} frames, {MIN_FRAMES} are needed"
        return Skipped.of(instance, reason)
    first = labelled[numbers[0]]
    try:
        height, width = first.read().shape[:2]
    except SourceError as error:
        return Skipped.of(instance, str(error))
    return Footage(instance, tuple(numbers), _rate(first.path), (width, height))


def _rate(path: Path) -> float:
    """Frames per second of a video file; pictures have no times."""
    rate = float(cv2.VideoCapture(str(path)).get(cv2.CAP_PROP_FPS))
    return rate if rate > 0 else FALLBACK_FPS
