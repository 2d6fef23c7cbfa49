"""The refdet network: one backbone for template and frame, a matcher, a head."""

from __future__ import annotations

from dataclasses import dataclass
from typing import List, Tuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from refdet_core.errors import ConfigError
from refdet_core.model.backbones import Backbone
from refdet_core.model.heads import Head, HeadOutput, decode_boxes
from refdet_core.model.matchers import make_matcher
from refdet_core.model.neck import Neck

_CONTEXT_SHARE = 0.75
"""Share of the template crop's side that becomes the kernel: the object (half of the side at
SiamFC's context 0.5) and a margin around it."""


@dataclass(frozen=True)
class SiameseConfig:
    """How the network is built. The defaults are the original configuration.

    Attributes:
        backbone: timm name, see :data:`refdet_core.model.backbones.BACKBONES`.
        strides: backbone levels that are fused, finest first.
        channels: feature channels after the 1x1 projection.
        matcher: see :data:`refdet_core.model.matchers.MATCHERS`.
        kernel_size: kernel cells per side.
        img_size: side of the square training input; at run time any multiple of the coarsest
            stride works.
        heatmap_size: cells per side for that input.
        template_size: side of the template encoder's input.
        template_scales: sizes at which the template is encoded, as shares of ``template_size``, so
            that a close-up also yields a kernel at a far object's size; ``pixelwise`` only.
        hidden: width of the head.
        box_coding: how the head encodes a box, see
            :func:`refdet_core.model.heads.decode_boxes`.
        cut_blocks: blocks dropped at the end of the backbone.
    """

    backbone: str = "mobilenetv3_large_100"
    strides: Tuple[int, ...] = (16,)
    channels: int = 256
    matcher: str = "depthwise"
    kernel_size: int = 3
    img_size: int = 320
    heatmap_size: int = 32
    template_size: int = 128
    template_scales: Tuple[float, ...] = (1.0,)
    hidden: int = 32
    box_coding: str = "log"
    cut_blocks: int = 0

    @property
    def stride(self) -> float:
        """Network pixels per heatmap cell."""
        return self.img_size / self.heatmap_size

    def __post_init__(self) -> None:
        for name in ("strides", "template_scales"):  # YAML gives lists
            object.__setattr__(self, name, tuple(getattr(self, name)))
        if self.kernel_size % 2 == 0:
            raise ConfigError(
                f"kernel_size must be odd so that it has a centre, got {self.kernel_size}."
            )
        sides = [self.img_size, *(self.template_size * scale for scale in self.template_scales)]
        if any(side <= 0 or side % self.strides[-1] for side in sides):
            raise ConfigError(
                f"img_size {self.img_size} and template_size {self.template_size} at the scales "
                f"{self.template_scales} must be multiples of the coarsest stride "
                f"{self.strides[-1]}."
            )


class Siamese(nn.Module):
    """Template encoder and detector over shared features.

    Shapes: :meth:`encode_template` ``(N, 3, Ht, Wt)`` to ``(N, C, S k, k)`` with the S
    template scales one below the other; :meth:`encode_frame`
    ``(B, 3, H, W)`` to ``(B, C, h, w)``; :meth:`match` both to :class:`HeadOutput`; images are
    float32 RGB 0-255.
    """

    def __init__(self, config: SiameseConfig, pretrained: bool = False) -> None:
        super().__init__()
        self.config = config
        self.backbone = Backbone(config.backbone, config.strides, pretrained, config.cut_blocks)
        self.neck = Neck(self.backbone.channels, config.channels)
        self.matcher = make_matcher(
            config.matcher, config.channels, config.kernel_size, len(config.template_scales)
        )
        self.head = Head(
            self.matcher.out_channels, config.channels, config.hidden, config.box_coding
        )

    def encode_template(self, image: Tensor) -> Tensor:
        """Template crops to kernels: at each scale the centre of the feature map, averaged to k x k
        cells."""
        kernels: List[Tensor] = []
        for scale in self.config.template_scales:
            scaled = image
            if scale != 1:
                # Halving bilinearly is the mean of 2x2 pixels, so nothing is skipped.
                scaled = F.interpolate(
                    image, scale_factor=scale, mode="bilinear", align_corners=False
                )
            kernels.append(self._kernel(scaled, round(self.config.template_size * scale)))
        return torch.cat(kernels, dim=2)

    def _kernel(self, image: Tensor, side_px: int) -> Tensor:
        features: Tensor = self.neck(self.backbone(image))
        side = side_px // self.config.strides[0]
        cell = max(1, int(_CONTEXT_SHARE * side) // self.config.kernel_size)
        start = (side - cell * self.config.kernel_size) // 2
        end = start + cell * self.config.kernel_size
        return F.avg_pool2d(features[:, :, start:end, start:end], cell)

    def encode_frame(self, frame: Tensor) -> Tensor:
        """Frames to features ``(B, C, H / stride, W / stride)``."""
        features: Tensor = self.neck(self.backbone(frame))
        factor = self.config.strides[0] / self.config.stride
        if factor != 1:
            features = F.interpolate(
                features, scale_factor=factor, mode="bilinear", align_corners=False
            )
        return features

    def match(self, features: Tensor, kernel: Tensor) -> HeadOutput:
        """Logits and deltas of every encoded frame with every view."""
        output: HeadOutput = self.head(self.matcher(features, kernel), features)
        return output

    def forward(self, frame: Tensor, kernel: Tensor) -> Tuple[Tensor, Tensor, Tensor]:
        """The detector graph: score, box (xyxy network pixels), presence."""
        output = self.match(self.encode_frame(frame), kernel)
        boxes = decode_boxes(output.deltas, self.config.stride, self.config.box_coding)
        return torch.sigmoid(output.score), boxes, torch.sigmoid(output.presence)
