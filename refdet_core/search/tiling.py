"""The contract of covering a frame with crops, and of choosing among such covers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Callable, List, Optional, Sequence, Tuple

import numpy as np

from refdet_core.imaging import Crop
from refdet_core.search.scales import SizeRange


class Tiling(ABC):
    """A pure function of the frame's size to crops, and of what they may report."""

    @abstractmethod
    def crops(self, frame_size: Tuple[int, int]) -> List[Crop]:
        """Crops to look at, all with the same network size.

        Args:
            frame_size: ``(width, height)`` of the frame in pixels.
        """

    def owned(self, crops: Sequence[Crop], index: int, centres: np.ndarray) -> np.ndarray:
        """Which candidate centres ``(N, 2)`` in frame pixels crop ``index`` may report.

        Overlapping crops see the same object; the one that sees it more fully reports it.
        """
        return np.ones(len(centres), dtype=bool)


TilingChoice = Callable[[Tuple[int, int], Optional[SizeRange]], Sequence[Tiling]]
"""From the frame's ``(width, height)`` and the sizes an object may have in it (None: any) to the
tilings to search it with, the most promising first. Equal tilings are one pass for all objects."""
