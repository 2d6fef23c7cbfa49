"""From backbone levels to one feature map: 1x1 projections, summed at the finest level."""

from __future__ import annotations

from typing import List, Sequence

import torch.nn.functional as F
from torch import Tensor, nn


class Neck(nn.Module):
    """Projects every level to ``channels`` with a 1x1 convolution and sums them, coarse levels
    enlarged (top-down pathway of FPN, Lin et al. 2017); one depthwise-separable 3x3 smooths.

    Shape: list of ``(B, C_i, h_i, w_i)``, finest first, to ``(B, channels, h_0, w_0)``.
    """

    def __init__(self, in_channels: Sequence[int], channels: int) -> None:
        super().__init__()
        self.project = nn.ModuleList(nn.Conv2d(count, channels, 1) for count in in_channels)
        self.smooth = nn.Sequential(
            nn.ReLU(inplace=True),
            nn.Conv2d(channels, channels, 3, padding=1, groups=channels, bias=False),
            nn.Conv2d(channels, channels, 1, bias=False),
            nn.BatchNorm2d(channels),
        )

    def forward(self, levels: List[Tensor]) -> Tensor:
        merged = self.project[-1](levels[-1])
        for project, level in zip(list(self.project)[-2::-1], levels[-2::-1]):
            enlarged = F.interpolate(merged, scale_factor=2.0, mode="nearest")
            merged = project(level) + enlarged
        smoothed: Tensor = merged + self.smooth(merged)
        return smoothed
