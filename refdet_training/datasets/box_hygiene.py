"""Checks boxes: inside the frame, with an area, finite."""

from __future__ import annotations

import math

from refdet_core.types import BoxXYXY

ROUNDING = 0.5  # a box that exceeds the frame by less than half a pixel was only rounded
_MIN_SIDE = 1.0  # less than a pixel after clipping shows nothing of the object


def clean_box(box_xyxy: BoxXYXY, width: int, height: int) -> tuple[BoxXYXY | None, str]:
    """A box clipped to its frame, and its problem.

    Returns:
        The box, None if it is unusable; and a key of
        :data:`refdet_training.datasets.problems.KINDS`, empty when nothing was wrong.
    """
    if not all(math.isfinite(value) for value in box_xyxy):
        return None, "box_not_a_number"
    x1, y1, x2, y2 = box_xyxy
    if x2 <= x1 or y2 <= y1:
        return None, "box_empty"
    clipped = (max(x1, 0.0), max(y1, 0.0), min(x2, float(width)), min(y2, float(height)))
    cut = max(abs(after - before) for after, before in zip(clipped, box_xyxy, strict=True))
    if cut > 0 and min(clipped[2] - clipped[0], clipped[3] - clipped[1]) < _MIN_SIDE:
        return None, "box_outside"
    return clipped, "box_clipped" if cut >= ROUNDING else ""
