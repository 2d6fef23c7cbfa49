"""Settings of the detector from the command line."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import fields
from typing import Any

import yaml

from refdet_core.detector import DetectorConfig
from refdet_core.errors import ConfigError

_OF_THE_PROTOCOL = "max_detections"
"""The protocols take the best answer of a frame, so this cannot be chosen."""


def detector_config(overrides: Sequence[str]) -> DetectorConfig:
    """A :class:`DetectorConfig` with some values changed.

    Args:
        overrides: each a JSON object (``{"search": "tiles"}``) or ``key=value``.

    Raises:
        ConfigError: not one of these, an unknown key, or a value of the wrong type.
    """
    chosen: dict[str, Any] = {}
    for text in overrides:
        chosen |= _parse(text)
    defaults = {
        item.name: item.default for item in fields(DetectorConfig) if item.name != _OF_THE_PROTOCOL
    }
    unknown = sorted(set(chosen) - set(defaults))
    if unknown:
        raise ConfigError(f"Unknown detector settings {unknown}; valid are {sorted(defaults)}.")
    for key, value in chosen.items():
        kind = type(defaults[key])
        if kind is float and type(value) is int:
            chosen[key] = float(value)
        elif type(value) is not kind:
            raise ConfigError(f"{key} must be of type {kind.__name__}, got {value!r}.")
    return DetectorConfig(**chosen)


def _parse(text: str) -> dict[str, Any]:
    key, separator, value = text.partition("=")
    if not text.lstrip().startswith("{") and separator:
        try:
            return {key.strip(): yaml.safe_load(value)}
        except yaml.YAMLError as error:
            raise ConfigError(f"The value in '{text}' cannot be read: {error}") from error
    try:
        content = json.loads(text)
    except ValueError as error:
        raise ConfigError(
            f"Give detector settings as key=value or as a JSON object, got '{text}' ({error})."
        ) from error
    if not isinstance(content, dict):
        raise ConfigError(f"Detector settings must be a JSON object, got '{text}'.")
    return content
