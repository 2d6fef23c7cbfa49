"""The backbone of FEAR-XS: an inverted-residual network cut off at stride 16.

FEAR: Fast, Efficient, Accurate and Robust Visual Tracker (Borsuk et al., ECCV 2022); the layout is
that of FBNet-C (Wu et al., CVPR 2019). It was trained on large tracking sets, so its features tell
one object from another better than those of a classifier. Batch norms are folded into the
convolutions.
"""

from __future__ import annotations

from pathlib import Path
from typing import List, NamedTuple, Sequence, Tuple

import torch
from torch import Tensor, nn

from refdet_core.errors import ConfigError
from refdet_core.model.backbone import Backbone


class _Block(NamedTuple):
    """Channels in, expanded (0: not expanded) and out, side of the depthwise kernel, stride."""

    inputs: int
    expanded: int
    outputs: int
    kernel: int
    stride: int = 1


_TO_STRIDE_8 = (
    _Block(16, 0, 16, 3),
    _Block(16, 96, 24, 3, 2),
    _Block(24, 0, 24, 3),
    _Block(24, 0, 24, 3),
    _Block(24, 144, 32, 5, 2),
    _Block(32, 96, 32, 5),
    _Block(32, 192, 32, 5),
    _Block(32, 192, 32, 3),
)
_TO_STRIDE_16 = (
    _Block(32, 192, 64, 5, 2),
    _Block(64, 192, 64, 5),
    _Block(64, 384, 64, 5),
    _Block(64, 384, 64, 5),
    _Block(64, 384, 112, 5),
    _Block(112, 672, 112, 5),
    _Block(112, 672, 112, 5),
    _Block(112, 336, 112, 5),
)
CHANNELS = (32, 256)
"""Of the features at stride 8 and at stride 16."""


class InvertedResidual(nn.Module):
    """Expand, filter each channel, project; with a shortcut where the shape stays."""

    def __init__(self, block: _Block) -> None:
        super().__init__()
        width = block.expanded or block.inputs
        layers: List[nn.Module] = []
        if block.expanded:
            layers += [nn.Conv2d(block.inputs, width, 1), nn.ReLU(inplace=True)]
        layers += [
            nn.Conv2d(width, width, block.kernel, block.stride, block.kernel // 2, groups=width),
            nn.ReLU(inplace=True),
            nn.Conv2d(width, block.outputs, 1),
        ]
        self.layers = nn.Sequential(*layers)
        self.shortcut = block.stride == 1 and block.inputs == block.outputs

    def forward(self, features: Tensor) -> Tensor:
        projected: Tensor = self.layers(features)
        return features + projected if self.shortcut else projected


class FearBackbone(Backbone):
    """FEAR-XS at the strides 8 and 16; the layers to stride 8 are the stem.

    Shape: ``(B, 3, H, W)`` float32 RGB 0-255 to ``(B, 32, H / 8, W / 8)`` and ``(B, 256, H / 16,
    W / 16)``. Sides are multiples of 16.

    Raises:
        ConfigError: other strides, weights from a hub, or blocks to cut.
    """

    def _build(
        self, name: str, strides: Sequence[int], pretrained: bool
    ) -> Tuple[nn.Module, List[int]]:
        if tuple(strides) != (8, 16) or pretrained:
            raise ConfigError(
                f"The backbone '{name}' has the strides [8, 16], not {list(strides)}, and its "
                "weights come from the ONNX file its authors published."
            )
        # "layer" is how timm's ResNets call what can be frozen.
        net = nn.ModuleDict(
            {
                "layer1": nn.Sequential(
                    nn.Conv2d(3, 16, 3, 2, 1),
                    nn.ReLU(inplace=True),
                    *(InvertedResidual(block) for block in _TO_STRIDE_8),
                ),
                "layer2": nn.Sequential(
                    *(InvertedResidual(block) for block in _TO_STRIDE_16),
                    nn.Conv2d(_TO_STRIDE_16[-1].outputs, CHANNELS[1], 1),
                ),
            }
        )
        return net, list(CHANNELS)

    def parts(self) -> List[List[nn.Module]]:
        return [[self.net["layer1"]], [self.net["layer2"]]]

    def load_weights(self, path: Path) -> None:
        """Take the weights of the published ONNX graph, convolution by convolution, or a state
        dict of this network.

        Raises:
            ConfigError: another graph.
        """
        if path.suffix != ".onnx":
            super().load_weights(path)
            return
        import onnx
        from onnx import numpy_helper

        try:
            graph = onnx.load(str(path)).graph
        except Exception as error:  # protobuf's own errors share no useful base class
            raise ConfigError(f"{path} cannot be read as an ONNX graph: {error}") from error
        stored = {item.name: numpy_helper.to_array(item) for item in graph.initializer}
        origin = {node.output[0]: node.input[0] for node in graph.node if node.op_type == "Cast"}
        found = [
            [
                torch.from_numpy(stored[origin.get(name, name)].copy()).float()
                for name in node.input[1:]
            ]
            for node in graph.node
            if node.op_type == "Conv"
        ]
        own = [module for module in self.net.modules() if isinstance(module, nn.Conv2d)]
        shapes = [tuple(module.weight.shape) for module in own]
        if [tuple(weights[0].shape) for weights in found] != shapes:
            raise ConfigError(
                f"{path} is not the backbone of FEAR-XS: expected {len(own)} convolutions of its "
                f"shapes, found {len(found)}."
            )
        for module, (weight, bias) in zip(own, found):
            module.weight.data.copy_(weight)
            assert module.bias is not None
            module.bias.data.copy_(bias)
