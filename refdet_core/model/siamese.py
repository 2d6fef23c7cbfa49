"""A Siamese network: one backbone for template and frame, a neck, a matcher, a head."""

from __future__ import annotations

from typing import List, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from refdet_core.errors import ConfigError
from refdet_core.model.backbones import make_backbone
from refdet_core.model.bands import BandAdapter
from refdet_core.model.config import EMBEDDING, SiameseConfig
from refdet_core.model.embedding import windows_grid
from refdet_core.model.grid import Grid
from refdet_core.model.head import HeadOutput, Maps
from refdet_core.model.heads import make_head
from refdet_core.model.kernels import KERNELS, kernel_cells
from refdet_core.model.matchers import make_matcher
from refdet_core.model.neck import make_neck

__all__ = ["Siamese", "SiameseConfig"]


class Siamese(nn.Module):
    """Template encoder and detector over shared features.

    Shapes: :meth:`encode_template` ``(N, 3, Ht, Wt)`` to ``(N, C, S k, k)`` with the S
    template scales one below the other; :meth:`encode_frame`
    ``(B, 3, H, W)`` to ``(B, C, h, w)``; :meth:`match` both to :class:`HeadOutput`; images are
    float32 RGB 0-255.

    Attributes:
        grid: where the cells of the head's maps lie.

    Raises:
        ConfigError: an unknown name, or parts that do not go together.
    """

    def __init__(self, config: SiameseConfig, pretrained: bool = False) -> None:
        super().__init__()
        self.config = config
        self.backbone = make_backbone(
            config.backbone, config.strides, pretrained, config.cut_blocks
        )
        self.bands = BandAdapter(config.bands) if config.bands else nn.Identity()
        cells = self.backbone.cells(config.template_size)
        self.neck = make_neck(config, self.backbone.channels, cells)
        if config.neck == EMBEDDING:
            cells = 1
        first, cells = kernel_cells(config.kernel, cells, config.kernel_size)
        self.matcher = make_matcher(config, cells)
        self.head = make_head(config, self.matcher.out_channels)
        self.grid = self._grid(first)

    def encode_template(self, image: Tensor) -> Tensor:
        """Template crops to kernels, at every template scale."""
        scaled = (scaled_template(image, scale) for scale in self.config.template_scales)
        return self.encode_template_stems([self.stem(each) for each in scaled])

    def encode_template_stems(self, stems: Sequence[Tensor]) -> Tensor:
        """The same from the stem's features of the crops, one for each template scale."""
        kernels: List[Tensor] = []
        for scale, stem in zip(self.config.template_scales, stems):
            side = self.backbone.cells(round(self.config.template_size * scale))
            features = self.neck(self.backbone.levels(stem))
            kernels.append(KERNELS[self.config.kernel](features, side, self.config.kernel_size))
        kernel: Tensor = self.matcher.encode_kernel(torch.cat(kernels, dim=2))
        return kernel

    def encode_frame(self, frame: Tensor) -> Tensor:
        """Frames to features ``(B, C, h, w)``."""
        return self.encode_frame_stem(self.stem(frame))

    def stem(self, image: Tensor) -> Tensor:
        """What the other ``..._stem`` methods begin with, see :meth:`Backbone.stem`."""
        return self.backbone.stem(self.bands(image))

    def encode_frame_stem(self, stem: Tensor) -> Tensor:
        """The same from the stem's features of the frames."""
        features: Tensor = self.neck(self.backbone.levels(stem))
        factor = self.config.strides[0] / self.config.stride
        resizes = self.config.head == "tent"  # its own maps instead
        if factor != 1 and not resizes and not self.config.unpadded:
            features = F.interpolate(
                features, scale_factor=factor, mode="bilinear", align_corners=False
            )
        encoded: Tensor = self.matcher.encode_frame(features)
        return encoded

    def match(self, features: Tensor, kernel: Tensor) -> HeadOutput:
        """Logits and deltas of every encoded frame with every view."""
        output: HeadOutput = self.head(self.matcher(features, kernel), features)
        return output

    def match_pairs(self, features: Tensor, kernels: Tensor) -> HeadOutput:
        """The same of every encoded frame with the kernel of its own number alone, ``V = 1``."""
        own = zip(torch.split(features, 1), torch.split(kernels, 1))
        responses = torch.cat([self.matcher(frame, kernel) for frame, kernel in own])
        output: HeadOutput = self.head(responses, features)
        return output

    def decode(self, output: HeadOutput) -> Maps:
        """Score in [0, 1], box (xyxy network pixels) and presence in [0, 1]."""
        return self.head.decode(output, self.grid)

    def forward(self, frame: Tensor, kernel: Tensor) -> Maps:
        """The detector graph: score, box, presence."""
        return self.decode(self.match(self.encode_frame(frame), kernel))

    def _grid(self, first_cell: int) -> Grid:
        """Where the head's cells lie, if the kernel begins with this cell of the template.

        Without padding, a kernel laid over the frame's first cells finds an object as far from
        them as the template's centre is from the kernel's first cell.
        """
        config = self.config
        if config.neck == EMBEDDING:
            return windows_grid(config)
        if not config.unpadded:
            return Grid.covering(config.stride)
        lost = self.backbone.lost_cells + self.matcher.lost_cells
        left = (config.img_size + 1) // config.strides[0] - lost
        if left < 1:
            raise ConfigError(
                f"img_size {config.img_size} leaves no cell: this network's layers take "
                f"{lost} of {(config.img_size + 1) // config.strides[0]} per side."
            )
        if left != config.heatmap_size:
            raise ConfigError(
                f"heatmap_size is {config.heatmap_size}, but img_size {config.img_size} leaves "
                f"{left} cells per side in this network; set it to that."
            )
        first_px = config.template_size / 2 - config.stride * first_cell
        before = round(first_px / config.stride - 0.5)
        return Grid(config.stride, first_px, (before, lost - before))


def scaled_template(image: Tensor, scale: float) -> Tensor:
    """Template crops resized to that share of their side."""
    if scale == 1:
        return image
    # Halving bilinearly is the mean of 2x2 pixels, so nothing is skipped.
    return F.interpolate(image, scale_factor=scale, mode="bilinear", align_corners=False)
