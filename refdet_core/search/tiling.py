"""The contract of covering a frame with crops, and of choosing among such covers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Callable, List, Optional, Sequence, Tuple

import numpy as np

from refdet_core.imaging import Crop
from refdet_core.search.scales import SizeRange


class Tiling(ABC):
    """Maps the frame's size to crops, and decides which crop reports a candidate."""

    @abstractmethod
    def crops(self, frame_size: Tuple[int, int]) -> List[Crop]:
        """The crops to search, all with the same network size.

        Args:
            frame_size: ``(width, height)`` of the frame in pixels.
        """

    def owned(self, crops: Sequence[Crop], index: int, centres: np.ndarray) -> np.ndarray:
        """Which candidate centres ``(N, 2)`` in frame pixels crop ``index`` reports.

        Overlapping crops show the same object; the crop that shows more of it reports it.
        """
        return np.ones(len(centres), dtype=bool)


TilingChoice = Callable[[Tuple[int, int], Optional[SizeRange]], Sequence[Tiling]]
"""From the frame's ``(width, height)`` and the sizes an object may have in it (None: any) to the
tilings to search it with, the most promising first. Equal tilings are one pass for all objects."""
