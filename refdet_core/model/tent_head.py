"""The head of the cross-attention tracker: a tent over the object, and the object's sides."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from refdet_core.model.config import SiameseConfig
from refdet_core.model.grid import Grid
from refdet_core.model.head import BaseHead, HeadOutput, strongest


class TentHead(BaseHead):
    """Heatmap, and in each cell ``(w, h)`` or ``(dx, dy, w, h)`` in shares of the search's side.

    ``dx, dy`` point from the box's centre to the cell's. Without them a box is centred on its cell.
    Both maps are resized from the features' cells to the heatmap's.

    Args:
        channels: of the responses.
        hidden: width of both branches.
        search_px: side that the regression's shares are of.
        factor: heatmap cells per feature cell.
        offsets: whether there are dx and dy.
        dropout: while it learns.
    """

    def __init__(
        self,
        channels: int,
        hidden: int,
        search_px: float,
        factor: float,
        offsets: bool,
        dropout: float,
    ) -> None:
        super().__init__()
        self.search_px, self.factor, self.offsets = search_px, factor, offsets
        self.heat = _branch(channels, hidden, 1, dropout)
        self.regress = _branch(channels, hidden, 4 if offsets else 2, dropout)

    @classmethod
    def from_config(cls, config: SiameseConfig, responses: int) -> BaseHead:
        factor = config.strides[0] / config.stride
        return cls(
            responses, config.hidden, config.img_size, factor, config.box_offsets, config.dropout
        )

    def forward(self, responses: Tensor, frame: Tensor) -> HeadOutput:
        batch, views = responses.shape[:2]
        flat = responses.flatten(0, 1)
        heat, deltas = self._resized(self.heat(flat)), self._resized(self.regress(flat))
        height, width = heat.shape[-2:]
        score = heat.reshape(batch, views, height, width)
        sides = F.softplus(deltas[:, -2:])
        deltas = torch.cat([deltas[:, :2], sides], dim=1) if self.offsets else sides
        deltas = deltas.reshape(batch, views, -1, height, width)
        return HeadOutput(score, deltas, strongest(score))

    def boxes(self, output: HeadOutput, grid: Grid) -> Tensor:
        x, y = grid.centres(output.score)
        deltas = output.deltas * self.search_px
        half_width, half_height = deltas[:, :, -2] / 2, deltas[:, :, -1] / 2
        if self.offsets:
            x, y = x - deltas[:, :, 0], y - deltas[:, :, 1]
        sides = [x - half_width, y - half_height, x + half_width, y + half_height]
        return torch.stack(sides, dim=2)

    def _resized(self, maps: Tensor) -> Tensor:
        if self.factor == 1:
            return maps
        return F.interpolate(maps, scale_factor=self.factor, mode="bilinear", align_corners=False)


def _branch(channels: int, hidden: int, outputs: int, dropout: float) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels, hidden, 3, padding=1),
        nn.BatchNorm2d(hidden),
        nn.ReLU(inplace=True),
        nn.Dropout2d(dropout),
        nn.Conv2d(hidden, outputs, 1),
    )
