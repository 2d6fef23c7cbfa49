"""The targets of an evaluation: reference photos and ground truth."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Mapping, Sequence

import numpy as np

from refdet_core.contrast import Contrast
from refdet_core.errors import ConfigError
from refdet_core.metrics import GroundTruth
from refdet_core.photo_arguments import TemplatePhoto, read_references
from refdet_core.types import BoxXYXY, Reference
from refdet_ros.bags.frames import frames_at
from refdet_ros.bags.parts import BagTopic
from refdet_ros.bags.reading import Bag
from refdet_ros.bags.truth import AnnotatedObject

_LOG = logging.getLogger(__name__)
REFERENCE_MARGIN = 1.0
"""Margin around a reference box, as a share of its longer side; the template encoder uses part of
it."""


@dataclass(frozen=True)
class Target:
    """One object to search for.

    Attributes:
        template_id: the detections' class_id.
        truth: the ground truth; None if there is none.
        reference_frames: frames of the bag that the references were cut from; not scored.
    """

    template_id: str
    references: tuple[Reference, ...]
    truth: GroundTruth | None = None
    reference_frames: frozenset[int] = frozenset()


def target_from_photos(
    photos: Sequence[TemplatePhoto],
    template_id: str,
    truth: GroundTruth | None = None,
    contrast: Contrast | None = None,
    same_camera: bool = False,
) -> Target:
    """A target described by photos on disk.

    Args:
        same_camera: see :class:`~refdet_core.types.Reference`.
        contrast: of the frames, for photos of more than 8 bits; None takes the range they use.

    Raises:
        SourceError: a photo cannot be read.
    """
    return Target(template_id, read_references(photos, same_camera, contrast), truth)


def targets_from_truth(
    bag: Bag,
    topic: BagTopic,
    objects: Sequence[AnnotatedObject],
    count: int = 0,
    contrast: Contrast | None = None,
) -> list[Target]:
    """Targets whose references are cut out of the bag's own annotated frames.

    Args:
        bag: contains the frames.
        topic: its image topic.
        objects: ground truth with the bag's frame numbers.
        count: number of boxes, evenly spread; 0: the annotation's ``references``, or the first box
            if it has none.
        contrast: makes frames of more than 8 bits uint8; None takes the range each one uses.

    Raises:
        ConfigError: an object has no box in the bag.
    """
    chosen = []
    for entry in objects:
        boxes = dict(entry.within(topic.count).references) if not count else {}
        if not count and len(boxes) < len(entry.references):
            _LOG.warning(
                "%s: only %d of its %d annotated references are in this bag%s.",
                *(entry.truth.object_id, len(boxes), len(entry.references)),
                "" if boxes else "; its first box in it is taken",
            )
        chosen.append(boxes or entry.spread_references(max(1, count), topic.count))
    pictures = frames_at(bag, topic, {number for boxes in chosen for number in boxes}, contrast)
    return [
        target_from_boxes(entry.truth, boxes, pictures) for entry, boxes in zip(objects, chosen)
    ]


def target_from_boxes(
    truth: GroundTruth, boxes_xyxy: Mapping[int, BoxXYXY], pictures: Mapping[int, np.ndarray]
) -> Target:
    """A target whose references are these boxes, cut out of their frames.

    Raises:
        ConfigError: there is no box, or one lies outside its frame.
    """
    if not boxes_xyxy:
        raise ConfigError(f"'{truth.object_id}' has no box in these frames for a reference.")
    references = tuple(cut_reference(pictures[frame], box) for frame, box in boxes_xyxy.items())
    return Target(truth.object_id, references, truth, frozenset(boxes_xyxy))


def cut_reference(frame_bgr: np.ndarray, box_xyxy: BoxXYXY) -> Reference:
    """A reference photo: the box with a margin, cut out of a frame."""
    height, width = frame_bgr.shape[:2]
    margin = REFERENCE_MARGIN * max(box_xyxy[2] - box_xyxy[0], box_xyxy[3] - box_xyxy[1])
    left, top = max(0, int(box_xyxy[0] - margin)), max(0, int(box_xyxy[1] - margin))
    right = min(width, int(np.ceil(box_xyxy[2] + margin)))
    bottom = min(height, int(np.ceil(box_xyxy[3] + margin)))
    if right <= left or bottom <= top:
        raise ConfigError(
            f"The box {tuple(round(value, 1) for value in box_xyxy)} lies outside the "
            f"{width}x{height} frame; the ground truth belongs to another video or size."
        )
    x1, y1, x2, y2 = box_xyxy
    roi_xyxy = (x1 - left, y1 - top, x2 - left, y2 - top)
    return Reference(frame_bgr[top:bottom, left:right].copy(), roi_xyxy, same_camera=True)
