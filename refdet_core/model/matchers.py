"""The matchers by name, and refdet's own two: cosines and a depthwise correlation with padding.

In both, correlation is one matrix product with all views at once, so each further template costs
little.
"""

from __future__ import annotations

from typing import Dict, List, Type

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from refdet_core.errors import ConfigError
from refdet_core.model.attention import CrossAttention
from refdet_core.model.config import SiameseConfig
from refdet_core.model.correlation import unit
from refdet_core.model.cosine_matcher import Cosine
from refdet_core.model.matcher import Matcher
from refdet_core.model.siamfc_matcher import Correlation
from refdet_core.model.siamrpn_matchers import DepthwiseBranches, UpChannel


class _Own(Matcher):
    """Built from the channels, the kernel's side and the number of template scales."""

    def __init__(self, channels: int, kernel_size: int, scales: int = 1) -> None:
        super().__init__()

    @classmethod
    def from_config(cls, config: SiameseConfig, kernel_cells: int) -> Matcher:
        return cls(config.channels, kernel_cells, len(config.template_scales))


class Depthwise(_Own):
    """Depthwise cross-correlation (SiamRPN++, Li et al. 2019) followed by a 1x1 convolution.

    Both are linear, so they are computed together: for each kernel cell the 1x1 weights are scaled
    by the kernel's channels, one matrix product applies them to the frame, and the results are
    shifted by the cell's offset and summed. Equal to ``conv2d(groups=C)`` + 1x1.
    """

    def __init__(
        self, channels: int, kernel_size: int, scales: int = 1, out_channels: int = 32
    ) -> None:
        super().__init__(channels, kernel_size)
        self.out_channels = out_channels
        self.kernel_size = kernel_size
        self.mix = nn.Parameter(torch.empty(out_channels, channels))
        nn.init.kaiming_uniform_(self.mix, a=5**0.5)

    def forward(self, frame: Tensor, kernel: Tensor) -> Tensor:
        size, half = self.kernel_size, self.kernel_size // 2
        batch, channels, height, width = frame.shape
        views = kernel.shape[0]
        # (V, C, k*k) -> (k*k, V, M, C): the 1x1 weights seen through each kernel cell
        cells = kernel.reshape(views, channels, size * size).permute(2, 0, 1)
        weights = (cells.unsqueeze(2) * self.mix).reshape(-1, channels)
        responses = torch.matmul(weights, frame.reshape(batch, channels, height * width))
        responses = responses.reshape(batch, size * size, views * self.out_channels, height, width)
        padded = F.pad(responses, (half, half, half, half, 0, 0))
        parts: List[Tensor] = []
        for row in range(size):
            for column in range(size):
                cell = padded[:, row * size + column]
                parts.append(cell[:, :, row : row + height, column : column + width])
        summed = torch.stack(parts).sum(dim=0)
        return summed.reshape(batch, views, self.out_channels, height, width)


class Pixelwise(_Own):
    """Cosine of every frame cell with every kernel cell (pixel-wise correlation, Alpha-Refine,
    Yan et al. 2021), and with the mean of each template scale's cells.

    The following head learns the arrangement of the parts. Cosines mean the same for an object
    never seen in training, so this generalises from few instances.

    Args:
        channels: of one level.
        scales: template scales, whose kernels are stacked vertically: ``kernel (V, C, S k, k)``.
        levels: backbone levels that are compared each on its own, their channels one after the
            other.
    """

    def __init__(self, channels: int, kernel_size: int, scales: int = 1, levels: int = 1) -> None:
        super().__init__(channels, kernel_size)
        self.scales = scales
        self.levels = levels
        self.out_channels = levels * scales * (kernel_size * kernel_size + 1)

    @classmethod
    def from_config(cls, config: SiameseConfig, kernel_cells: int) -> Matcher:
        scales, levels = len(config.template_scales), config.levels_apart
        return cls(config.channels, kernel_cells, scales, levels)

    def forward(self, frame: Tensor, kernel: Tensor) -> Tensor:
        parts = zip(frame.chunk(self.levels, dim=1), kernel.chunk(self.levels, dim=1))
        return torch.cat([self._cosines(own, other) for own, other in parts], dim=2)

    def _cosines(self, frame: Tensor, kernel: Tensor) -> Tensor:
        views, channels = kernel.shape[0], kernel.shape[1]
        cells = kernel.reshape(views, channels, self.scales, -1)
        cells = unit(torch.cat([cells, cells.mean(dim=3, keepdim=True)], dim=3).flatten(2))
        count = self.out_channels // self.levels
        weights = cells.permute(0, 2, 1).reshape(views * count, channels)
        batch, _, height, width = frame.shape
        cosines = torch.matmul(weights, unit(frame).reshape(batch, channels, height * width))
        return cosines.reshape(batch, views, count, height, width)


MATCHERS: Dict[str, Type[Matcher]] = {
    "depthwise": Depthwise,
    "pixelwise": Pixelwise,
    "correlation": Correlation,
    "up_channel": UpChannel,
    "depthwise_branches": DepthwiseBranches,
    "cross_attention": CrossAttention,
    "cosine": Cosine,
}


def make_matcher(config: SiameseConfig, kernel_cells: int) -> Matcher:
    """Build the matcher that the configuration names, for kernels of that many cells per side.

    Raises:
        ConfigError: an unknown name, or it does not go with the other settings.
    """
    if config.matcher not in MATCHERS:
        raise ConfigError(f"Unknown matcher '{config.matcher}'; valid are {', '.join(MATCHERS)}.")
    if len(config.template_scales) > 1 and config.matcher != "pixelwise":
        raise ConfigError(
            f"The matcher '{config.matcher}' takes one template scale, not "
            f"{len(config.template_scales)}; use pixelwise."
        )
    return MATCHERS[config.matcher].from_config(config, kernel_cells)
