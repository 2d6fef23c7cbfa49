"""Random changes to chips: a class seen from another side and in another light."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from refdet_core.errors import ConfigError


@dataclass(frozen=True)
class ChipAugmentation:
    """How much chips are changed; quarter turns and mirroring are always equally likely.

    Attributes:
        brightness, contrast: largest change of each band, as a share.
        noise: standard deviation of each pixel's noise, 0-255.
    """

    brightness: float = 0.1
    contrast: float = 0.1
    noise: float = 2.0

    def __post_init__(self) -> None:
        for name in ("brightness", "contrast", "noise"):
            if getattr(self, name) < 0:
                raise ConfigError(f"data.augmentation.{name} must not be below 0.")

    def __call__(self, chip: np.ndarray, size: int, generator: np.random.Generator) -> np.ndarray:
        """A changed copy, ``(bands, S, S)`` to ``(bands, size, size)`` from anywhere in it."""
        top, left = generator.integers(0, chip.shape[1] - size + 1, 2)
        chip = chip[:, top : top + size, left : left + size].astype(np.float32)
        chip = np.rot90(chip, generator.integers(4), axes=(1, 2))
        if generator.random() < 0.5:
            chip = chip[:, :, ::-1]
        bands = len(chip), 1, 1
        mean = chip.mean(axis=(1, 2), keepdims=True)
        contrast = 1 + generator.uniform(-self.contrast, self.contrast, bands)
        brightness = 1 + generator.uniform(-self.brightness, self.brightness, bands)
        changed = (chip - mean) * contrast + mean * brightness
        changed += generator.normal(0, self.noise, chip.shape)
        return np.clip(changed, 0, 255).astype(np.float32)


def centre(chip: np.ndarray, size: int) -> np.ndarray:
    """The middle of a stored chip, ``(bands, size, size)`` float32."""
    start = (chip.shape[1] - size) // 2
    return chip[:, start : start + size, start : start + size].astype(np.float32)
