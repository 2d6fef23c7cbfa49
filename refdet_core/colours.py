"""The colours of an object, to tell it from look-alikes.

Networks are taught to ignore colour casts, so two cars of one make look alike to them. Within one
flight colours stay: they are compared between references and frames of one camera.
"""

from __future__ import annotations

import cv2
import numpy as np

from refdet_core.types import BoxXYXY

_BINS = (8, 12, 12)  # of L, a and b
_RANGES = (0.0, 256.0, 96.0, 160.0, 96.0, 160.0)  # more colourful than that is rare
_SMOOTHING = np.array([0.212, 0.576, 0.212])  # between neighbouring bins, sigma of 0.7 bins
_MARGIN = 0.15  # share of a box on each side that shows more background than object
_AROUND = 0.5  # the surroundings: so many widths and heights on each side
_MOST_PX = 64  # samples along each side


def object_colours(image_bgr: np.ndarray, box_xyxy: BoxXYXY) -> np.ndarray:
    """Histogram over Lab colours of what is in the box, ``(1152,)`` float32 with sum 1.

    Colours that the surroundings have as well count less: grass between the legs says nothing.

    Args:
        image_bgr: ``(H, W, 3)`` uint8.
        box_xyxy: in pixels of the image; at least one pixel of it is inside.
    """
    x1, y1, x2, y2 = box_xyxy
    width, height = x2 - x1, y2 - y1
    inner = _histogram(image_bgr, _grown(box_xyxy, -_MARGIN * width, -_MARGIN * height))
    outer = _histogram(image_bgr, _grown(box_xyxy, _AROUND * width, _AROUND * height))
    own = inner * inner / (inner + outer + 1e-9)
    return np.asarray(own / max(float(own.sum()), 1e-9), dtype=np.float32)


def overlap(one: np.ndarray, other: np.ndarray) -> float:
    """How alike two histograms are, 0 to 1: Bhattacharyya's coefficient."""
    return float(np.sqrt(one * other).sum())


def _grown(box_xyxy: BoxXYXY, by_x: float, by_y: float) -> BoxXYXY:
    x1, y1, x2, y2 = box_xyxy
    return x1 - by_x, y1 - by_y, x2 + by_x, y2 + by_y


def _histogram(image_bgr: np.ndarray, box_xyxy: BoxXYXY) -> np.ndarray:
    """Of the part of the box inside the image, ``(1152,)`` with sum 1."""
    height, width = image_bgr.shape[:2]
    columns = _samples(box_xyxy[0], box_xyxy[2], width)
    rows = _samples(box_xyxy[1], box_xyxy[3], height)
    pixels_bgr = np.ascontiguousarray(image_bgr[rows][:, columns])
    lab = cv2.cvtColor(pixels_bgr, cv2.COLOR_BGR2LAB)
    lab[..., 1:] = np.clip(lab[..., 1:], 96, 159)
    counts = cv2.calcHist([lab], [0, 1, 2], None, list(_BINS), list(_RANGES))
    for axis in range(3):
        counts = _smoothed(counts, axis)
    return np.asarray(counts.ravel() / counts.sum())


def _samples(start: float, end: float, length: int) -> np.ndarray:
    """At most :data:`_MOST_PX` pixel numbers between two places along one side of the image; two
    at least."""
    first = min(max(0, round(start)), length - 2)
    last = min(max(round(end), first + 2), length)
    count = min(last - first, _MOST_PX)
    return np.asarray(first + (np.arange(count) + 0.5) * (last - first) / count).astype(int)


def _smoothed(counts: np.ndarray, axis: int) -> np.ndarray:
    moved = np.moveaxis(counts, axis, 0)
    padded = np.concatenate([moved[:1], moved, moved[-1:]])
    low, middle, high = _SMOOTHING
    smooth = low * padded[:-2] + middle * padded[1:-1] + high * padded[2:]
    return np.asarray(np.moveaxis(smooth, 0, axis))
