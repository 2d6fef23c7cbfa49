"""Overlapping tiles at or near native resolution: small objects reach the network unshrunk."""

from __future__ import annotations

import math
from typing import List, Sequence, Tuple

import numpy as np

from refdet_core.imaging import Crop
from refdet_core.search.tiling import Tiling

AUTOMATIC_SCALE = 0.0
_UNSHRUNK_PX = 646000
_LEAST_SCALE = 0.8375  # 1280x720 becomes 1072x603, of which little is lost to rounding up


def automatic_scale(frame_size: Tuple[int, int]) -> float:
    """Network pixels per frame pixel: 1 up to 0.65 megapixels, then falling to 0.84.

    There a 1280x720 frame costs 29 % less and is searched as well as at 1 (see
    ``docs/experiments.md``); smaller frames would lose their smallest objects.
    """
    return max(_LEAST_SCALE, min(1.0, math.sqrt(_UNSHRUNK_PX / (frame_size[0] * frame_size[1]))))


class Tiles(Tiling):
    """Covers the frame with equal tiles, batched through the network.

    A frame that fits into one tile is one tile of its own size, rounded up to the network's
    multiple. Larger frames get tiles spread evenly, overlapping by at least ``overlap``.

    Args:
        tile_size: largest ``(width, height)`` of a tile in frame pixels.
        overlap: least overlap of neighbours in frame pixels; at least the size of the largest
            object that must be seen whole.
        multiple: tile sides in network pixels are multiples of this.
        scale: network pixels per frame pixel; :data:`AUTOMATIC_SCALE` takes
            :func:`automatic_scale`.
    """

    def __init__(
        self, tile_size: Tuple[int, int], overlap: int, multiple: int, scale: float = 1.0
    ) -> None:
        self._tile_size = tile_size
        self._overlap = overlap
        self._multiple = multiple
        self._scale = scale

    def crops(self, frame_size: Tuple[int, int]) -> List[Crop]:
        scale = automatic_scale(frame_size) if self._scale == AUTOMATIC_SCALE else self._scale
        width, out_width, columns = self._axis(frame_size[0], self._tile_size[0], scale)
        height, out_height, rows = self._axis(frame_size[1], self._tile_size[1], scale)
        return [Crop(x, y, width, height, out_width, out_height) for y in rows for x in columns]

    def owned(self, crops: Sequence[Crop], index: int, centres: np.ndarray) -> np.ndarray:
        """A tile reports what no other tile sees clearly more of (by an eighth of the overlap)."""
        outline = (
            min(crop.x for crop in crops),
            min(crop.y for crop in crops),
            max(crop.x + crop.width for crop in crops),
            max(crop.y + crop.height for crop in crops),
        )
        depths = np.stack([_depth(crop, outline, centres) for crop in crops])
        return np.asarray(depths[index] >= depths.max(axis=0) - self._overlap / 8)

    def _axis(self, length: int, largest: int, scale: float) -> Tuple[int, int, List[int]]:
        """Along one axis: a tile's side in frame and in network pixels, and where tiles start."""
        rounded = math.ceil(length * scale / self._multiple) * self._multiple
        fitting = max(1, int(largest * scale) // self._multiple) * self._multiple
        out_side = rounded if length <= largest else min(rounded, fitting)
        side = round(out_side / scale)
        if side >= length:
            return side, out_side, [0]
        step = max(1, side - self._overlap)
        count = -(-(length - side) // step) + 1
        return side, out_side, [round(i * (length - side) / (count - 1)) for i in range(count)]


def _depth(crop: Crop, outline: Tuple[int, int, int, int], centres: np.ndarray) -> np.ndarray:
    """How far inside the crop each point lies: distance in pixels to its nearest seam. A side on
    the outline is no seam: nothing beyond it could be seen by another tile."""
    x, y = centres[:, 0], centres[:, 1]
    right, bottom = crop.x + crop.width, crop.y + crop.height
    distances = [
        (x - crop.x, crop.x == outline[0]),
        (y - crop.y, crop.y == outline[1]),
        (right - x, right == outline[2]),
        (bottom - y, bottom == outline[3]),
    ]
    far = float(outline[2] - outline[0] + outline[3] - outline[1])
    outside = (x < crop.x) | (x > right) | (y < crop.y) | (y > bottom)
    depth = np.full(len(centres), far)
    for distance, on_outline in distances:
        if not on_outline:
            depth = np.minimum(depth, distance)
    return np.where(outside, -far, depth)
