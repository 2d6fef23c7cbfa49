"""The matchers of SiamRPN and SiamRPN++: one comparison to classify anchors, one to move them.

Both learn a 3x3 convolution without padding on either side of each comparison.
"""

from __future__ import annotations

from typing import List

import torch
from torch import Tensor, nn

from refdet_core.errors import ConfigError
from refdet_core.model.config import SiameseConfig
from refdet_core.model.correlation import correlate, correlate_depthwise
from refdet_core.model.matcher import Matcher

_CLASSES, _DELTAS = 2, 4
_SHRINKS = 2  # cells, by a 3x3 convolution


class UpChannel(Matcher):
    """Up-channel cross-correlation (SiamRPN, Li et al. 2018, section 3.2).

    The template's features are expanded to one kernel for each class and for each delta of every
    anchor, so the responses *are* the logits and (before a last 1x1) the deltas.

    Args:
        channels: C of the features.
        kernel_cells: of the template's features, per side.
        anchors: k for each cell.
        scale: factor on the responses. Each adds up thousands of products; unscaled, random kernels
            begin with logits of +-40, and one step of SGD changes them by hundreds.

    Shape: kernels ``(V, 6 k C, s, s)``, ``2 k`` for classes first; frames ``(B, 2 C, h, w)``;
    responses ``(B, V, 6 k, h, w)``.
    """

    def __init__(self, channels: int, kernel_cells: int, anchors: int, scale: float) -> None:
        super().__init__()
        self.out_channels = (_CLASSES + _DELTAS) * anchors
        self.lost_cells = _SHRINKS + _inner(kernel_cells) - 1
        self.channels, self.classes = channels, _CLASSES * anchors
        self.template = nn.Conv2d(channels, channels * self.out_channels, 3)
        self.search = nn.Conv2d(channels, 2 * channels, 3)
        self.scale = scale

    @classmethod
    def from_config(cls, config: SiameseConfig, kernel_cells: int) -> Matcher:
        if len(config.strides) > 1:
            raise ConfigError("The matcher 'up_channel' takes one level; use depthwise_branches.")
        anchors = len(config.anchor_ratios) * len(config.anchor_scales)
        return cls(config.channels, kernel_cells, anchors, config.response_scale)

    def encode_kernel(self, kernel: Tensor) -> Tensor:
        expanded: Tensor = self.template(kernel)
        return expanded

    def encode_frame(self, features: Tensor) -> Tensor:
        encoded: Tensor = self.search(features)
        return encoded

    def forward(self, frame: Tensor, kernel: Tensor) -> Tensor:
        size = kernel.shape[-2:]
        split = self.channels * self.classes
        kernels = (kernel[:, :split], kernel[:, split:])
        frames = (frame[:, : self.channels], frame[:, self.channels :])
        responses = [
            correlate(searched, wanted.reshape(kernel.shape[0], -1, self.channels, *size))
            for searched, wanted in zip(frames, kernels)
        ]
        return torch.cat(responses, dim=2) * self.scale


class DepthwiseBranches(Matcher):
    """Depthwise cross-correlation for every level, once for classes and once for deltas (SiamRPN++,
    Li et al. 2019, section 3.5).

    Args:
        channels: C of each level's features.
        kernel_cells: of the template's features, per side.
        levels: L.

    Shape: kernels ``(V, L 2 C, s, s)`` and frames ``(B, L 2 C, h, w)``, level by level, classes
    first; responses ``(B, V, L 2 C, h, w)``.
    """

    def __init__(self, channels: int, kernel_cells: int, levels: int) -> None:
        super().__init__()
        self.channels = channels
        self.out_channels = levels * 2 * channels
        self.lost_cells = _SHRINKS + _inner(kernel_cells) - 1
        self.template = nn.ModuleList(_branches(channels) for _ in range(levels))
        self.search = nn.ModuleList(_branches(channels) for _ in range(levels))

    @classmethod
    def from_config(cls, config: SiameseConfig, kernel_cells: int) -> Matcher:
        return cls(config.channels, kernel_cells, len(config.strides))

    def encode_kernel(self, kernel: Tensor) -> Tensor:
        return self._encode(self.template, kernel)

    def encode_frame(self, features: Tensor) -> Tensor:
        return self._encode(self.search, features)

    def forward(self, frame: Tensor, kernel: Tensor) -> Tensor:
        return correlate_depthwise(frame, kernel)

    def _encode(self, layers: nn.ModuleList, features: Tensor) -> Tensor:
        parts: List[Tensor] = [
            layer(features[:, level * self.channels : (level + 1) * self.channels])
            for level, layer in enumerate(layers)
        ]
        return torch.cat(parts, dim=1)


def _branches(channels: int) -> nn.Module:
    """Both branches of one level: their 3x3 convolutions side by side."""
    return nn.Sequential(
        nn.Conv2d(channels, 2 * channels, 3, bias=False),
        nn.BatchNorm2d(2 * channels),
        nn.ReLU(inplace=True),
    )


def _inner(kernel_cells: int) -> int:
    """Cells that the 3x3 convolution leaves of the template's.

    Raises:
        ConfigError: none.
    """
    if kernel_cells <= _SHRINKS:
        raise ConfigError(
            f"The template's {kernel_cells} cells per side are too few: a 3x3 convolution takes "
            f"{_SHRINKS} of them. Give a larger kernel_size or template_size."
        )
    return kernel_cells - _SHRINKS
