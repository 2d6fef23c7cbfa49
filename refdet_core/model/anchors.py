"""Anchors: boxes of some shapes around every cell (SiamRPN, Li et al. 2018)."""

from __future__ import annotations

import math
from typing import Sequence, Tuple

import torch
from torch import Tensor

from refdet_core.model.grid import Grid


def anchor_sides(
    stride: float, ratios: Sequence[float], scales: Sequence[float]
) -> Tuple[Tuple[float, float], ...]:
    """``(width, height)`` of the anchors of one cell, network pixels.

    An anchor of ratio r (height over width) and scale s is ``s`` times a box that has the area of
    one cell, both of its sides cut to whole pixels before they are scaled, as in pysot.
    """
    sides = []
    for ratio in ratios:
        width = int(math.sqrt(stride * stride / ratio))
        height = int(width * ratio)
        sides += [(width * scale, height * scale) for scale in scales]
    return tuple(sides)


def anchor_boxes(sides: Sequence[Tuple[float, float]], grid: Grid, like: Tensor) -> Tensor:
    """Centres and sides of every anchor ``(4, k, h, w)`` for maps ``(..., h, w)``."""
    x, y = grid.centres(like)
    flat = torch.zeros_like(x + y)
    shapes = [torch.stack([x + flat, y + flat, flat + w, flat + h]) for w, h in sides]
    return torch.stack(shapes, dim=1)


def apply_deltas(anchors: Tensor, deltas: Tensor) -> Tensor:
    """Anchors ``(4, k, h, w)`` moved by deltas ``(..., 4, k, h, w)`` to xyxy boxes of that shape.

    The centre moves by (dx, dy) sides, the sides grow by ``exp(dw), exp(dh)`` (R-CNN's coding).
    """
    x, y, width, height = anchors.unbind(0)
    centre_x = x + deltas[..., 0, :, :, :] * width
    centre_y = y + deltas[..., 1, :, :, :] * height
    half_width = width / 2 * torch.exp(deltas[..., 2, :, :, :].clamp(-4, 4))
    half_height = height / 2 * torch.exp(deltas[..., 3, :, :, :].clamp(-4, 4))
    return torch.stack(
        [
            centre_x - half_width,
            centre_y - half_height,
            centre_x + half_width,
            centre_y + half_height,
        ],
        dim=-4,
    )


def wanted_deltas(anchors: Tensor, box_xyxy: Tensor) -> Tensor:
    """The inverse of :func:`apply_deltas` for one box ``(4,)``: ``(4, k, h, w)``."""
    x, y, width, height = anchors.unbind(0)
    x1, y1, x2, y2 = box_xyxy.unbind(0)
    wide, high = (x2 - x1).clamp(min=1.0), (y2 - y1).clamp(min=1.0)
    return torch.stack(
        [
            ((x1 + x2) / 2 - x) / width,
            ((y1 + y2) / 2 - y) / height,
            torch.log(wide / width),
            torch.log(high / height),
        ]
    )
