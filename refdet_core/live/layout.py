"""The layout of the ``refdet live`` canvas, and the mapping from canvas to frame."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Tuple

FRAME_PANEL_PX = (1080, 680)
"""Largest width and height of the frame on the canvas; with the side column and the two bars the
canvas is at most 1360x768."""
LARGEST_SCALE = 3.0
COLUMN_PX = 256
BAR_PX = 36
GAP_PX = 8
CAPTION_PX = 22
THUMBNAILS_PX = 96
LEAST_BODY_PX = 680


@dataclass(frozen=True)
class Rectangle:
    """Whole canvas pixels."""

    x: int
    y: int
    width: int
    height: int


@dataclass(frozen=True)
class Layout:
    """The places of the parts: a bar above and below, the frame on the left, a column beside it.

    Attributes:
        size: ``(width, height)`` of the canvas.
        frame: the frame, scaled with its aspect kept.
        thumbnails: photos of the template.
        search: the search window enlarged, square.
        heatmap: the heatmap of the same window, as large.
        status, hint: the bars above and below.
        scale: canvas pixels per frame pixel.
    """

    size: Tuple[int, int]
    frame: Rectangle
    thumbnails: Rectangle
    search: Rectangle
    heatmap: Rectangle
    status: Rectangle
    hint: Rectangle
    scale: float

    def to_frame(self, x: float, y: float) -> Tuple[float, float]:
        """A point on the canvas in frame pixels; outside the frame if it is outside its panel."""
        return (x - self.frame.x) / self.scale, (y - self.frame.y) / self.scale

    def shows(self, x: float, y: float) -> bool:
        """Whether a point on the canvas lies in the frame's panel."""
        panel = self.frame
        return panel.x <= x < panel.x + panel.width and panel.y <= y < panel.y + panel.height


def layout_for(frame_size: Tuple[int, int]) -> Layout:
    """The layout for frames of this ``(width, height)``."""
    width, height = frame_size
    scale = min(FRAME_PANEL_PX[0] / width, FRAME_PANEL_PX[1] / height, LARGEST_SCALE)
    frame = Rectangle(
        GAP_PX, BAR_PX + GAP_PX, max(1, round(width * scale)), max(1, round(height * scale))
    )
    body = max(frame.height, LEAST_BODY_PX)
    column = frame.x + frame.width + GAP_PX
    square = min(COLUMN_PX, (body - THUMBNAILS_PX - 3 * CAPTION_PX - 2 * GAP_PX) // 2)
    thumbnails = Rectangle(column, frame.y + CAPTION_PX, COLUMN_PX, THUMBNAILS_PX)
    search_y = thumbnails.y + THUMBNAILS_PX + GAP_PX + CAPTION_PX
    search = Rectangle(column, search_y, square, square)
    heatmap = Rectangle(column, search_y + square + GAP_PX + CAPTION_PX, square, square)
    size = (column + COLUMN_PX + GAP_PX, body + 2 * (BAR_PX + GAP_PX))
    status = Rectangle(0, 0, size[0], BAR_PX)
    hint = Rectangle(0, size[1] - BAR_PX, size[0], BAR_PX)
    return Layout(size, frame, thumbnails, search, heatmap, status, hint, scale)
