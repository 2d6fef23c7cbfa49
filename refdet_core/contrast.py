"""16-bit and floating-point pictures as 8 bits: thermal cameras, raw sensors, depth.

A thermal camera counts from perhaps 7600 to 9600 in its 16 bits. Divided by 257 that is eight grey
levels; here the range that the picture uses is stretched over all 256. It follows the scene slowly,
so that the same count keeps its grey from one frame to the next.
"""

from __future__ import annotations

import argparse
import math
from typing import Optional, Tuple

import cv2
import numpy as np

from refdet_core.errors import ConfigError

AUTO, FULL_RANGE = "auto", "full_range"

Range = Tuple[float, float]
"""The values that become 0 and 255."""

PERCENTILES = (0.1, 99.9)
SLOW, FAST = 0.05, 0.5
"""How far the range moves towards a frame's own: normally, and after the values have changed as a
whole (another scene, another gain)."""
_SAME_SCENE = 0.5
_SAMPLES = 20_000
_LEAST_COUNTS = 32.0
_LEAST_SHARE = 0.001
_COLOUR_BITS = (8, 10, 12, 14, 16)


def check_contrast(setting: str) -> None:
    """Refuse what :class:`Contrast` does not take.

    Raises:
        ConfigError: neither ``auto``, ``full_range`` nor two numbers, the first one less.
    """
    if setting not in (AUTO, FULL_RANGE):
        _fixed_range(setting)


class Contrast:
    """Makes the pictures of one camera 8-bit. Pictures of 8 bits stay as they are.

    Args:
        setting: ``auto`` follows the values in use; ``full_range`` takes all values of the type
            (0 to 65535; 0 to 1 for floating point); ``LOW,HIGH`` takes these.

    Raises:
        ConfigError: none of these.
    """

    def __init__(self, setting: str = AUTO) -> None:
        check_contrast(setting)
        self.setting = setting
        self._fixed = None if setting in (AUTO, FULL_RANGE) else _fixed_range(setting)
        # One tuple, exchanged as a whole: photos come from another thread than frames.
        self._last: Optional[Tuple[np.dtype, Range]] = None

    def frame(self, picture: np.ndarray, colour: bool = False) -> np.ndarray:
        """The camera's next frame as uint8.

        Args:
            picture: ``(H, W)`` or ``(H, W, C)`` of any integer or floating-point type.
            colour: whether the values are of several colours (also as a Bayer mosaic). Their range
                begins at 0 and ends at a power of two, so that the colours stay what they are.
        """
        if picture.dtype == np.uint8:
            return picture
        chosen = self._chosen(picture.dtype)
        if chosen is None:
            own = _colour_range(picture) if colour else _used_range(picture)
            chosen = self._smoothed(picture.dtype, own, colour)
        self._last = picture.dtype, chosen
        return _stretched(picture, chosen)

    def still(self, picture: np.ndarray, colour: bool = False) -> np.ndarray:
        """A photo as uint8, with the range of the frames if it can be of the same camera."""
        if picture.dtype == np.uint8:
            return picture
        chosen = self._chosen(picture.dtype)
        if chosen is None:
            chosen = own = _colour_range(picture) if colour else _used_range(picture)
            if self._last is not None and self._last[0] == picture.dtype:
                low, high = self._last[1]
                if low <= own[0] + (own[1] - own[0]) / 2 <= high:
                    chosen = low, high
        return _stretched(picture, chosen)

    def __str__(self) -> str:
        """The setting, and the range in force: ``auto, 7600 to 9640 (uint16)``."""
        if self._last is None:
            return self.setting
        dtype, (low, high) = self._last
        return f"{self.setting}, {low:g} to {high:g} ({dtype.name})"

    def _chosen(self, dtype: np.dtype) -> Optional[Range]:
        """The range that the setting gives; None for ``auto``."""
        return _range_of(dtype) if self.setting == FULL_RANGE else self._fixed

    def _smoothed(self, dtype: np.dtype, own: Range, colour: bool) -> Range:
        if self._last is None or self._last[0] != dtype:
            return own
        before = self._last[1]
        if colour:
            return max(before, own)
        share = SLOW if _overlap(before, own) >= _SAME_SCENE else FAST
        return (
            before[0] + share * (own[0] - before[0]),
            before[1] + share * (own[1] - before[1]),
        )


def add_contrast_argument(parser: argparse.ArgumentParser) -> None:
    """Add ``--contrast``."""
    parser.add_argument(
        "--contrast",
        default=AUTO,
        metavar="auto|full_range|LOW,HIGH",
        help="how 16-bit and floating-point pictures (thermal, raw) become 8-bit: by the range in "
        "use, smoothed over time; by all values of their type; or with these two values as black "
        "and white (default: %(default)s)",
    )


def _fixed_range(text: str) -> Range:
    try:
        low, high = (float(part) for part in text.split(","))
    except ValueError:
        raise ConfigError(
            f"contrast must be auto, full_range or LOW,HIGH (for example 7600,9640), got '{text}'."
        ) from None
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise ConfigError(f"contrast LOW,HIGH needs LOW below HIGH, both finite; got '{text}'.")
    return low, high


def _range_of(dtype: np.dtype) -> Range:
    if dtype.kind == "f":
        return 0.0, 1.0
    limits = np.iinfo(dtype)
    return float(limits.min), float(limits.max)


def _used_range(picture: np.ndarray) -> Range:
    """Between the outer percentiles; never so narrow that it shows noise alone."""
    step = max(1, math.isqrt(picture.size // _SAMPLES))
    values = picture[::step, ::step]
    # Zero counts are dead pixels or, in depth, "no echo".
    values = values[np.isfinite(values)] if values.dtype.kind == "f" else values[values != 0]
    if not values.size:
        return 0.0, 1.0
    low, high = (float(value) for value in np.percentile(values, PERCENTILES))
    least = max(
        _LEAST_COUNTS if values.dtype.kind in "iu" else 0.0,
        _LEAST_SHARE * max(abs(low), abs(high)),
        1e-6,
    )
    margin = max(0.0, (least - (high - low)) / 2)
    return low - margin, high + margin


def _colour_range(picture: np.ndarray) -> Range:
    """From 0 to the largest value of a sensor with that many bits."""
    if picture.dtype.kind == "f":
        return 0.0, 1.0
    most = int(picture.max()) if picture.size else 0
    bits = next((bits for bits in _COLOUR_BITS if most < 1 << bits), 8 * picture.dtype.itemsize)
    return 0.0, float((1 << bits) - 1)


def _overlap(one: Range, other: Range) -> float:
    """Intersection over union of two ranges."""
    shared = min(one[1], other[1]) - max(one[0], other[0])
    return max(0.0, shared) / (max(one[1], other[1]) - min(one[0], other[0]))


def _stretched(picture: np.ndarray, chosen: Range) -> np.ndarray:
    low, high = chosen
    scale = 255.0 / (high - low)
    if picture.dtype.kind in "iu" and picture.dtype.itemsize == 2:
        limits = np.iinfo(picture.dtype)
        least = min(max(math.ceil(low), limits.min), limits.max)
        # What is below would come back from below zero.
        clipped = np.maximum(picture, picture.dtype.type(least))
        return np.asarray(cv2.convertScaleAbs(clipped, alpha=scale, beta=-low * scale))
    values = np.nan_to_num((picture - low) * scale, nan=0.0)
    return np.asarray(np.clip(np.rint(values), 0, 255).astype(np.uint8))
