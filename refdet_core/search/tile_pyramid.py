"""The tilings of a frame at the scales that suit an object."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional, Tuple

from refdet_core.search.scales import AUTOMATIC_SCALE, SizeRange, search_scales
from refdet_core.search.tiles import Tiles


@dataclass(frozen=True)
class TilePyramid:
    """A choice of tilings, see :data:`~refdet_core.search.tiling.TilingChoice`.

    Args:
        tile_size, overlap, multiple, least: see :class:`~refdet_core.search.tiles.Tiles`.
        scale: for every object; :data:`~refdet_core.search.scales.AUTOMATIC_SCALE` takes
            :func:`~refdet_core.search.scales.search_scales` of each.
        best_object_px: see :func:`~refdet_core.search.scales.search_scales`.
    """

    tile_size: Tuple[int, int]
    overlap: int
    multiple: int
    scale: float
    best_object_px: float
    least: int = 0

    def __call__(
        self, frame_size: Tuple[int, int], expected: Optional[SizeRange]
    ) -> Tuple[Tiles, ...]:
        scales: Tuple[float, ...] = (self.scale,)
        if self.scale == AUTOMATIC_SCALE:
            scales = search_scales(frame_size, expected, self.best_object_px)
        return tuple(
            Tiles(self.tile_size, self.overlap, self.multiple, scale, self.least)
            for scale in scales
        )
