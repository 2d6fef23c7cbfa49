"""From the bands of a satellite image to the colours that a pretrained backbone knows."""

from __future__ import annotations

from typing import Sequence, Tuple

import torch
from torch import Tensor, nn

from refdet_core.errors import ConfigError
from refdet_core.model.backbone import IMAGENET

_COLOURS = ("red", "green", "blue")


class BandAdapter(nn.Module):
    """Standardises every band and mixes the bands to red, green and blue with a 1x1 convolution.

    At first only the bands with these names count; what the others add is learned.

    Shape: ``(B, bands, H, W)`` float32, reflectance 0-255, to ``(B, 3, H, W)`` in the range of
    ImageNet's photos.

    Raises:
        ConfigError: a band is named twice.
    """

    mean: Tensor
    std: Tensor
    photo_mean: Tensor
    photo_std: Tensor

    def __init__(self, bands: Sequence[str]) -> None:
        super().__init__()
        if len(set(bands)) != len(bands):
            raise ConfigError(f"Every band has a name of its own, got {list(bands)}.")
        count = len(bands)
        self.register_buffer("mean", torch.full((1, count, 1, 1), 127.5))
        self.register_buffer("std", torch.full((1, count, 1, 1), 64.0))
        for name, values in zip(("photo_mean", "photo_std"), IMAGENET):
            self.register_buffer(name, torch.tensor(values).view(1, 3, 1, 1), persistent=False)
        self.mix = nn.Conv2d(count, 3, 1)
        with torch.no_grad():
            self.mix.weight.zero_()
            self.mix.bias.zero_()  # type: ignore[union-attr]
            known = [name for name in _COLOURS if name in bands]
            for row, colour in enumerate(_COLOURS):
                if not known:  # such as radar: every band has the same weight
                    self.mix.weight[row] = 1 / count
                else:
                    source = colour if colour in bands else known[0]
                    self.mix.weight[row, list(bands).index(source)] = 1.0

    def set_statistics(self, mean: Sequence[float], std: Sequence[float]) -> None:
        """Take over mean and standard deviation of each band, 0-255."""
        self.mean.copy_(torch.tensor(mean).view_as(self.mean))
        self.std.copy_(torch.tensor(std).clamp(min=1e-3).view_as(self.std))

    def statistics(self) -> Tuple[Tensor, Tensor]:
        """Mean and standard deviation of each band, ``(bands,)`` each."""
        return self.mean.flatten(), self.std.flatten()

    def forward(self, image: Tensor) -> Tensor:
        mixed: Tensor = self.mix((image - self.mean) / self.std)
        return mixed * self.photo_std + self.photo_mean
