"""The base of the backbones: timm's feature pyramids, with their normalisation built in."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Dict, List, Sequence, Tuple

import timm
import torch
from torch import Tensor, nn

from refdet_core.errors import ConfigError

Channels = Tuple[float, float, float]
IMAGENET = ((123.675, 116.28, 103.53), (58.395, 57.12, 57.375))
PLAIN = ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))

_NORMALISATION: Dict[str, Tuple[Channels, Channels]] = {
    "mobilenetv3_large_075": PLAIN,
    "tf_efficientnet_lite0": ((127.5,) * 3, (127.5,) * 3),
}
"""(mean, std) that a pyramid's weights expect of RGB 0-255, where it is not ImageNet's. The weights
of the 0.75 MobileNet were trained on COCO with plain 0-255 in TensorFlow; its one-sided padding is
omitted because it costs ONNX Runtime a quarter of the graph's time."""


class Backbone(nn.Module):
    """A timm feature pyramid that ends at its deepest needed stride.

    Other kinds of backbones derive from it and build another ``net``.

    Args:
        name: one of :data:`refdet_core.model.backbones.BACKBONES`.
        strides: which levels to return, e.g. ``(8, 16)``, finest first.
        pretrained: load timm's weights from its hub.
        cut_blocks: number of blocks to drop at the end of the deepest level (they repeat at the
            same size, so the level keeps its channels). MobileNets and EfficientNets only.

    Shape: ``(B, 3, H, W)`` float32 RGB 0-255 to a list of ``(B, C_i, h_i, w_i)``.

    Attributes:
        channels: ``C_i`` of each level.
        lost_cells: cells that its unpadded layers drop, see :meth:`cells`.
    """

    mean: Tensor
    std: Tensor
    net: Any
    lost_cells: int = 0

    def __init__(
        self, name: str, strides: Sequence[int], pretrained: bool = False, cut_blocks: int = 0
    ) -> None:
        super().__init__()
        mean, std = self.normalisation(name)
        self.normalises = (mean, std) != PLAIN
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(1, 3, 1, 1), persistent=False)
        self.stride = strides[0]
        self.net, self.channels = self._build(name, strides, pretrained)
        if cut_blocks:
            self._cut(cut_blocks)

    @staticmethod
    def normalisation(name: str) -> Tuple[Channels, Channels]:
        """(mean, std) that the weights expect of RGB 0-255."""
        return _NORMALISATION.get(name, IMAGENET)

    def cells(self, side_px: int) -> int:
        """Cells per side of the finest level for an input of that side: for ``8 n`` pixels, and
        without padding for ``8 n - 1``, ``n`` less :attr:`lost_cells`."""
        return (side_px + 1) // self.stride - self.lost_cells

    def forward(self, image: Tensor) -> List[Tensor]:
        return self.levels(self.stem(image))

    def stem(self, image: Tensor) -> Tensor:
        """What :meth:`levels` begins with: the features of the finest level, or, in backbones whose
        layers cannot be told apart, the normalised image."""
        normalised = (image - self.mean) / self.std if self.normalises else image
        return _through(self.parts()[0], normalised)

    def levels(self, stem: Tensor) -> List[Tensor]:
        """The features of every level, from what :meth:`stem` gave."""
        features = [stem]
        for layers in self.parts()[1:]:
            features.append(_through(layers, features[-1]))
        return features

    def stem_layers(self) -> nn.Module:
        """The layers of :meth:`stem`."""
        return nn.Sequential(*self.parts()[0])

    def parts(self) -> List[List[nn.Module]]:
        """The layers up to each level, from the level before; the first are the stem."""
        if hasattr(self.net, "blocks"):  # MobileNets and EfficientNets
            first = [layer for name, layer in self.net.named_children() if name != "blocks"]
            layers = [*first, *self.net.blocks]
            ends = [len(first) + stage for stage in self.net._stage_out_idx]
        else:
            layers = list(self.net.values())
            ends = [list(self.net).index(name) + 1 for name in self.net.return_layers]
        return [layers[begin:end] for begin, end in zip([0, *ends], ends)]

    def _build(
        self, name: str, strides: Sequence[int], pretrained: bool
    ) -> Tuple[nn.Module, List[int]]:
        """``net`` and the channels of its levels."""
        net = timm_pyramid(name, strides, pretrained)
        if hasattr(net, "_stage_out_idx"):  # timm keeps unused MobileNet blocks
            net.blocks = net.blocks[: max(net._stage_out_idx)]
        return net, net.feature_info.channels()

    def _cut(self, count: int) -> None:
        blocks = list(self.net.blocks[-1]) if hasattr(self.net, "blocks") else []
        if not 0 < count < len(blocks):
            raise ConfigError(
                f"cut_blocks is {count}; the deepest level here has {len(blocks)} blocks, of which "
                "the first must stay."
            )
        self.net.blocks[-1] = nn.Sequential(*blocks[:-count])

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


def _through(layers: Sequence[nn.Module], features: Tensor) -> Tensor:
    for layer in layers:
        features = layer(features)
    return features


def timm_pyramid(name: str, strides: Sequence[int], pretrained: bool, **options: Any) -> Any:
    """A feature pyramid of timm's, with the deepest levels of these strides.

    Args:
        strides: a stride that is named n times stands for the n deepest levels of it.
        options: for ``timm.create_model``.

    Raises:
        ConfigError: there is no such level.
    """
    probe = timm.create_model(name, features_only=True, **options)
    available = probe.feature_info.reduction()
    missing = [stride for stride in strides if available.count(stride) < strides.count(stride)]
    if missing:
        raise ConfigError(f"'{name}' has no features at stride {missing}; it has {available}.")
    indices: List[int] = []
    for stride in dict.fromkeys(strides):
        levels = [index for index, other in enumerate(available) if other == stride]
        indices += levels[-list(strides).count(stride) :]
    return timm.create_model(
        name, pretrained=pretrained, features_only=True, out_indices=indices, **options
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
