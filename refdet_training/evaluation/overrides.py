"""Settings of the measured detector."""

from __future__ import annotations

from collections.abc import Sequence

from refdet_core.detector_config import DetectorConfig
from refdet_core.errors import ConfigError
from refdet_core.settings import with_settings


def detector_config(overrides: Sequence[str]) -> DetectorConfig:
    """A :class:`DetectorConfig` with some values changed.

    Raises:
        ConfigError: see :func:`~refdet_core.settings.with_settings`; or ``max_detections``, which
            cannot be chosen since the protocols take the best answer of a frame.
    """
    config: DetectorConfig
    (config,) = with_settings(overrides, DetectorConfig())
    if config.max_detections != DetectorConfig.max_detections:
        raise ConfigError("max_detections cannot be chosen: the best answer of a frame is scored.")
    return config
