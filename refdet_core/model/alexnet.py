"""The AlexNet-like backbone of SiamFC and SiamRPN."""

from __future__ import annotations

from typing import List, Sequence, Tuple

from torch import nn

from refdet_core.errors import ConfigError
from refdet_core.model.backbone import PLAIN, Backbone, Channels


class AlexNet(Backbone):
    """Five convolutions without padding, total stride 8 (SiamFC, Bertinetto et al. 2016, table 1).

    A 127-px template has 6 x 6 features of 256 channels, a 255-px search crop 22 x 22. ``alexnet``
    has the two groups of the original; ``alexnet_ungrouped``, pysot's, has none, and a batch norm
    after the last convolution too. timm has no weights of either: they come from a file, or it
    learns from scratch.
    """

    lost_cells = 10

    @staticmethod
    def normalisation(name: str) -> Tuple[Channels, Channels]:
        return PLAIN

    def _build(
        self, name: str, strides: Sequence[int], pretrained: bool
    ) -> Tuple[nn.Module, List[int]]:
        if list(strides) != [8]:
            raise ConfigError(f"'{name}' has features at stride 8 alone, not {list(strides)}.")
        if pretrained:
            raise ConfigError(f"timm's hub has no weights of '{name}'; give a file, or none.")
        net = _layers(2, False) if name == "alexnet" else _layers(1, True)
        return net, [256]

    def parts(self) -> List[List[nn.Module]]:
        return [[self.net]]


def _layers(groups: int, normalised: bool) -> nn.Sequential:
    def convolution(inputs: int, outputs: int, size: int, stride: int, split: int) -> nn.Sequential:
        return nn.Sequential(
            nn.Conv2d(inputs, outputs, size, stride, groups=split), nn.BatchNorm2d(outputs)
        )

    def rectified(convolution: nn.Sequential, pools: bool = False) -> nn.Sequential:
        layers = [convolution, nn.ReLU(inplace=True)]
        return nn.Sequential(*layers, *([nn.MaxPool2d(3, 2)] if pools else []))

    return nn.Sequential(
        rectified(convolution(3, 96, 11, 2, 1), pools=True),
        rectified(convolution(96, 256, 5, 1, groups), pools=True),
        rectified(convolution(256, 384, 3, 1, 1)),
        rectified(convolution(384, 384, 3, 1, groups)),
        convolution(384, 256, 3, 1, groups)
        if normalised
        else nn.Conv2d(384, 256, 3, 1, groups=groups),
    )
