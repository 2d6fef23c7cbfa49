"""Pictures for people: the heatmap, and the frame with the detections."""

from __future__ import annotations

import cv2
import numpy as np

from refdet_core.drawing import STATE_COLOURS_BGR, draw_box, draw_text
from refdet_core.types import TRACKING, FrameResult, TargetStatus


def heatmap_picture(result: FrameResult, frame_bgr: np.ndarray) -> np.ndarray:
    """The strongest score of any template at each frame pixel, ``(H, W)`` uint8, 255 is 1.0."""
    height, width = frame_bgr.shape[:2]
    if not result.heatmaps:
        return np.zeros((height, width), np.uint8)
    strongest = np.maximum.reduce(list(result.heatmaps.values()))
    grey = cv2.convertScaleAbs(strongest, alpha=255)
    return np.asarray(cv2.resize(grey, (width, height), interpolation=cv2.INTER_LINEAR))


def debug_picture(result: FrameResult, frame_bgr: np.ndarray) -> np.ndarray:
    """The frame with every detection's box, id and score, and the search windows.

    A window is green while its target is tracked, red while it is lost, and orange while a
    candidate is checked.

    Returns:
        ``(H, W, 3)`` uint8 BGR.
    """
    picture = frame_bgr.copy()
    seen = {detection.template_id for detection in result.detections}
    for template_id, status in result.targets.items():
        _draw_window(picture, status, "" if template_id in seen else template_id)
    for detection in result.detections:
        track = "" if detection.track_id is None else f" #{detection.track_id}"
        label = f"{detection.template_id}{track} {detection.score:.2f}"
        draw_box(picture, detection.bbox_xyxy, STATE_COLOURS_BGR[TRACKING], label)
    return np.asarray(picture)


def _draw_window(picture: np.ndarray, status: TargetStatus, name: str) -> None:
    """A thin outline, clipped to the frame; with a name it also shows the state."""
    if status.window_xyxy is None:
        return
    height, width = picture.shape[:2]
    colour = STATE_COLOURS_BGR[status.state]
    limits = np.array([width, height, width, height])
    x1, y1, x2, y2 = (int(v) for v in np.clip(np.rint(status.window_xyxy), -2, limits + 2))
    cv2.rectangle(picture, (x1, y1), (x2 - 1, y2 - 1), colour, 1)
    if name:
        track = "" if status.track_id is None else f" #{status.track_id}"
        draw_text(picture, f"{name}{track} {status.state}", (x1, y1), colour)
