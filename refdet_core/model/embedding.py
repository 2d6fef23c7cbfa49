"""Embeddings of whole windows: one vector that describes the content, for retrieval."""

from __future__ import annotations

from typing import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from refdet_core.errors import ConfigError
from refdet_core.model.config import SiameseConfig
from refdet_core.model.grid import Grid


class EmbeddingNeck(nn.Module):
    """The mean feature of every window through two 1x1 convolutions.

    A picture as large as a template has one window. In a larger one there is a window every
    ``embedding_stride`` pixels, and all are computed in one pass.

    Shape: list of one ``(B, C, h, w)`` to ``(B, channels, rows, columns)`` of windows.

    Args:
        in_channels: of the only level.
        hidden, channels: of the two layers.
        cells: per side of a window.
        step: cells from window to window.
    """

    def __init__(self, in_channels: int, hidden: int, channels: int, cells: int, step: int) -> None:
        super().__init__()
        self.cells, self.step = cells, step
        self.layers = nn.Sequential(
            nn.Conv2d(in_channels, hidden, 1), nn.ReLU(), nn.Conv2d(hidden, channels, 1)
        )

    @classmethod
    def from_config(
        cls, config: SiameseConfig, in_channels: Sequence[int], template_cells: int
    ) -> EmbeddingNeck:
        """Build it for windows of ``template_cells`` cells per side.

        Raises:
            ConfigError: several levels, no cell left, or a stride that is not one of the cells'.
        """
        if len(in_channels) != 1:
            raise ConfigError(f"The neck 'embedding' takes one level, not {len(in_channels)}.")
        if template_cells < 1:
            raise ConfigError(
                f"template_size {config.template_size} leaves no cell of '{config.backbone}' at "
                f"stride {config.strides[0]}; enlarge it or take a finer level."
            )
        if config.embedding_stride % config.strides[0] or config.template_size % config.strides[0]:
            raise ConfigError(
                f"embedding_stride {config.embedding_stride} and template_size "
                f"{config.template_size} must be multiples of the backbone's stride "
                f"{config.strides[0]}."
            )
        step = config.embedding_stride // config.strides[0]
        return cls(in_channels[0], config.hidden, config.channels, template_cells, step)

    def forward(self, levels: Sequence[Tensor]) -> Tensor:
        embedded: Tensor = self.layers(F.avg_pool2d(levels[0], self.cells, self.step))
        return embedded


def windows_grid(config: SiameseConfig) -> Grid:
    """Where the windows lie: the first one in the corner, its centre half a window inside.

    Raises:
        ConfigError: ``img_size`` or ``heatmap_size`` does not fit the windows.
    """
    window, stride = config.template_size, config.embedding_stride
    count = (config.img_size - window) // stride + 1
    if config.img_size % stride or window % stride or count != config.heatmap_size:
        raise ConfigError(
            f"img_size {config.img_size} and template_size {window} must be multiples of "
            f"embedding_stride {stride}, and heatmap_size, now {config.heatmap_size}, the windows "
            f"per side: {count}."
        )
    lost = window // stride - 1
    before = lost // 2
    return Grid(float(stride), window / 2, (before, lost - before))
