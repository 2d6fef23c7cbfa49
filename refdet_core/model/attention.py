"""Cross-attention of a frame to a template, the matcher of the DINOv3 tracker."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from refdet_core.errors import ConfigError
from refdet_core.model.config import SiameseConfig
from refdet_core.model.matcher import Matcher


class CrossAttention(Matcher):
    """Every cell of the frame asks all cells of the template (multi-head attention, Vaswani et al.
    2017): queries from the frame, keys and values from the template.

    The answer is added to the frame's features, and a 1x1 convolution fuses them. Keys and values
    are all that is kept of a template. There are no position encodings but the backbone's.

    Args:
        channels: C of the features.
        heads: divide C.

    Shape: kernels ``(V, 2 C, s, s)``, keys first; responses ``(B, V, C, h, w)``.
    """

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        if heads < 1 or channels % heads:
            raise ConfigError(f"attention_heads must divide the {channels} channels, got {heads}.")
        self.out_channels = channels
        self.heads, self.depth = heads, channels // heads
        self.query = nn.Conv2d(channels, channels, 1)
        self.key_value = nn.Conv2d(channels, 2 * channels, 1)
        self.out = nn.Conv2d(channels, channels, 1)
        self.fuse = nn.Conv2d(channels, channels, 1)

    @classmethod
    def from_config(cls, config: SiameseConfig, kernel_cells: int) -> Matcher:
        return cls(config.channels, config.attention_heads)

    def encode_kernel(self, kernel: Tensor) -> Tensor:
        encoded: Tensor = self.key_value(kernel)
        return encoded

    def forward(self, frame: Tensor, kernel: Tensor) -> Tensor:
        batch, _, height, width = frame.shape
        views, channels = kernel.shape[0], self.out_channels
        answer = self.attend(self.query(frame), kernel)
        answer = self.out(answer.reshape(batch * views, channels, height, width))
        answer = answer.reshape(batch, views, channels, height, width) + frame.unsqueeze(1)
        fused: Tensor = self.fuse(answer.flatten(0, 1))
        return fused.reshape(batch, views, channels, height, width)

    def attend(self, query: Tensor, kernel: Tensor) -> Tensor:
        """Values weighed by the softmax of the scaled products; ``(B, V, C, h w)``."""
        # Not len(), which an exported graph would keep as a constant.
        batch, views = query.shape[0], kernel.shape[0]
        queries = query.reshape(batch, 1, self.heads, self.depth, -1).transpose(3, 4)
        cells = kernel.reshape(1, views, 2, self.heads, self.depth, -1)
        keys, values = cells[:, :, 0], cells[:, :, 1]
        weights = torch.softmax(torch.matmul(queries * self.depth**-0.5, keys), dim=-1)
        answers = torch.matmul(weights, values.transpose(3, 4))
        return answers.transpose(3, 4).reshape(batch, views, self.out_channels, -1)
