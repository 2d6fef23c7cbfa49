"""ResNet50 and MobileNetV2 that stay at stride 8 to their end, as SiamRPN++ uses them."""

from __future__ import annotations

from typing import List, Sequence, Tuple

from timm.models.resnet import Bottleneck
from torch import Tensor, nn

from refdet_core.model.backbone import Backbone, timm_pyramid

_TIMM_NAMES = {"resnet50_dilated": "resnet50", "mobilenetv2_dilated": "mobilenetv2_100"}
_STRIDE = 8


class DilatedBackbone(Backbone):
    """Later levels are dilated instead of strided, and strided convolutions do not pad.

    So 255 px have 31 x 31 cells and 127 px 15 x 15, cell for cell under the same pixels (SiamRPN++,
    Li et al. 2019, section 3.3; the same sizes as in pysot). Weights are the plain network's.
    """

    lost_cells = 1

    def _build(
        self, name: str, strides: Sequence[int], pretrained: bool
    ) -> Tuple[nn.Module, List[int]]:
        net = timm_pyramid(_TIMM_NAMES[name], strides, pretrained, output_stride=_STRIDE)
        for module in net.modules():
            if isinstance(module, nn.Conv2d) and module.stride[0] > 1 and module.kernel_size[0] > 1:
                module.padding = (0, 0)
        for module in list(net.modules()):
            if isinstance(module, Bottleneck) and module.stride > 1:
                module.downsample = _Trimmed(*module.downsample)
        return net, net.feature_info.channels()


class _Trimmed(nn.Sequential):
    """A 1x1 shortcut beside an unpadded 3x3 convolution: the outermost cells have no partner."""

    def forward(self, features: Tensor) -> Tensor:
        features = features[:, :, 1:-1, 1:-1]
        for layer in self:
            features = layer(features)
        return features
