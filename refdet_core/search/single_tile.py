"""The whole frame as one letterboxed tile: cheapest, but very small objects are lost."""

from __future__ import annotations

from dataclasses import dataclass
from typing import List, Tuple

from refdet_core.imaging import Crop, letterbox
from refdet_core.search.tiling import Tiling


@dataclass(frozen=True)
class SingleTile(Tiling):
    """Fits the whole frame into the network's input.

    Args:
        size: ``(width, height)`` of the network input.
    """

    size: Tuple[int, int]

    def crops(self, frame_size: Tuple[int, int]) -> List[Crop]:
        return [letterbox(frame_size, self.size)]
