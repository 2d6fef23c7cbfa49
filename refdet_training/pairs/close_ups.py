"""Crops around objects, cached in memory: a template view needs no other part of a frame."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np

from refdet_core.imaging import GREY, Crop, extract, square_around
from refdet_core.types import BoxXYXY
from refdet_training.datasets.instance import FrameRef
from refdet_training.pairs.config import PairConfig
from refdet_training.pairs.crops import to_network
from refdet_training.pairs.views import TEMPLATE_MARGIN

_KEPT = 32768  # about 6 KiB each as JPEG; decoding a whole frame costs 20 times as much
_QUALITY = [cv2.IMWRITE_JPEG_QUALITY, 95]


@dataclass(frozen=True)
class CloseUp:
    """A square around an object with room for template views; box in its own pixels."""

    image_bgr: np.ndarray
    box_xyxy: BoxXYXY


def read_close_up(frame: FrameRef, box_xyxy: BoxXYXY, config: PairConfig) -> CloseUp:
    """The close-up of an object in a frame, cached after the first read.

    Raises:
        SourceError: the frame cannot be read.
    """
    border = config.window.border if config.window is not None else GREY
    jpeg, box = _compressed(frame, box_xyxy, config.template_context, config.template_size, border)
    return CloseUp(np.asarray(cv2.imdecode(jpeg, cv2.IMREAD_COLOR)), box)


@lru_cache(maxsize=2)
def read_frame(frame: FrameRef) -> np.ndarray:
    """``(H, W, 3)`` uint8 BGR, not to be changed. The latest two are kept: template and search
    view of a photo come from the same one."""
    return frame.read()


@lru_cache(maxsize=_KEPT)
def _compressed(
    frame: FrameRef, box_xyxy: BoxXYXY, context: float, template_size: int, border: str
) -> tuple[np.ndarray, BoxXYXY]:
    crop = square_around(box_xyxy, context, template_size)
    rim = round((TEMPLATE_MARGIN - 1) / 2 * crop.width)
    side = crop.width + 2 * rim
    out = min(side, round(TEMPLATE_MARGIN * template_size))
    close_up = Crop(crop.x - rim, crop.y - rim, side, side, out, out, border)
    jpeg = cv2.imencode(".jpg", extract(read_frame(frame), close_up), _QUALITY)[1]
    return jpeg, to_network(close_up, box_xyxy)
