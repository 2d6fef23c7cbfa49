"""Spreads a full-frame search over several frames, on a device that is too slow to do it in one."""

from __future__ import annotations

from typing import Dict, List, Sequence

import numpy as np

from refdet_core.imaging import Crop

_MOST_REMEMBERED = 4096  # of tiles; those of former frame sizes and scales may never come again


class TileSchedule:
    """Hands out a few tiles per frame until each was searched once, then starts the next round.

    A round starts with the scale that scored highest last time, and within it with the highest
    tiles, so that a likely object is searched again soon. No tile that is always requested waits
    longer than two rounds.

    Args:
        budget: maximum number of tiles per frame; 0: all.

    Attributes:
        round_is_over: whether no tile of the last request is left for the next frame.
    """

    def __init__(self, budget: int) -> None:
        self._budget = budget
        self.round_is_over = True
        self._waiting: List[Crop] = []
        self._best_scores: Dict[Crop, float] = {}

    def next(self, scales: Sequence[Sequence[Crop]]) -> List[List[int]]:
        """The tiles to search in this frame. New tiles join the present round.

        Args:
            scales: all tiles by scale, the most promising scale first.

        Returns:
            For each scale the indices of its tiles that are due.
        """
        tiles = [tile for some in scales for tile in some]
        if not self._budget or self._budget >= len(tiles):
            self.round_is_over = True
            return [list(range(len(some))) for some in scales]
        if len(self._best_scores) > _MOST_REMEMBERED:
            self._waiting, self._best_scores = [], {}
        self._waiting += [tile for tile in tiles if tile not in self._best_scores]
        for tile in tiles:
            self._best_scores.setdefault(tile, 0.0)
        asked = set(tiles)
        due = [tile for tile in self._waiting if tile in asked]
        if not due:
            due = self._by_promise(scales)
            self._waiting += due
        chosen = set(due[: self._budget])
        self._waiting = [tile for tile in self._waiting if tile not in chosen]
        self.round_is_over = not asked.intersection(self._waiting)
        return [[i for i, tile in enumerate(some) if tile in chosen] for some in scales]

    def record(self, tiles: Sequence[Crop], best_scores: np.ndarray) -> None:
        """Remember the best score ``(N,)`` of each searched tile."""
        if self._budget:
            self._best_scores.update(zip(tiles, (float(score) for score in best_scores)))

    def _by_promise(self, scales: Sequence[Sequence[Crop]]) -> List[Crop]:
        """All tiles in the order of a round; equal ones in the given order."""
        known = self._best_scores
        ranked = sorted(scales, key=lambda some: -max((known[tile] for tile in some), default=0.0))
        return [tile for some in ranked for tile in sorted(some, key=lambda tile: -known[tile])]
