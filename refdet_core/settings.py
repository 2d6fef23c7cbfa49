"""Settings from the command line: ``key=value`` for any field of the configuration classes."""

from __future__ import annotations

import difflib
import json
from dataclasses import fields, replace
from typing import Any, Dict, List, Sequence

import yaml

from refdet_core.errors import ConfigError

_KINDS = {bool: "true or false", int: "a whole number", float: "a number", str: "text"}


def with_settings(texts: Sequence[str], *configs: Any) -> List[Any]:
    """The configurations with some of their values changed.

    Args:
        texts: each ``key=value`` or a JSON object (``{"search": "tiles"}``).
        configs: dataclass instances; a key belongs to the one that has such a field.

    Raises:
        ConfigError: neither form, an unknown key, or a value of the wrong type or range.
    """
    given: Dict[str, Any] = {}
    for text in texts:
        given.update(_parse(text))
    known = {item.name for config in configs for item in fields(config)}
    unknown = sorted(set(given) - known)
    if unknown:
        near = difflib.get_close_matches(unknown[0], known, n=1)
        hint = (
            f"did you mean '{near[0]}'?"
            if near
            else "valid are {}.".format(", ".join(sorted(known)))
        )
        raise ConfigError(f"Unknown settings {unknown}; {hint}")
    return [_changed(config, given) for config in configs]


def _changed(config: Any, given: Dict[str, Any]) -> Any:
    chosen: Dict[str, Any] = {}
    for item in fields(config):
        if item.name not in given:
            continue
        value, kind = given[item.name], type(getattr(config, item.name))
        if kind is float and type(value) is int:
            value = float(value)
        if type(value) is not kind:
            raise ConfigError(f"{item.name} must be {_KINDS[kind]}, got {value!r}.")
        chosen[item.name] = value
    return replace(config, **chosen)


def _parse(text: str) -> Dict[str, Any]:
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
            f"Give settings as key=value or as a JSON object, got '{text}'."
        ) from error
    if not isinstance(content, dict):
        raise ConfigError(f"Settings must be a JSON object, got '{text}'.")
    return content
