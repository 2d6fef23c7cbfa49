"""What the head should say: Gaussian heatmaps and box deltas.

Cells are addressed by their centres ``(column + 0.5, row + 0.5) * stride`` in network pixels.
"""

from __future__ import annotations

import torch
from torch import Tensor

from refdet_core.model.heads import BOX_BASE_PX


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
    centres = cell_centres(height, width, stride, boxes_xyxy.device)
    middle = (boxes_xyxy[:, :2] + boxes_xyxy[:, 2:]) / 2
    sigma = ((boxes_xyxy[:, 2:] - boxes_xyxy[:, :2]) / 6).clamp(min=stride * 0.5)
    offset = (centres[None] - middle[:, :, None, None]) / sigma[:, :, None, None]
    gaussian = torch.exp(-0.5 * (offset * offset).sum(dim=1))
    limits = torch.tensor([width, height], device=boxes_xyxy.device) * stride
    inside = ((middle >= 0) & (middle < limits)).all(dim=1)
    peak = gaussian.amax(dim=(1, 2), keepdim=True).clamp(min=1e-6)
    return torch.where(inside[:, None, None], gaussian / peak, torch.zeros_like(gaussian))


def box_deltas(boxes_xyxy: Tensor, height: int, width: int, stride: float) -> Tensor:
    """What the head should say at every cell: ``(N, 4)`` to ``(N, 4, h, w)``, the inverse of
    :func:`refdet_core.model.heads.decode_boxes`."""
    centres = cell_centres(height, width, stride, boxes_xyxy.device)
    middle = (boxes_xyxy[:, :2] + boxes_xyxy[:, 2:]) / 2
    offset = (middle[:, :, None, None] - centres[None]) / stride
    sides = (boxes_xyxy[:, 2:] - boxes_xyxy[:, :2]).clamp(min=1.0)
    size = torch.log(sides / BOX_BASE_PX)[:, :, None, None].expand(-1, -1, height, width)
    return torch.cat([offset, size], dim=1)
