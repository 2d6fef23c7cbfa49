"""The small frozen dataclasses that the stages exchange.

Boxes are ``xyxy`` float pixels, 0-based, right and bottom edge exclusive, in the original
frame. Images are ``(H, W, 3)`` uint8 in OpenCV's BGR order.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Dict, Optional, Tuple

import numpy as np

BoxXYXY = Tuple[float, float, float, float]


@dataclass(frozen=True)
class Reference:
    """One photo of the object and the object's box in it.

    Args:
        image_bgr: ``(H, W, 3)`` uint8.
        roi_xyxy: the object's box in the photo; None means the whole photo is the object.
        same_camera: the photo is a frame of the camera that is searched, or was cut out of one
            unscaled: then the object has this size in the frames too, and is searched at it.
    """

    image_bgr: np.ndarray
    roi_xyxy: Optional[BoxXYXY] = None
    same_camera: bool = False


@dataclass(frozen=True)
class Detection:
    """One detected object. ``score`` is a probability, ``bbox_xyxy`` is in frame pixels."""

    template_id: str
    score: float
    bbox_xyxy: BoxXYXY
    track_id: Optional[int] = None


@dataclass(frozen=True)
class RawMaps:
    """The detector graph's output for B crops and V template views.

    Shapes: ``score (B, V, h, w)`` in [0, 1]; ``box (B, V, 4, h, w)`` xyxy in network pixels of
    each crop; ``presence (B, V)`` in [0, 1]. All float32.
    """

    score: np.ndarray
    box: np.ndarray
    presence: np.ndarray


SEARCHING = "searching"
TRACKING = "tracking"
LOST = "lost"


@dataclass(frozen=True)
class TargetStatus:
    """The state of one tracked target.

    Attributes:
        state: :data:`SEARCHING` (never seen, or gone for long), :data:`TRACKING`, or
            :data:`LOST` (gone for a short while: if it comes back, it keeps its id).
        track_id: id of the present or lost track; None while searching.
        window_xyxy: the search window in frame pixels (it may extend over the border); None without
            a window.
    """

    state: str
    track_id: Optional[int] = None
    window_xyxy: Optional[BoxXYXY] = None


@dataclass(frozen=True)
class FrameResult:
    """The detector's result for one frame.

    Attributes:
        detections: above the score threshold, best first; empty when nothing was found.
        presence: for each template id the probability that its object is in this frame.
        bank_version: version of the template bank; grows with every template change.
        timings_ms: milliseconds by stage (``preprocess``, ``network``, ``decode``).
        targets: for each template id the state of its target; empty for searches that do not track.
        heatmaps: for each template id a ``(h, w)`` float32 map in [0, 1] over the whole frame, 0
            where nothing was searched; filled only on request.
    """

    detections: Tuple[Detection, ...]
    presence: Dict[str, float]
    bank_version: int
    timings_ms: Dict[str, float] = field(default_factory=dict)
    targets: Dict[str, TargetStatus] = field(default_factory=dict)
    heatmaps: Dict[str, np.ndarray] = field(default_factory=dict)
