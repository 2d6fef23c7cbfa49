"""Spreading a full scan over several frames on a device that cannot do it in one."""

from __future__ import annotations

from typing import List, Sequence

import numpy as np

from refdet_core.imaging import Crop


class TileSchedule:
    """Hands out a few tiles a frame until each was seen once, then begins the next round.

    A round starts with the tiles that scored highest when they were last seen, so that an object
    that showed itself is looked at again soon; no tile waits longer than two rounds.

    Args:
        budget: most tiles a frame; 0 hands out all of them.
    """

    def __init__(self, budget: int) -> None:
        self._budget = budget
        self._tiles: List[Crop] = []
        self._waiting: List[int] = []
        self._best_scores = np.zeros(0)

    def next(self, tiles: Sequence[Crop]) -> List[int]:
        """Which tiles to look at in this frame, by index. Other tiles than before start anew."""
        if not self._budget or self._budget >= len(tiles):
            return list(range(len(tiles)))
        if list(tiles) != self._tiles:
            self._tiles, self._waiting = list(tiles), []
            self._best_scores = np.zeros(len(tiles))
        if not self._waiting:
            self._waiting = [int(i) for i in np.argsort(-self._best_scores, kind="stable")]
        due, self._waiting = self._waiting[: self._budget], self._waiting[self._budget :]
        return due

    def record(self, tiles: Sequence[int], best_scores: np.ndarray) -> None:
        """Remember the best score ``(N,)`` of each tile that was looked at."""
        if len(self._best_scores):
            self._best_scores[list(tiles)] = best_scores
