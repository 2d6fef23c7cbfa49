"""Boxes as ``(N, 4)`` float arrays of ``xyxy`` pixels: IoU, clipping, non-maximum suppression."""

from __future__ import annotations

import math
from typing import Optional

import numpy as np

from refdet_core.types import BoxXYXY

_MOSTLY_INSIDE = 0.7  # share of the smaller box


def as_boxes(boxes_xyxy: object) -> np.ndarray:
    """Return ``(N, 4)`` float32 from any sequence of boxes; an empty input gives ``(0, 4)``."""
    return np.asarray(boxes_xyxy, dtype=np.float32).reshape(-1, 4)


def as_tuple(box_xyxy: np.ndarray) -> BoxXYXY:
    """One row ``(4,)`` of such an array as four Python floats."""
    x1, y1, x2, y2 = (float(value) for value in box_xyxy)
    return x1, y1, x2, y2


def area(boxes_xyxy: np.ndarray) -> np.ndarray:
    """Areas ``(N,)`` in square pixels; inverted boxes have area 0."""
    sides = np.clip(boxes_xyxy[:, 2:] - boxes_xyxy[:, :2], 0, None)
    return np.asarray(sides[:, 0] * sides[:, 1])


def mean_side(box_xyxy: BoxXYXY) -> float:
    """Size of one box: the square root of its area, pixels; 0 for an inverted box."""
    x1, y1, x2, y2 = box_xyxy
    return math.sqrt(max(0.0, x2 - x1) * max(0.0, y2 - y1))


def iou_matrix(first_xyxy: np.ndarray, second_xyxy: np.ndarray) -> np.ndarray:
    """Intersection over union of every pair, ``(N, M)`` in [0, 1]."""
    intersection = _intersections(first_xyxy, second_xyxy)
    union = area(first_xyxy)[:, None] + area(second_xyxy)[None, :] - intersection
    return np.asarray(np.where(union > 0, intersection / np.maximum(union, 1e-9), 0.0))


def containment_matrix(first_xyxy: np.ndarray, second_xyxy: np.ndarray) -> np.ndarray:
    """Intersection over the smaller of every pair, ``(N, M)``: 1 where one lies in the other."""
    smaller = np.minimum(area(first_xyxy)[:, None], area(second_xyxy)[None, :])
    return np.asarray(_intersections(first_xyxy, second_xyxy) / np.maximum(smaller, 1e-9))


def _intersections(first_xyxy: np.ndarray, second_xyxy: np.ndarray) -> np.ndarray:
    """Common area of every pair, ``(N, M)`` in square pixels."""
    top_left = np.maximum(first_xyxy[:, None, :2], second_xyxy[None, :, :2])
    bottom_right = np.minimum(first_xyxy[:, None, 2:], second_xyxy[None, :, 2:])
    sides = np.clip(bottom_right - top_left, 0, None)
    return np.asarray(sides[..., 0] * sides[..., 1])


def centred_in(boxes_xyxy: np.ndarray, outer_xyxy: BoxXYXY) -> np.ndarray:
    """Which boxes ``(N, 4)`` have their centre in that box or on its edge, ``(N,)``."""
    centres = (boxes_xyxy[:, :2] + boxes_xyxy[:, 2:]) / 2
    outer = np.asarray(outer_xyxy)
    return np.asarray(((centres >= outer[:2]) & (centres <= outer[2:])).all(axis=1))


def clip(boxes_xyxy: np.ndarray, width: float, height: float) -> np.ndarray:
    """Clip boxes to ``[0, width] x [0, height]``."""
    limits = np.array([width, height, width, height], dtype=boxes_xyxy.dtype)
    return np.asarray(np.clip(boxes_xyxy, 0, limits))


def nms(
    boxes_xyxy: np.ndarray,
    scores: np.ndarray,
    iou_threshold: float,
    levels: Optional[np.ndarray] = None,
) -> np.ndarray:
    """Greedy non-maximum suppression.

    Args:
        levels: ``(N,)``, the scale that each box was seen at. Of two boxes from different scales,
            the worse one is also dropped if it mostly contains the other or lies inside it: a
            network finds parts of an enlarged object, and a shrunk one together with its
            surroundings.

    Returns the kept indices ``(K,)``, best score first; ties keep the earlier box.
    """
    order = np.argsort(-scores, kind="stable")
    same = iou_matrix(boxes_xyxy, boxes_xyxy) > iou_threshold
    if levels is not None:
        across = levels[:, None] != levels[None, :]
        same |= across & (containment_matrix(boxes_xyxy, boxes_xyxy) > _MOSTLY_INSIDE)
    kept = []
    alive = np.ones(len(order), dtype=bool)
    for index in order:
        if alive[index]:
            kept.append(index)
            alive &= ~same[index]
    return np.array(kept, dtype=np.int64)
