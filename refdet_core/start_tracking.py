"""Starts tracking an object from its box in a frame."""

from __future__ import annotations

from typing import Sequence

import numpy as np

from refdet_core.detector import DEFAULT_TEMPLATE_ID, Detector
from refdet_core.errors import BadReferenceError
from refdet_core.roi import clip_roi
from refdet_core.templates import check_reference
from refdet_core.types import BoxXYXY, Reference


def start_tracking(
    detector: Detector,
    frame_bgr: np.ndarray,
    box_xyxy: BoxXYXY,
    references: Sequence[Reference] = (),
) -> None:
    """Make the object in the box the target, and track it from there.

    Args:
        detector: its search must be ``track`` or ``auto``.
        frame_bgr: the frame that :meth:`Detector.detect` gets next, ``(H, W, 3)`` uint8.
        box_xyxy: the object in it, clipped to the frame.
        references: photos of the object; none: the box in this frame is the reference.

    Raises:
        BadReferenceError: too little of the box lies in the frame, or a photo cannot be used.
        ConfigError: the search does not track.
    """
    height, width = frame_bgr.shape[:2]
    inside_xyxy = clip_roi(box_xyxy, (width, height), "The box in the first frame")
    seen = Reference(frame_bgr, inside_xyxy, same_camera=True)
    try:
        box_xyxy = check_reference(seen)
    except BadReferenceError as error:
        raise BadReferenceError(f"The box in the first frame: {error}") from error
    detector.set_template(references or [seen])
    detector.lock(DEFAULT_TEMPLATE_ID, box_xyxy)
