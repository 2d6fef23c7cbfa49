"""The detection protocol: references come from a video's first frames, every later frame is
searched independently, and frames of other videos serve as absent ones.

Any :class:`FrameDetector` can be measured: the detector of a bundle, or the untrained baselines.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from tqdm import tqdm

from refdet_core.boxes import mean_side
from refdet_core.errors import BadReferenceError, ConfigError, SourceError
from refdet_core.metrics import box_iou
from refdet_core.templates import MAX_REFERENCES
from refdet_core.types import BoxXYXY, Reference
from refdet_training.datasets.instance import FrameRef, Instance

Item = TypeVar("Item")


class FrameDetector(ABC):
    """A detector under evaluation: takes references, then finds the object in frames."""

    @abstractmethod
    def set_references(self, references: Sequence[Reference]) -> None:
        """Set 1-5 references of a new object, which replaces the previous one."""

    @abstractmethod
    def detect(self, frame_bgr: np.ndarray) -> tuple[BoxXYXY, float]:
        """The best box in frame pixels and its score in [0, 1]."""

    def close(self) -> None:  # noqa: B027 - most detectors hold nothing that must be released
        """Release the detector's resources."""


@dataclass(frozen=True)
class DetectionProtocol:
    """The choice of frames.

    Attributes:
        references: photos per object, spread over the first ``reference_share`` of its frames.
        reference_share: share of the frames that show the object.
        frames: number of later frames per object, evenly spread; those without the object count as
            absent.
        absent: number of frames per object from other families' videos of the same source.
        min_present: objects seen in fewer frames are skipped.
        same_camera: whether the references count as frames of the searched camera, which tells the
            detector the object's size; otherwise they count as other photos.
    """

    references: int = 3
    reference_share: float = 0.1
    frames: int = 30
    absent: int = 20
    min_present: int = 20
    same_camera: bool = True

    def __post_init__(self) -> None:
        if not 1 <= self.references <= MAX_REFERENCES:
            raise ConfigError(
                f"The protocol takes 1 to {MAX_REFERENCES} references, got {self.references}."
            )
        if self.frames < 1 or self.absent < 0:
            raise ConfigError(
                "The protocol needs at least 1 frame per object and no negative number of absent "
                f"ones, got {self.frames} and {self.absent}."
            )
        if self.min_present <= self.references:
            raise ConfigError(
                f"min_present ({self.min_present}) must be larger than references "
                f"({self.references}): some frame must be left to search."
            )


@dataclass(frozen=True)
class Query:
    """One frame to search for an object: of its own video, or of another (``shown``)."""

    wanted: Instance
    shown: Instance
    frame: int

    @property
    def truth_xyxy(self) -> BoxXYXY | None:
        """Where the wanted object is; None: not in this frame."""
        return self.wanted.boxes_xyxy.get(self.frame) if self.shown is self.wanted else None


@dataclass(frozen=True)
class Prediction:
    """The detector's answer for one frame, with the truth.

    Attributes:
        source, object_video, object_id: the object.
        video_id, frame, picture: the searched frame.
        score: score of ``box_xyxy``, the best answer.
        truth_xyxy: where the object is; None: not in this frame.
    """

    source: str
    object_video: str
    object_id: str
    video_id: str
    frame: int
    picture: FrameRef
    score: float
    box_xyxy: BoxXYXY
    truth_xyxy: BoxXYXY | None

    @property
    def present(self) -> bool:
        return self.truth_xyxy is not None

    @property
    def iou(self) -> float:
        """Overlap of answer and truth; 0 where the object is absent."""
        return box_iou(self.box_xyxy, self.truth_xyxy) if self.truth_xyxy is not None else 0.0

    @property
    def centre_hit(self) -> bool:
        """The answer's centre lies in the true box."""
        return self.truth_xyxy is not None and hits_centre(self.box_xyxy, self.truth_xyxy)

    @property
    def object_px(self) -> float:
        """The object's size, see :func:`~refdet_core.boxes.mean_side`; 0 where it is absent."""
        return mean_side(self.truth_xyxy) if self.truth_xyxy is not None else 0.0


def hits_centre(box_xyxy: BoxXYXY, truth_xyxy: BoxXYXY) -> bool:
    """Whether the answer's centre lies in the true box."""
    x1, y1, x2, y2 = truth_xyxy
    x, y = (box_xyxy[0] + box_xyxy[2]) / 2, (box_xyxy[1] + box_xyxy[3]) / 2
    return x1 <= x <= x2 and y1 <= y <= y2


