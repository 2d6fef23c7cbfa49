"""DINOv3's vision transformers (Siméoni et al. 2025), from timm."""

from __future__ import annotations

import math
from typing import Any, List, Optional, Sequence, Tuple

import timm
import torch
from torch import Tensor, nn

from refdet_core.errors import ConfigError
from refdet_core.model.backbone import Backbone


class VitBackbone(Backbone):
    """The patch features of the last layer, normalised, at stride 16; any multiple of it works."""

    def _build(
        self, name: str, strides: Sequence[int], pretrained: bool
    ) -> Tuple[nn.Module, List[int]]:
        if list(strides) != [16]:
            raise ConfigError(f"'{name}' has features at stride 16 alone, not {list(strides)}.")
        net = timm.create_model(name, pretrained=pretrained, num_classes=0)
        net.rope = _Rope(net.rope.periods)
        for block in net.blocks:
            # The fused operator has no ONNX form at the operator set TensorRT 8.4 takes.
            block.attn.fused_attn = False
        return net, [net.embed_dim]

    def parts(self) -> List[List[nn.Module]]:
        return [[]]

    def levels(self, stem: Tensor) -> List[Tensor]:
        height, width = stem.shape[2] // self.stride, stem.shape[3] // self.stride
        tokens = self.net.forward_features(stem)[:, self.net.num_prefix_tokens :]
        return [tokens.transpose(1, 2).reshape(-1, self.channels[0], height, width)]


class _Rope(nn.Module):
    """DINOv3's rotary position embedding, in operations that an exported graph can repeat for any
    size; timm's own is computed while exporting and stays as it was."""

    periods: Tensor

    def __init__(self, periods: Tensor) -> None:
        super().__init__()
        self.register_buffer("periods", periods.clone(), persistent=False)

    def get_embed(self, shape: Any, dtype: Optional[torch.dtype] = None) -> Tensor:
        """Sines and cosines ``(h w, 2 d)`` of the patches of a grid ``(h, w)``."""
        height, width = shape
        device = self.periods.device
        rows = (torch.arange(height, device=device) + 0.5) / height * 2 - 1
        columns = (torch.arange(width, device=device) + 0.5) / width * 2 - 1
        ones = torch.ones_like(rows)[:, None] * torch.ones_like(columns)
        places = torch.stack([rows[:, None] * ones, columns * ones], dim=-1).reshape(-1, 2, 1)
        angles = (2 * math.pi * places / self.periods).flatten(1)
        angles = torch.cat([angles, angles], dim=1)
        return torch.cat([angles.sin(), angles.cos()], dim=1)
