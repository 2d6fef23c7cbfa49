"""How a network is composed: the one place of its settings and their defaults."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Tuple

from refdet_core.errors import ConfigError

UNPADDED_MATCHERS = ("correlation", "up_channel", "depthwise_branches", "cosine")
"""Their responses have fewer cells than the features: where the kernel lies wholly inside."""
EMBEDDING = "embedding"
"""The neck that makes one vector of a whole window, see :mod:`refdet_core.model.embedding`."""


@dataclass(frozen=True)
class SiameseConfig:
    """How the network is built. The defaults are the original configuration.

    Attributes:
        backbone: see :data:`refdet_core.model.backbones.BACKBONES`.
        strides: backbone levels that are used, finest first; ``(8, 8, 8)`` takes the last three
            levels of a backbone whose last levels are dilated.
        neck: how levels become one feature map, see :data:`refdet_core.model.neck.NECKS`.
        channels: feature channels after the neck, of each level where it keeps them apart.
        kernel: how template features become a kernel, see
            :data:`refdet_core.model.kernels.KERNELS`.
        matcher: see :data:`refdet_core.model.matchers.MATCHERS`.
        head: see :data:`refdet_core.model.heads.HEADS`.
        kernel_size: kernel cells per side.
        img_size: side of the square training input; at run time any multiple of the coarsest
            stride works.
        heatmap_size: cells per side for that input. Networks without padding have as many as their
            layers leave.
        template_size: side of the template encoder's input.
        template_scales: sizes at which the template is encoded, as shares of ``template_size``, so
            that a close-up also yields a kernel at a far object's size; ``pixelwise`` only.
        hidden: width of the head, and between the two layers of the neck ``embedding``.
        box_coding: how the head ``heatmap`` encodes a box, see
            :func:`refdet_core.model.heads.decode_boxes`.
        cut_blocks: blocks dropped at the end of the backbone.
        response_scale: factor on the responses of the matchers ``correlation`` and ``up_channel``
            (SiamFC: 0.001).
        anchor_ratios, anchor_scales: anchors of the head ``anchors``: heights over widths, and
            sides in strides.
        attention_heads: of the matcher ``cross_attention``.
        dropout: of the head ``tent`` while it learns.
        box_offsets: whether the head ``tent`` also says where the box's centre is (its regression
            has 4 channels) or only its sides (2 channels).
        bands: names of the image's bands in the order of the network's input, for example
            ``(blue, green, red, nir)``; empty: the colours of a photo, and nothing is learned about
            them.
        embedding_stride: network pixels from window to window of the neck ``embedding``; a window
            has ``template_size`` pixels a side.
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
    neck: str = "fpn"
    kernel: str = "pooled"
    head: str = "heatmap"
    response_scale: float = 0.001
    anchor_ratios: Tuple[float, ...] = (0.33, 0.5, 1.0, 2.0, 3.0)
    anchor_scales: Tuple[float, ...] = (8.0,)
    attention_heads: int = 8
    dropout: float = 0.3
    box_offsets: bool = False
    bands: Tuple[str, ...] = ()
    embedding_stride: int = 32

    @property
    def unpadded(self) -> bool:
        """Whether the responses have fewer cells than the frame's features."""
        return self.matcher in UNPADDED_MATCHERS

    @property
    def stride(self) -> float:
        """Network pixels per heatmap cell."""
        if self.neck == EMBEDDING:
            return float(self.embedding_stride)
        return float(self.strides[0]) if self.unpadded else self.img_size / self.heatmap_size

    @property
    def frame_multiple(self) -> int:
        """Frames whose sides are multiples of this many pixels can be searched."""
        return self.embedding_stride if self.neck == EMBEDDING else self.strides[-1]

    @property
    def input_bands(self) -> int:
        """Channels of the network's input."""
        return len(self.bands) or 3

    @property
    def levels_apart(self) -> int:
        """How many maps of ``channels`` channels the neck keeps apart."""
        return len(self.strides) if self.neck in ("levels", "pyramid") else 1

    def __post_init__(self) -> None:
        # YAML gives lists.
        for name in ("strides", "template_scales", "anchor_ratios", "anchor_scales", "bands"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        if list(self.strides) != sorted(self.strides):
            raise ConfigError(f"strides go from fine to coarse, got {list(self.strides)}.")
        if (self.neck == EMBEDDING) != (self.matcher == "cosine"):
            raise ConfigError(
                f"The neck '{EMBEDDING}' and the matcher 'cosine' go together, got '{self.neck}' "
                f"and '{self.matcher}'."
            )
        if self.unpadded:
            return  # their sizes need not be multiples; Siamese says when too little is left
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
