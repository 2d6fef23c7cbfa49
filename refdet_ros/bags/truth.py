"""Ground-truth boxes of a bag or video, from JSON.

The file is a list with one entry per video (or one such entry)::

    [{"video_id": "car16", "annotations": [
        {"object_id": "car16_1", "labelled_frames": [0, 69],
         "bboxes": [{"frame": 0, "x1": 555.0, "y1": 252.0, "x2": 577.0, "y2": 268.0}, ...],
         "references": [{"frame": 3, "x1": ...}, ...]}]}]

``frame`` is the 0-based number of the image. Inside ``labelled_frames`` (first and last, inclusive)
a frame without a box does not show the object; outside, nothing is known. ``references`` is
optional: boxes that make good reference photos.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Iterable, Mapping, Sequence

from refdet_core.errors import ConfigError, SourceError
from refdet_core.metrics import GroundTruth
from refdet_core.text_files import read_text
from refdet_core.types import BoxXYXY


@dataclass(frozen=True)
class AnnotatedObject:
    """One object of a video.

    Attributes:
        truth: its boxes.
        references: its box by frame, for good reference photos; may be empty.
    """

    truth: GroundTruth
    references: Mapping[int, BoxXYXY] = field(default_factory=dict)

    def shifted(self, first_frame: int) -> AnnotatedObject:
        """The same with frames counted from ``first_frame``, where the bag starts."""
        first, last = self.truth.labelled_frames
        truth = GroundTruth(
            self.truth.object_id,
            (first - first_frame, last - first_frame),
            _shift(self.truth.boxes_xyxy, first_frame),
        )
        return AnnotatedObject(truth, _shift(self.references, first_frame))

    def within(self, frame_count: int) -> AnnotatedObject:
        """The same without references beyond a bag's number of frames."""
        inside = {n: box for n, box in self.references.items() if 0 <= n < frame_count}
        return AnnotatedObject(self.truth, inside)

    def spread_references(self, count: int, frame_count: int) -> dict[int, BoxXYXY]:
        """``count`` boxes by frame, evenly spread over a bag's frames."""
        frames = sorted(frame for frame in self.truth.boxes_xyxy if 0 <= frame < frame_count)
        if len(frames) > count > 1:
            frames = [frames[round(i * (len(frames) - 1) / (count - 1))] for i in range(count)]
        return {frame: self.truth.boxes_xyxy[frame] for frame in frames[:count]}


def load_ground_truth(
    path: Path, object_ids: Sequence[str] | None = None, video_id: str | None = None
) -> list[AnnotatedObject]:
    """Read annotated objects.

    Args:
        path: the JSON file.
        object_ids: only these, in this order; None: all.
        video_id: which video, if the file has several.

    Raises:
        SourceError: the file is missing or has another form; the message says where.
        ConfigError: there is no such video or object.
    """
    path = Path(path)
    try:
        content = json.loads(read_text(path))
    except OSError as error:
        raise SourceError(f"The ground truth '{path}' cannot be read: {error.strerror}.") from error
    except ValueError as error:
        raise SourceError(f"The ground truth '{path}' is not JSON: {error}.") from error
    try:
        videos = {str(entry["video_id"]): entry for entry in _as_list(content)}
        if not videos:
            raise SourceError(f"The ground truth '{path}' describes no video.")
        video = videos[_choose(video_id, videos, path)]
        objects = [_object(entry) for entry in video["annotations"]]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        reason = f"'{error.args[0]}' is missing" if isinstance(error, KeyError) else error
        raise SourceError(
            f"The ground truth '{path}' is not of the expected form (a list of videos with "
            f"'video_id' and 'annotations'): {reason}."
        ) from error
    if not objects:
        raise SourceError(f"The ground truth '{path}' has no annotated object.")
    return _select(objects, object_ids, path)


def _as_list(content: Any) -> list[Any]:
    if isinstance(content, dict):
        return [content]
    if not isinstance(content, list):
        raise TypeError(f"the file holds a {type(content).__name__}")
    return content


def _choose(video_id: str | None, videos: Mapping[str, Any], path: Path) -> str:
    if video_id is None and len(videos) == 1:
        return next(iter(videos))
    if video_id is None or video_id not in videos:
        asked = f"has no video '{video_id}'" if video_id else "has several videos"
        raise ConfigError(
            "'{}' {}; choose one with --video-id: {}.".format(path, asked, ", ".join(videos))
        )
    return video_id


def _object(entry: Mapping[str, Any]) -> AnnotatedObject:
    boxes = _boxes(entry["bboxes"])
    first, last = (int(frame) for frame in entry["labelled_frames"])
    outside = [frame for frame in boxes if not first <= frame <= last]
    if outside:
        raise ValueError(
            f"'{entry['object_id']}' has a box in frame {outside[0]}, "
            f"outside labelled_frames {first}-{last}"
        )
    truth = GroundTruth(str(entry["object_id"]), (first, last), boxes)
    return AnnotatedObject(truth, _boxes(entry.get("references", ())))


def _boxes(entries: Iterable[Mapping[str, Any]]) -> dict[int, BoxXYXY]:
    boxes: dict[int, BoxXYXY] = {}
    for box in entries:
        x1, y1, x2, y2 = (float(box[name]) for name in ("x1", "y1", "x2", "y2"))
        if not (x2 > x1 and y2 > y1):
            raise ValueError(f"the box of frame {box['frame']} has no area")
        boxes[int(box["frame"])] = (x1, y1, x2, y2)
    return boxes


def _shift(boxes: Mapping[int, BoxXYXY], first_frame: int) -> dict[int, BoxXYXY]:
    return {frame - first_frame: box for frame, box in boxes.items()}


def _select(
    objects: list[AnnotatedObject], object_ids: Sequence[str] | None, path: Path
) -> list[AnnotatedObject]:
    if not object_ids:
        return objects
    known = {entry.truth.object_id: entry for entry in objects}
    for object_id in object_ids:
        if object_id not in known:
            raise ConfigError(
                "'{}' has no object '{}'; it has: {}.".format(path, object_id, ", ".join(known))
            )
    return [known[object_id] for object_id in object_ids]
