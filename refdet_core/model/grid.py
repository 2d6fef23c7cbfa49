"""Where the cells of a heatmap lie in the network's input."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Tuple

import torch
from torch import Tensor


@dataclass(frozen=True)
class Grid:
    """Cell ``i`` is centred at ``first_px + i * stride`` network pixels, on both axes.

    A network without padding has no output at the input's border: an object is found only if the
    kernel around it lies wholly in the picture.

    Attributes:
        stride: network pixels from cell to cell.
        first_px: centre of the first cell; half a stride where the cells cover the whole input.
        missing: cells that the whole input would have besides, before the first and after the last.
    """

    stride: float
    first_px: float
    missing: Tuple[int, int] = (0, 0)

    @staticmethod
    def covering(stride: float) -> Grid:
        """Cells that cover the whole input."""
        return Grid(stride, stride / 2)

    def centres(self, like: Tensor) -> Tuple[Tensor, Tensor]:
        """Centres x ``(1, w)`` and y ``(h, 1)`` of the cells of maps ``(..., h, w)``."""
        height, width = like.shape[-2:]
        rows = torch.arange(height, device=like.device).to(like.dtype).reshape(-1, 1)
        columns = torch.arange(width, device=like.device).to(like.dtype).reshape(1, -1)
        return columns * self.stride + self.first_px, rows * self.stride + self.first_px

    def whole(self, maps: Tensor) -> Tensor:
        """Maps ``(B, V, ..., h, w)`` with zeros where the input has cells that these lack."""
        before, after = self.missing
        if before == after == 0:
            return maps
        return torch.nn.functional.pad(maps, (before, after, before, after))
