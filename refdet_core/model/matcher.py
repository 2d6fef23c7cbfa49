"""The base of the matchers: how a template is compared with a frame."""

from __future__ import annotations

from torch import Tensor, nn

from refdet_core.model.config import SiameseConfig


class Matcher(nn.Module):
    """Maps ``frame (B, C, h, w)`` and ``kernel (V, C, kh, kw)`` to responses ``(B, V, M, h, w)``.

    Padded matchers keep ``h, w``, with zeros outside the frame; unpadded ones
    (:data:`refdet_core.model.config.UNPADDED_MATCHERS`) lose :attr:`lost_cells` of them. None uses
    a convolution with run-time weights (TensorRT up to 8.4 rejects it). What can be computed from
    the template alone is computed by :meth:`encode_kernel`, once for each template, and what can
    be computed from the frame alone by :meth:`encode_frame`, once for each frame.

    Attributes:
        out_channels: M.
        lost_cells: cells per side by which the responses are smaller than the frame's features.
    """

    out_channels: int
    lost_cells: int = 0

    @classmethod
    def from_config(cls, config: SiameseConfig, kernel_cells: int) -> Matcher:
        """Build it for kernels of ``kernel_cells`` cells per side.

        Raises:
            ConfigError: it does not go with the other settings.
        """
        raise NotImplementedError

    def encode_kernel(self, kernel: Tensor) -> Tensor:
        """A template's side of the comparison, what a bundle's users keep."""
        return kernel

    def encode_frame(self, features: Tensor) -> Tensor:
        """A frame's side of the comparison."""
        return features
