"""The matcher of retrieval: the cosine of two embeddings."""

from __future__ import annotations

import torch
from torch import Tensor

from refdet_core.errors import ConfigError
from refdet_core.model.config import SiameseConfig
from refdet_core.model.correlation import unit
from refdet_core.model.matcher import Matcher

_LARGEST = 1 - 1e-4  # its logit is 9.9; FP16 can still distinguish it from 1


class Cosine(Matcher):
    """The cosine ``c`` of every cell's vector with the template's, as the logit of ``(1 + c) / 2``,
    so that the score is this share before any calibration."""

    out_channels = 1

    @classmethod
    def from_config(cls, config: SiameseConfig, kernel_cells: int) -> Matcher:
        if kernel_cells != 1:
            raise ConfigError(
                f"The matcher 'cosine' compares one vector, not {kernel_cells} cells per side; use "
                "it with the neck 'embedding'."
            )
        return cls()

    def encode_kernel(self, kernel: Tensor) -> Tensor:
        return unit(kernel)

    def encode_frame(self, features: Tensor) -> Tensor:
        return unit(features)

    def forward(self, frame: Tensor, kernel: Tensor) -> Tensor:
        views, channels = kernel.shape[0], kernel.shape[1]
        batch, _, height, width = frame.shape
        # The mean of several unit vectors is shorter than they are.
        prototypes = unit(kernel).reshape(views, channels)
        cosines = torch.matmul(prototypes, frame.reshape(batch, channels, height * width))
        cosines = cosines.clamp(-_LARGEST, _LARGEST).reshape(batch, views, 1, height, width)
        return torch.log((1 + cosines) / (1 - cosines))
