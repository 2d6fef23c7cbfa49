"""Boxes around what may be a thing: regions that differ from what is around them."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from refdet_core.boxes import as_tuple, iou_matrix, nms
from refdet_core.types import BoxXYXY

_MOST_ELONGATED = 4.0
_SAME_IOU = 0.3
_MARGIN = 1.15  # a region ends at the thing's edge; a box holds all of it


def things(
    frame_bgr: np.ndarray,
    sides_px: tuple[float, float],
    count: int,
    known: Sequence[BoxXYXY],
    rng: np.random.Generator,
) -> list[BoxXYXY]:
    """Boxes of maximally stable regions (MSER; Matas et al., BMVC 2002), in random order.

    Args:
        sides_px: shortest and longest side of a box (square root of its area).
        count: at most so many.
        known: what lies here is left out.
    """
    areas = [max(1, round((side / _MARGIN) ** 2)) for side in sides_px]
    # The region fills at least a third of its box.
    finder = cv2.MSER.create(min_area=max(1, areas[0] // 3), max_area=areas[1])
    grey = cv2.GaussianBlur(cv2.cvtColor(frame_bgr, cv2.COLOR_BGR2GRAY), (3, 3), 0)
    _, boxes_xywh = finder.detectRegions(grey)
    if not len(boxes_xywh):
        return []
    x, y, width, height = np.asarray(boxes_xywh, dtype=np.float64).T
    across, down = width * _MARGIN, height * _MARGIN
    left, top = x + (width - across) / 2, y + (height - down) / 2
    boxes = np.stack([left, top, left + across, top + down], axis=1)
    side = np.sqrt(across * down)
    rows, columns = frame_bgr.shape[:2]
    fits = (side >= sides_px[0]) & (side <= sides_px[1])
    fits &= np.maximum(across / down, down / across) <= _MOST_ELONGATED
    fits &= (boxes[:, :2] >= 0).all(axis=1) & (boxes[:, 2:] <= (columns, rows)).all(axis=1)
    boxes = boxes[fits]
    if known and len(boxes):
        boxes = boxes[iou_matrix(boxes, np.array(known)).max(axis=1) < 0.05]
    order = rng.permutation(len(boxes))
    kept = nms(boxes[order], -np.arange(len(boxes), dtype=np.float64), _SAME_IOU)
    return [as_tuple(box) for box in boxes[order][kept[:count]]]
