"""How template kernels are compared with a frame's features.

Every matcher maps ``frame (B, C, h, w)`` and ``kernel (V, C, kh, kw)`` to responses
``(B, V, M, h, w)``, same ``h, w``, zero outside the frame. None uses a convolution with run-time
weights (TensorRT up to 8.4 rejects it): correlation is one matrix product with all views at
once, so each further template costs little.
"""

from __future__ import annotations

from typing import Dict, List, Type

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from refdet_core.errors import ConfigError


def unit(features: Tensor) -> Tensor:
    """Scale every feature vector (dimension 1) to length 1."""
    return features * torch.rsqrt((features * features).sum(dim=1, keepdim=True) + 1e-6)


class Matcher(nn.Module):
    """Base of the matchers; ``out_channels`` is M."""

    out_channels: int


class Depthwise(Matcher):
    """Depthwise cross-correlation (SiamRPN++, Li et al. 2019) followed by a 1x1 convolution.

    Both are linear, so they are computed together: for each kernel cell the 1x1 weights are scaled
    by the kernel's channels, one matrix product applies them to the frame, and the results are
    shifted by the cell's offset and summed. Equal to ``conv2d(groups=C)`` + 1x1.
    """

    def __init__(
        self, channels: int, kernel_size: int, scales: int = 1, out_channels: int = 32
    ) -> None:
        super().__init__()
        if scales != 1:
            raise ConfigError(
                f"The depthwise matcher takes one template scale, not {scales}; use pixelwise."
            )
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


class Pixelwise(Matcher):
    """Cosine of every frame cell with every kernel cell (pixel-wise correlation, Alpha-Refine,
    Yan et al. 2021), and with the mean of each template scale's cells.

    The following head learns the arrangement of the parts. Cosines mean the same for an object
    never seen in training, so this generalises from few instances.

    Args:
        scales: template scales, whose kernels are stacked vertically: ``kernel (V, C, S k, k)``.
    """

    def __init__(self, channels: int, kernel_size: int, scales: int = 1) -> None:
        super().__init__()
        self.scales = scales
        self.out_channels = scales * (kernel_size * kernel_size + 1)

    def forward(self, frame: Tensor, kernel: Tensor) -> Tensor:
        views, channels = kernel.shape[0], kernel.shape[1]
        cells = kernel.reshape(views, channels, self.scales, -1)
        cells = unit(torch.cat([cells, cells.mean(dim=3, keepdim=True)], dim=3).flatten(2))
        weights = cells.permute(0, 2, 1).reshape(views * self.out_channels, channels)
        batch, _, height, width = frame.shape
        cosines = torch.matmul(weights, unit(frame).reshape(batch, channels, height * width))
        return cosines.reshape(batch, views, self.out_channels, height, width)


MATCHERS: Dict[str, Type[Matcher]] = {"depthwise": Depthwise, "pixelwise": Pixelwise}


def make_matcher(name: str, channels: int, kernel_size: int, scales: int = 1) -> Matcher:
    """Build a matcher by name, for kernels with this number of template scales."""
    if name not in MATCHERS:
        raise ConfigError(f"Unknown matcher '{name}'; valid are {', '.join(MATCHERS)}.")
    return MATCHERS[name](channels, kernel_size, scales)
