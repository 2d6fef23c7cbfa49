"""The backbones by name."""

from __future__ import annotations

from typing import Dict, Sequence, Type

from refdet_core.errors import ConfigError
from refdet_core.model.alexnet import AlexNet
from refdet_core.model.backbone import Backbone
from refdet_core.model.dilated import DilatedBackbone
from refdet_core.model.fear import FearBackbone
from refdet_core.model.unpadded import UnpaddedResNet
from refdet_core.model.vit import VitBackbone

BACKBONES: Dict[str, Type[Backbone]] = {
    "mobilenetv3_large_100": Backbone,
    "mobilenetv3_large_075": Backbone,
    "efficientnet_b0": Backbone,
    "tf_efficientnet_lite0": Backbone,
    "resnet18": Backbone,
    "resnet18_unpadded": UnpaddedResNet,
    "resnet50": Backbone,
    "alexnet": AlexNet,
    "alexnet_ungrouped": AlexNet,
    "resnet50_dilated": DilatedBackbone,
    "mobilenetv2_dilated": DilatedBackbone,
    "fear_xs": FearBackbone,
    "vit_small_patch16_dinov3": VitBackbone,
    "vit_small_plus_patch16_dinov3": VitBackbone,
}
"""Name to what builds it."""


def make_backbone(
    name: str, strides: Sequence[int], pretrained: bool = False, cut_blocks: int = 0
) -> Backbone:
    """Build a backbone by name; arguments as for :class:`Backbone`."""
    if name not in BACKBONES:
        raise ConfigError(f"Unknown backbone '{name}'; valid are {', '.join(BACKBONES)}.")
    return BACKBONES[name](name, strides, pretrained, cut_blocks)
