"""ResNets without padding: a cell sees only the pixels under it, never the picture's border."""

from __future__ import annotations

from typing import List, Sequence, Tuple

from timm.models.resnet import BasicBlock
from torch import Tensor, nn

from refdet_core.errors import ConfigError
from refdet_core.model.backbone import Backbone, timm_pyramid

_LOST_CELLS = {4: 10, 8: 12}
"""Cells per side that are missing at a stride. A window of fewer pixels has none."""


class UnpaddedResNet(Backbone):
    """ResNet18 to stride 4 or 8 (He et al. 2016) with weights of the plain network.

    So the features of a window are the same whether it comes alone or in a large picture, and a
    picture is searched in one pass.
    """

    def _build(
        self, name: str, strides: Sequence[int], pretrained: bool
    ) -> Tuple[nn.Module, List[int]]:
        if len(strides) != 1 or strides[0] not in _LOST_CELLS:
            raise ConfigError(
                f"'{name}' has features at one of the strides {list(_LOST_CELLS)}, not at "
                f"{list(strides)}."
            )
        self.lost_cells = _LOST_CELLS[strides[0]]
        net = timm_pyramid(name[: -len("_unpadded")], strides, pretrained)
        for module in list(net.modules()):
            if isinstance(module, nn.Conv2d):
                module.padding = (0, 0)
            elif isinstance(module, nn.MaxPool2d):
                module.padding = 0
            elif isinstance(module, BasicBlock):
                rim = 1 + module.conv1.stride[0]  # of the input, around the cells that are left
                layers = module.downsample or nn.Sequential()
                module.downsample = _WithoutRim(rim, *layers)
        return net, net.feature_info.channels()


class _WithoutRim(nn.Sequential):
    """A shortcut beside two unpadded 3x3 convolutions: the outermost cells have no partner."""

    def __init__(self, rim: int, *layers: nn.Module) -> None:
        super().__init__(*layers)
        self.rim = rim

    def forward(self, features: Tensor) -> Tensor:
        features = features[:, :, self.rim : -self.rim, self.rim : -self.rim]
        for layer in self:
            features = layer(features)
        return features
