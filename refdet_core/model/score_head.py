"""The head of SiamFC: the responses are the scores, and boxes keep the template's size."""

from __future__ import annotations

import torch
from torch import Tensor

from refdet_core.errors import ConfigError
from refdet_core.model.config import SiameseConfig
from refdet_core.model.grid import Grid
from refdet_core.model.head import BaseHead, HeadOutput, strongest


class ScoreHead(BaseHead):
    """Finds the position, not the size: every box is a square, as large as a square object in the
    template (half of its side at SiamFC's context 0.5).

    The detector gives it the reference's shape, see
    :func:`refdet_core.box_correction.template_shape`.
    """

    def __init__(self, object_px: float) -> None:
        super().__init__()
        self.object_px = object_px

    @classmethod
    def from_config(cls, config: SiameseConfig, responses: int) -> BaseHead:
        if responses != 1:
            raise ConfigError(
                f"The head 'score' takes one response, not {responses}; use it with the matcher "
                "'correlation'."
            )
        return cls(config.template_size / 2)

    def boxes(self, output: HeadOutput, grid: Grid) -> Tensor:
        x, y = grid.centres(output.score)
        zeros, half = torch.zeros_like(output.score), self.object_px / 2
        sides = [x - half, y - half, x + half, y + half]
        return torch.stack([zeros + side for side in sides], dim=2)

    def forward(self, responses: Tensor, frame: Tensor) -> HeadOutput:
        score = responses[:, :, 0]
        return HeadOutput(score, responses[:, :, :0], strongest(score))
