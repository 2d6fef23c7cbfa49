"""Overlapping tiles that show a frame at one scale."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import List, Sequence, Tuple

import numpy as np

from refdet_core.imaging import Crop
from refdet_core.search.tiling import Tiling


@dataclass(frozen=True)
class Tiles(Tiling):
    """Covers the frame with equal tiles, batched through the network.

    A frame that fits into one tile is one tile of its own size, rounded up to the network's
    multiple and least side. Larger frames get the smallest number of tiles that overlap enough,
    evenly spread and no larger than necessary.

    Args:
        tile_size: largest ``(width, height)`` of a tile in network pixels.
        overlap: minimum overlap of neighbours in network pixels; at least the size of the largest
            object that must fit into one tile.
        multiple: tile sides in network pixels are multiples of this.
        scale: network pixels per frame pixel.
        least: tile sides in network pixels are at least this, a multiple.
    """

    tile_size: Tuple[int, int]
    overlap: int
    multiple: int
    scale: float = 1.0
    least: int = 0

    def crops(self, frame_size: Tuple[int, int]) -> List[Crop]:
        width, out_width, columns = self._axis(frame_size[0], self.tile_size[0])
        height, out_height, rows = self._axis(frame_size[1], self.tile_size[1])
        return [Crop(x, y, width, height, out_width, out_height) for y in rows for x in columns]

    def owned(self, crops: Sequence[Crop], index: int, centres: np.ndarray) -> np.ndarray:
        """A tile reports a candidate unless another tile shows clearly more of it (an eighth of the
        overlap)."""
        outline = (
            min(crop.x for crop in crops),
            min(crop.y for crop in crops),
            max(crop.x + crop.width for crop in crops),
            max(crop.y + crop.height for crop in crops),
        )
        depths = np.stack([_depth(crop, outline, centres) for crop in crops])
        margin = self.overlap / self.scale / 8
        return np.asarray(depths[index] >= depths.max(axis=0) - margin)

    def _axis(self, length: int, largest: int) -> Tuple[int, int, List[int]]:
        """Along one axis: a tile's side in frame and network pixels, and the start of each tile."""
        whole = self._rounded(length * self.scale)
        largest = max(self.multiple, self.least, largest // self.multiple * self.multiple)
        count = 1
        if whole > largest:
            count = math.ceil((whole - self.overlap) / max(1, largest - self.overlap))
        shared = (whole + (count - 1) * self.overlap) / count
        out_side = min(max(largest, whole if count == 1 else 0), self._rounded(shared))
        side = round(out_side / self.scale)
        if count == 1 or side >= length:
            return side, out_side, [0]
        starts = [round(i * (length - side) / (count - 1)) for i in range(count)]
        return side, out_side, list(dict.fromkeys(starts))

    def _rounded(self, side: float) -> int:
        """Round up to a side that the network takes."""
        return max(self.least, math.ceil(side / self.multiple - 1e-6) * self.multiple)


def _depth(crop: Crop, outline: Tuple[int, int, int, int], centres: np.ndarray) -> np.ndarray:
    """How far inside the crop each point lies: distance in pixels to the nearest seam. A side on
    the outline is no seam, because no other tile lies beyond it."""
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
