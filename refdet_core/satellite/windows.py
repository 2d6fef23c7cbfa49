"""Windows over an image, in blocks that fit into the memory."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Iterator

import numpy as np

_BLOCK_WINDOWS = 31
LEAST_VALID = 0.5
"""Share of a window or an exemplar that shows data."""


@dataclass(frozen=True)
class Block:
    """Neighbouring windows that are read together.

    Attributes:
        left, top, width, height: what is read, pixels of the image.
        columns, rows: how many windows.
        width_px, height_px: of what is read, network pixels.
    """

    left: float
    top: float
    width: float
    height: float
    columns: int
    rows: int
    width_px: int
    height_px: int


@dataclass(frozen=True)
class WindowPlan:
    """A window every ``stride`` network pixels from the image's corner on, until all is covered.

    Attributes:
        width, height: of the image, pixels.
        scale: network pixels per pixel of the image.
        window, stride: network pixels.
    """

    width: int
    height: int
    scale: float
    window: int
    stride: int

    @property
    def columns(self) -> int:
        """Windows side by side."""
        return self._count(self.width)

    @property
    def rows(self) -> int:
        """Windows one below the other."""
        return self._count(self.height)

    @property
    def window_count(self) -> int:
        """All windows."""
        return self.columns * self.rows

    def blocks(self) -> Iterator[Block]:
        """All windows, each in one block."""
        for row in range(0, self.rows, _BLOCK_WINDOWS):
            for column in range(0, self.columns, _BLOCK_WINDOWS):
                columns = min(_BLOCK_WINDOWS, self.columns - column)
                rows = min(_BLOCK_WINDOWS, self.rows - row)
                width = self.window + (columns - 1) * self.stride
                height = self.window + (rows - 1) * self.stride
                yield Block(
                    left=column * self.stride / self.scale,
                    top=row * self.stride / self.scale,
                    width=width / self.scale,
                    height=height / self.scale,
                    columns=columns,
                    rows=rows,
                    width_px=width,
                    height_px=height,
                )

    def boxes(self, block: Block) -> np.ndarray:
        """The block's windows, ``(rows * columns, 4)`` xyxy pixels of the image, row by row."""
        step, side = self.stride / self.scale, self.window / self.scale
        x, y = np.meshgrid(
            block.left + step * np.arange(block.columns), block.top + step * np.arange(block.rows)
        )
        corners = np.stack([x.ravel(), y.ravel()], axis=1)
        return np.concatenate([corners, corners + side], axis=1)

    def _count(self, side: int) -> int:
        # A last window that would show less than a pixel more is left away.
        beyond = side * self.scale - self.window - self.scale
        return max(0, math.ceil(beyond / self.stride)) + 1
