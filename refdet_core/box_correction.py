"""Corrects the network's boxes towards the way this operator draws boxes.

One operator draws tight, another leaves room, a third includes the rotors; the network learned an
average. Run on the reference itself, the network shows how far this operator differs from that
average, and later boxes are corrected by most of the difference.
"""

from __future__ import annotations

from typing import Any, List

import numpy as np

from refdet_core.backends.base import Backend
from refdet_core.boxes import as_boxes, iou_matrix, mean_side
from refdet_core.bundle import Bundle
from refdet_core.crop_rule import CropRule
from refdet_core.decoding import best_view
from refdet_core.imaging import Crop
from refdet_core.types import BoxXYXY

_SHARE = 0.6  # of the difference: one box in one photo is noisy ...
_HALF_PX = 16  # ... half of that for an object this small, where a pixel is much
_SIZES = (0.8, 1.0, 1.25)  # of the best size; the network's boxes depend on the size
_WINDOW_PX = 192
_LEAST_IOU = 0.3  # below, the network has boxed something else

NO_CORRECTION = np.zeros(4)


def fit_box_correction(
    backend: Backend[Any],
    bundle: Bundle,
    features: Any,
    image_bgr: np.ndarray,
    box_xyxy: BoxXYXY,
) -> np.ndarray:
    """The correction of the network's boxes that this photo's box suggests.

    Args:
        features: the encoded reference, one view.
        image_bgr: ``(H, W, 3)`` uint8, the photo.
        box_xyxy: the object in it.

    Returns:
        ``(4,)`` float64: shift of the centre in shares of the network's width and height, and the
        logarithms of the factors for width and height. Zeros if the network does not find the
        object in its own photo.
    """
    side = bundle.frame_side(_WINDOW_PX)
    x1, y1, x2, y2 = box_xyxy
    x, y, size = (x1 + x2) / 2, (y1 + y2) / 2, mean_side(box_xyxy)
    crops = []
    for factor in _SIZES:
        width = max(2, round(side * size / (factor * bundle.best_object_px)))
        crops.append(Crop(round(x - width / 2), round(y - width / 2), width, width, side, side))
    maps = backend.infer(backend.preprocess(image_bgr, crops), features)
    differences: List[np.ndarray] = []
    for index, crop in enumerate(crops):
        raw = best_view(maps.score[index], maps.box[index], maps.presence[index])
        best = crop.to_frame(raw.boxes_xyxy[:1])
        if (iou_matrix(best, as_boxes(box_xyxy)) >= _LEAST_IOU).any():
            differences.append(_difference(best[0], np.asarray(box_xyxy, dtype=np.float64)))
    share = _SHARE * size / (size + _HALF_PX)
    return share * np.mean(differences, axis=0) if differences else NO_CORRECTION


def template_shape(rule: CropRule, box_xyxy: BoxXYXY) -> np.ndarray:
    """The correction ``(4,)`` for a network that measures no boxes: it gives them the reference's
    size and shape. Such a network reports half of the template's side, the size of a square object
    at SiamFC's context.

    Args:
        rule: how the template was cut around ``box_xyxy``.
    """
    x1, y1, x2, y2 = box_xyxy
    sides = np.array([x2 - x1, y2 - y1]) / rule.sides(x2 - x1, y2 - y1) * rule.size
    return np.concatenate([np.zeros(2), np.log(sides / (rule.size / 2))])


def correct_boxes(boxes_xyxy: np.ndarray, box_correction: np.ndarray) -> np.ndarray:
    """The network's boxes ``(N, 4)``, corrected."""
    sides = boxes_xyxy[:, 2:] - boxes_xyxy[:, :2]
    centres = (boxes_xyxy[:, :2] + boxes_xyxy[:, 2:]) / 2 + box_correction[:2] * sides
    half = sides * np.exp(box_correction[2:]) / 2
    return np.concatenate([centres - half, centres + half], axis=1).astype(boxes_xyxy.dtype)


def _difference(network_xyxy: np.ndarray, drawn_xyxy: np.ndarray) -> np.ndarray:
    """The correction that turns one box into the other."""
    sides = network_xyxy[2:] - network_xyxy[:2]
    shift = (drawn_xyxy[:2] + drawn_xyxy[2:] - network_xyxy[:2] - network_xyxy[2:]) / 2 / sides
    return np.concatenate([shift, np.log((drawn_xyxy[2:] - drawn_xyxy[:2]) / sides)])
