"""Regions of interest in text form: ``X,Y,W,H`` in pixels, top-left corner and size."""

from __future__ import annotations

import logging
import math
from typing import Tuple

from refdet_core.errors import BadReferenceError, ConfigError
from refdet_core.types import BoxXYXY

_LOG = logging.getLogger(__name__)


def parse_roi(text: str) -> BoxXYXY:
    """Turn ``X,Y,W,H`` into an xyxy box.

    Raises:
        ConfigError: not four finite numbers, or a width or height that is not positive.
    """
    try:
        x, y, width, height = (float(part) for part in text.split(","))
    except ValueError:
        raise ConfigError(f"A box (ROI) is four numbers X,Y,W,H in pixels, got '{text}'.") from None
    if not all(math.isfinite(value) for value in (x, y, width, height)) or min(width, height) <= 0:
        raise ConfigError(
            f"A ROI X,Y,W,H needs finite numbers and a width and height above 0, got '{text}'."
        )
    return x, y, x + width, y + height


def clip_roi(roi_xyxy: BoxXYXY, image_size: Tuple[int, int], what: str) -> BoxXYXY:
    """Clip a ROI to the image, with a warning if anything is clipped.

    Args:
        image_size: ``(width, height)`` in pixels.
        what: the ROI's name at the start of a sentence, for example "The ROI of 'car.jpg'".

    Raises:
        BadReferenceError: the ROI has no size, or lies outside the image.
    """
    width, height = image_size
    x1, y1, x2, y2 = roi_xyxy
    inside = max(0.0, x1), max(0.0, y1), min(float(width), x2), min(float(height), y2)
    if not (inside[0] < inside[2] and inside[1] < inside[3]):
        raise BadReferenceError(
            f"{what}, {_in_words(roi_xyxy)}, must have a size and lie inside the "
            f"{width}x{height} px image."
        )
    if inside != (x1, y1, x2, y2):
        _LOG.warning(
            "%s, %s, lies partly outside the %dx%d px image; the part inside is used: %s. A box is "
            "given as X,Y,W,H: left, top, width, height.",
            *(what, _in_words(roi_xyxy), width, height, _in_words(inside)),
        )
    return inside


def _in_words(roi_xyxy: BoxXYXY) -> str:
    x1, y1, x2, y2 = roi_xyxy
    return f"x={x1:g} y={y1:g} width={x2 - x1:g} height={y2 - y1:g}"
