"""Targets and losses of the cross-attention tracker: a tent over the object, and box sides."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from refdet_core.model.grid import Grid
from refdet_core.model.head import HeadOutput
from refdet_core.model.siamese import Siamese
from refdet_core.model.tent_head import TentHead
from refdet_training.criteria.base import Criterion, Parts
from refdet_training.pairs import PairBatch


@dataclass(frozen=True)
class TentLossConfig:
    """Weights of the heatmap loss and the box loss.

    Attributes:
        alpha: weight of cells under the tent in the focal loss; the others weigh ``1 - alpha``.
        gamma: focusing parameter; the higher, the less easy cells count.
        heat_weight, box_weight: factors of both losses in the total.
    """

    alpha: float = 0.25
    gamma: float = 2.0
    heat_weight: float = 1.0
    box_weight: float = 1.0


def tent(boxes_xyxy: Tensor, like: Tensor, grid: Grid) -> Tensor:
    """A tent over each box: 1 at its centre, falling linearly to 0 at its sides.

    The slope is at least one cell long and the highest cell is exactly 1, so that small objects
    have a tent too.

    Shapes: ``boxes_xyxy (B, 4)`` network pixels, ``like (..., h, w)`` to ``(B, h, w)``.
    """
    x, y = grid.centres(like)
    centres = (boxes_xyxy[:, :2] + boxes_xyxy[:, 2:]) / 2
    half = ((boxes_xyxy[:, 2:] - boxes_xyxy[:, :2]) / 2).clamp(min=grid.stride)
    across = 1 - (x - centres[:, 0, None, None]).abs() / half[:, 0, None, None]
    down = 1 - (y - centres[:, 1, None, None]).abs() / half[:, 1, None, None]
    heat = across.clamp(min=0) * down.clamp(min=0)
    return heat / heat.amax(dim=(1, 2), keepdim=True).clamp(min=1e-6)


def regression(boxes_xyxy: Tensor, like: Tensor, grid: Grid, head: TentHead) -> Tensor:
    """The head's target output for the boxes: ``(B, 2 or 4, h, w)``, see :class:`TentHead`."""
    sides = (boxes_xyxy[:, 2:] - boxes_xyxy[:, :2]) / head.search_px
    height, width = like.shape[-2:]
    wanted = sides[:, :, None, None].expand(-1, -1, height, width)
    if not head.offsets:
        return wanted
    x, y = grid.centres(like)
    centres = (boxes_xyxy[:, :2] + boxes_xyxy[:, 2:]) / 2
    flat = torch.zeros_like(wanted[:, 0])
    offsets = torch.stack(
        [x - centres[:, 0, None, None] + flat, y - centres[:, 1, None, None] + flat], dim=1
    )
    return torch.cat([offsets / head.search_px, wanted], dim=1)


def focal_loss(logits: Tensor, heat: Tensor, config: TentLossConfig) -> Tensor:
    """Focal binary cross-entropy (Lin et al. 2017) with soft targets.

    Shape: ``(B, h, w)`` twice to ``()``: the sum over all cells, divided by the number of cells
    under tents.
    """
    cross_entropy = F.binary_cross_entropy_with_logits(logits, heat, reduction="none")
    p = torch.sigmoid(logits)
    hit = p * heat + (1 - p) * (1 - heat)
    alpha = torch.where(heat > 0, config.alpha, 1 - config.alpha)
    loss = alpha * (1 - hit).pow(config.gamma) * cross_entropy
    return loss.sum() / (heat > 0).sum().clamp(min=1)


def tent_loss(
    output: HeadOutput, heat: Tensor, wanted: Tensor, known: Tensor, config: TentLossConfig
) -> Parts:
    """Focal loss of the heatmap and L1 loss of the box sides, both per cell under the tent.

    Shapes: ``output`` with one view; ``heat (B, h, w)``; ``wanted (B, D, h, w)``; ``known (B,)``
    bool, whether the box gives the object's size.
    """
    under = ((heat > 0) & known[:, None, None]).to(wanted.dtype)
    difference = (output.deltas[:, 0] - wanted).abs().sum(dim=1)
    parts = {
        "heatmap": focal_loss(output.score[:, 0], heat, config),
        "box": (difference * under).sum() / under.sum().clamp(min=1),
    }
    parts["total"] = config.heat_weight * parts["heatmap"] + config.box_weight * parts["box"]
    return parts


class TentCriterion(Criterion):
    """Heatmap and box loss of each frame with its own template; absent pairs have no tent."""

    def __init__(self, config: TentLossConfig) -> None:
        self.config = config

    def __call__(
        self, network: Siamese, batch: PairBatch, features: Tensor, kernels: Tensor
    ) -> Parts:
        output = network.match_pairs(features, kernels).float()
        assert isinstance(network.head, TentHead)
        heat = tent(batch.boxes_xyxy, output.score, network.grid) * batch.present[:, None, None]
        wanted = regression(batch.boxes_xyxy, output.score, network.grid, network.head)
        return tent_loss(output, heat, wanted, batch.box_weight > 0, self.config)
