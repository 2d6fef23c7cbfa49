"""Feature extractors from timm, with their normalisation built in."""

from __future__ import annotations

from pathlib import Path
from typing import Dict, List, Sequence, Tuple

import timm
import torch
from torch import Tensor, nn

from refdet_core.errors import ConfigError

_IMAGENET = ((123.675, 116.28, 103.53), (58.395, 57.12, 57.375))
_NONE = ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))

BACKBONES: Dict[str, Tuple[Tuple[float, float, float], Tuple[float, float, float]]] = {
    "mobilenetv3_large_100": _IMAGENET,
    "mobilenetv3_large_075": _NONE,
    "efficientnet_b0": _IMAGENET,
    "resnet18": _IMAGENET,
}
"""timm name to the (mean, std) that its weights expect of RGB 0-255. The weights of the 0.75
MobileNet were trained on COCO with plain 0-255 in TensorFlow; its one-sided padding is omitted
because it costs ONNX Runtime a quarter of the graph's time."""


class Backbone(nn.Module):
    """A timm feature pyramid that ends at its deepest needed stride.

    Args:
        name: one of :data:`BACKBONES`.
        strides: which levels to return, e.g. ``(8, 16)``, finest first.
        pretrained: load timm's weights from its hub.
        cut_blocks: number of blocks to drop at the end of the deepest level (they repeat at the
            same size, so the level keeps its channels). MobileNets and EfficientNets only.

    Shape: ``(B, 3, H, W)`` float32 RGB 0-255 to a list of ``(B, C_i, H / stride_i, W / stride_i)``.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self, name: str, strides: Sequence[int], pretrained: bool = False, cut_blocks: int = 0
    ) -> None:
        super().__init__()
        if name not in BACKBONES:
            raise ConfigError(f"Unknown backbone '{name}'; valid are {', '.join(BACKBONES)}.")
        mean, std = BACKBONES[name]
        self.normalises = (mean, std) != _NONE
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(1, 3, 1, 1), persistent=False)
        available = timm.create_model(name, features_only=True).feature_info.reduction()
        missing = [stride for stride in strides if stride not in available]
        if missing:
            raise ConfigError(f"'{name}' has no features at stride {missing}; it has {available}.")
        indices = [available.index(stride) for stride in strides]
        self.net = timm.create_model(
            name, pretrained=pretrained, features_only=True, out_indices=indices
        )
        self.channels: List[int] = self.net.feature_info.channels()
        if hasattr(self.net, "_stage_out_idx"):  # timm keeps unused MobileNet blocks
            self.net.blocks = self.net.blocks[: max(self.net._stage_out_idx)]
        if cut_blocks:
            self._cut(cut_blocks)

    def _cut(self, count: int) -> None:
        blocks = list(self.net.blocks[-1]) if hasattr(self.net, "blocks") else []
        if not 0 < count < len(blocks):
            raise ConfigError(
                f"cut_blocks is {count}; the deepest level here has {len(blocks)} blocks, of which "
                "the first must stay."
            )
        self.net.blocks[-1] = nn.Sequential(*blocks[:-count])

    def forward(self, image: Tensor) -> List[Tensor]:
        if self.normalises:
            image = (image - self.mean) / self.std
        features: List[Tensor] = self.net(image)
        return features

    def load_weights(self, path: Path) -> None:
        """Load the matching part of a timm state dict (.safetensors or .pth).

        Raises:
            ConfigError: a layer this backbone uses has no weights in the file.
        """
        state = _read_state(path)
        result = self.net.load_state_dict(state, strict=False)
        if result.missing_keys:
            raise ConfigError(
                f"{path} lacks weights of {len(result.missing_keys)} layers of this backbone, "
                f"first {result.missing_keys[0]}; is it of another architecture?"
            )


def _read_state(path: Path) -> Dict[str, Tensor]:
    if path.suffix == ".safetensors":
        from safetensors.torch import load_file

        state = load_file(str(path))
    else:
        state = torch.load(str(path), map_location="cpu", weights_only=True)
    return {
        key: value.float() if value.is_floating_point() else value for key, value in state.items()
    }
