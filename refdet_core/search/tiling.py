"""The contract of covering a frame with crops."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import List, Sequence, Tuple

import numpy as np

from refdet_core.imaging import Crop


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
