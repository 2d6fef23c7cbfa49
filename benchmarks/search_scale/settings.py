"""The ways of searching that are compared."""

from __future__ import annotations

from dataclasses import dataclass, replace

from refdet_core.detector_config import DetectorConfig

FORCED_SCALES = (0.5, 0.71, 1.0, 1.41, 2.0)
KNOWN_SIZE, PHOTO = "automatic, size known", "automatic, any photo"


@dataclass(frozen=True)
class Setting:
    """One way of searching.

    Attributes:
        name: in tables and plots.
        config: of the detector.
        same_camera: whether the detector is told that the references are of the same camera.
    """

    name: str
    config: DetectorConfig
    same_camera: bool


def all_settings(config: DetectorConfig) -> list[Setting]:
    """Every forced scale, and what the detector does by itself."""
    forced = [
        Setting(f"{scale:g}", replace(config, tile_scale=scale), True) for scale in FORCED_SCALES
    ]
    automatic = replace(config, tile_scale=0.0)
    return [*forced, Setting(KNOWN_SIZE, automatic, True), Setting(PHOTO, automatic, False)]
