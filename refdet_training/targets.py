"""The training targets of the head: heatmaps and box deltas.

Cells are addressed by their centres ``(column + 0.5, row + 0.5) * stride`` in network pixels.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from refdet_core.errors import ConfigError
from refdet_core.model.heads import BOX_BASE_PX, BOX_CODINGS


def cell_centres(height: int, width: int, stride: float, device: torch.device) -> Tensor:
    """``(2, h, w)`` x and y of every cell's centre in network pixels."""
    rows = (torch.arange(height, device=device) + 0.5) * stride
    columns = (torch.arange(width, device=device) + 0.5) * stride
    return torch.stack([columns.expand(height, width), rows[:, None].expand(height, width)])


def gaussian_heatmap(boxes_xyxy: Tensor, height: int, width: int, stride: float) -> Tensor:
    """A Gaussian per box, as wide as the object: sigma is a sixth of each side, at least half a
    cell; the cell nearest to the centre is exactly 1.

    Shape: ``(N, 4)`` network pixels to ``(N, h, w)``; a box with centre outside gives zeros.
    """
    distance = _distance(boxes_xyxy, height, width, stride, 1 / 6, 0.5)
    return _with_peak_one(torch.exp(-0.5 * distance), boxes_xyxy, stride)


def tent_heatmap(boxes_xyxy: Tensor, height: int, width: int, stride: float) -> Tensor:
    """An elliptic tent per box: it falls in straight lines from the centre to 0 at the middles of
    the box's sides, at least one and a half cells away; the cell nearest to the centre is
    exactly 1.

    Shape: ``(N, 4)`` network pixels to ``(N, h, w)``; a box with centre outside gives zeros.
    """
    distance = _distance(boxes_xyxy, height, width, stride, 1 / 2, 1.5)
    return _with_peak_one((1 - distance.sqrt()).clamp(min=0), boxes_xyxy, stride)


HEATMAPS: dict[str, Callable[[Tensor, int, int, float], Tensor]] = {
    "gaussian": gaussian_heatmap,
    "tent": tent_heatmap,
}


def box_deltas(
    boxes_xyxy: Tensor, height: int, width: int, stride: float, coding: str = "log"
) -> Tensor:
    """The head's target output at every cell: ``(N, 4)`` to ``(N, 4, h, w)``, the inverse of
    :func:`refdet_core.model.heads.decode_boxes`. Sides are at least one pixel.

    Raises:
        ConfigError: a coding that is none of :data:`refdet_core.model.heads.BOX_CODINGS`.
    """
    if coding not in BOX_CODINGS:
        raise ConfigError(f"Unknown box coding '{coding}'; valid are {', '.join(BOX_CODINGS)}.")
    centres = cell_centres(height, width, stride, boxes_xyxy.device)
    offset = (_middle(boxes_xyxy)[:, :, None, None] - centres[None]) / stride
    size = (boxes_xyxy[:, 2:] - boxes_xyxy[:, :2]).clamp(min=1.0) / BOX_BASE_PX
    if coding == "log":
        size = torch.log(size)
    return torch.cat([offset, size[:, :, None, None].expand(-1, -1, height, width)], dim=1)


def _distance(
    boxes_xyxy: Tensor, height: int, width: int, stride: float, share: float, fewest_cells: float
) -> Tensor:
    """Squared distance ``(N, h, w)`` of every cell from each box's centre, measured on each axis
    in that share of the box's side, at least so many cells."""
    centres = cell_centres(height, width, stride, boxes_xyxy.device)
    unit = ((boxes_xyxy[:, 2:] - boxes_xyxy[:, :2]) * share).clamp(min=stride * fewest_cells)
    offset = (centres[None] - _middle(boxes_xyxy)[:, :, None, None]) / unit[:, :, None, None]
    return (offset * offset).sum(dim=1)


def _with_peak_one(heatmap: Tensor, boxes_xyxy: Tensor, stride: float) -> Tensor:
    height, width = heatmap.shape[-2:]
    middle = _middle(boxes_xyxy)
    limits = torch.tensor([width, height], device=boxes_xyxy.device) * stride
    inside = ((middle >= 0) & (middle < limits)).all(dim=1)
    peak = heatmap.amax(dim=(1, 2), keepdim=True).clamp(min=1e-6)
    return torch.where(inside[:, None, None], heatmap / peak, torch.zeros_like(heatmap))


def _middle(boxes_xyxy: Tensor) -> Tensor:
    return (boxes_xyxy[:, :2] + boxes_xyxy[:, 2:]) / 2
