"""The frames of each object, and the distractors that may replace it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple

from refdet_core.boxes import mean_side
from refdet_core.types import BoxXYXY
from refdet_training.augment import Rng
from refdet_training.datasets.instance import Instance

_TRIES = 4


class ObjectFrame(NamedTuple):
    """An instance in one frame that shows it."""

    instance: Instance
    number: int

    @property
    def box_xyxy(self) -> BoxXYXY:
        return self.instance.boxes_xyxy[self.number]


def frames_by_object(
    instances: Sequence[Instance], smallest_px: float
) -> list[tuple[ObjectFrame, ...]]:
    """All frames of each object, in order of time. Frames that show it smaller than ``smallest_px``
    (square root of the area) are skipped, and so are objects without any frame left.

    Instances of one source and family with one name are the same object in several videos.
    """
    found: dict[tuple[str, str, str], list[ObjectFrame]] = defaultdict(list)
    for item in instances:
        found[item.source, item.family, item.object_id].extend(
            ObjectFrame(item, number)
            for number in item.present
            if mean_side(item.boxes_xyxy[number]) >= smallest_px
        )
    return [tuple(object_frames) for object_frames in found.values() if object_frames]


class DistractorSampler:
    """Finds objects that could be mistaken for another.

    Args:
        instances: all candidates.
    """

    def __init__(self, instances: Sequence[Instance]) -> None:
        self._in_video: dict[tuple[str, str], list[Instance]] = defaultdict(list)
        self._of_kind: dict[str, list[Instance]] = defaultdict(list)
        for item in instances:
            self._in_video[item.source, item.video_id].append(item)
            if item.kind and item.present:
                self._of_kind[item.kind.casefold()].append(item)

    def beside(
        self, object_frames: Sequence[ObjectFrame], rng: Rng
    ) -> tuple[ObjectFrame, ObjectFrame] | None:
        """An appearance of the object, and one of another object in the same frame.

        Only such a frame proves that the two differ, and shows where the object itself is.
        """
        for _ in range(_TRIES):
            own = object_frames[int(rng.integers(len(object_frames)))]
            others = [
                ObjectFrame(item, own.number)
                for item in self._in_video[own.instance.source, own.instance.video_id]
                if item.object_id != own.instance.object_id and own.number in item.boxes_xyxy
            ]
            if others:
                return own, others[rng.integers(len(others))]
        return None

    def of_same_kind(self, instance: Instance, rng: Rng) -> ObjectFrame | None:
        """Another of its kind, from another family."""
        candidates = self._of_kind[instance.kind.casefold()] if instance.kind else []
        for _ in range(_TRIES):
            if not candidates:
                break
            other = candidates[rng.integers(len(candidates))]
            if (other.source, other.family) != (instance.source, instance.family):
                return ObjectFrame(other, other.present[int(rng.integers(len(other.present)))])
        return None