@dataclass(frozen=True)
class Skipped:
    """An object or frame that could not be measured, and the reason."""

    source: str
    video_id: str
    object_id: str
    reason: str

    @classmethod
    def of(cls, instance: Instance, reason: str) -> Skipped:
        """The instance, for this reason."""
        return cls(instance.source, instance.video_id, instance.object_id, reason)


def long_enough(
    instances: Iterable[Instance], protocol: DetectionProtocol
) -> tuple[list[Instance], list[Skipped]]:
    """The objects that the protocol measures, and those with too few frames."""
    kept, skipped = [], []
    for item in instances:
        count = len(item.present)
        if count >= protocol.min_present:
            kept.append(item)
        else:
            reason = f"seen in {count} frames, the protocol asks for {protocol.min_present}"
            skipped.append(Skipped.of(item, reason))
    return kept, skipped


def reference_frames(instance: Instance, protocol: DetectionProtocol) -> list[int]:
    """The numbers of the reference frames, ascending."""
    present = instance.present
    early = max(protocol.references, int(len(present) * protocol.reference_share))
    return [present[i] for i in np.linspace(0, early - 1, protocol.references).astype(int)]


def read_references(instance: Instance, protocol: DetectionProtocol) -> list[Reference]:
    """The reference photos with the object's boxes."""
    numbers = reference_frames(instance, protocol)
    return [
        Reference(instance.read(number), instance.boxes_xyxy[number], protocol.same_camera)
        for number in numbers
    ]


def own_queries(instance: Instance, protocol: DetectionProtocol) -> list[Query]:
    """Frames after the references in the object's own video."""
    last = reference_frames(instance, protocol)[-1]
    later = sorted(number for number in instance.frames if number > last)
    return [Query(instance, instance, number) for number in spread(later, protocol.frames)]


def absent_queries(
    instance: Instance, instances: Sequence[Instance], protocol: DetectionProtocol
) -> list[Query]:
    """Frames of other families' videos in the same source."""
    pool = [
        Query(instance, item, number)
        for item in instances
        if cannot_show(instance, item) and item.source == instance.source
        for number in spread(item.present, protocol.absent)
    ]
    return spread(pool, protocol.absent)


def cannot_show(wanted: Instance, other: Instance) -> bool:
    """Whether no frame of ``other`` can show the wanted object."""
    same_video = (wanted.source, wanted.video_id) == (other.source, other.video_id)
    return not same_video and (wanted.source, wanted.family) != (other.source, other.family)


def run_protocol(
    detector: FrameDetector,
    instances: Sequence[Instance],
    protocol: DetectionProtocol,
    label: str = "",
    elsewhere: Sequence[Instance] = (),
) -> tuple[list[Prediction], list[Skipped]]:
    """Search for every instance in its own later frames and in frames of other families.

    Args:
        detector: the detector under evaluation.
        protocol: how frames are chosen.
        label: of the progress bar.
        elsewhere: further instances whose frames may serve as absent ones.

    Returns:
        The predictions, and what could not be measured: objects whose references the detector
        refuses, damaged frames.
    """
    predictions: list[Prediction] = []
    skipped: list[Skipped] = []
    for instance in tqdm(instances, desc=label, unit="object", leave=False):
        try:
            detector.set_references(read_references(instance, protocol))
        except (BadReferenceError, SourceError) as error:
            skipped.append(Skipped.of(instance, str(error)))
            continue
        pool = [*instances, *elsewhere]
        queries = own_queries(instance, protocol) + absent_queries(instance, pool, protocol)
        for query in queries:
            try:
                frame_bgr = query.shown.read(query.frame)
            except SourceError as error:
                skipped.append(Skipped.of(instance, str(error)))
                continue
            box_xyxy, score = detector.detect(frame_bgr)
            predictions.append(prediction_for(query, box_xyxy, score))
    return predictions, skipped


def prediction_for(query: Query, box_xyxy: BoxXYXY, score: float) -> Prediction:
    """A detector's answer to one query, with the truth."""
    wanted, shown = query.wanted, query.shown
    return Prediction(
        source=wanted.source,
        object_video=wanted.video_id,
        object_id=wanted.object_id,
        video_id=shown.video_id,
        frame=query.frame,
        picture=shown.frames[query.frame],
        score=score,
        box_xyxy=box_xyxy,
        truth_xyxy=query.truth_xyxy,
    )


def spread(items: Sequence[Item], count: int) -> list[Item]:
    """At most ``count`` items, evenly spread from the first to the last."""
    if len(items) <= count:
        return list(items)
    return [items[i] for i in np.linspace(0, len(items) - 1, count).astype(int)]
