"""Backends by name. Each is imported only when it is asked for."""

from __future__ import annotations

import importlib
from typing import Any, Dict, Tuple

from refdet_core.backends.base import Backend
from refdet_core.bundle import Bundle
from refdet_core.errors import BackendError, ConfigError

_CLASSES: Dict[str, Tuple[str, str]] = {
    "onnxruntime": ("refdet_core.backends.onnxruntime", "OnnxRuntimeBackend"),
    "torch": ("refdet_core.backends.torch", "TorchBackend"),
}
_NOT_YET = ("tensorrt",)
BACKEND_NAMES = ("auto", *tuple(_CLASSES), *_NOT_YET)


def open_backend(name: str, bundle: Bundle) -> Backend[Any]:
    """Open a backend by name; ``auto`` takes ONNX Runtime.

    Raises:
        ConfigError: unknown name.
        BackendError: not available here, with the way to get it.
    """
    if name == "auto":
        name = "onnxruntime"
    if name in _NOT_YET:
        raise BackendError(f"The backend '{name}' is not available yet; use onnxruntime or torch.")
    if name not in _CLASSES:
        raise ConfigError(
            "Unknown backend '{}'; valid are {}.".format(name, ", ".join(BACKEND_NAMES))
        )
    module_name, class_name = _CLASSES[name]
    backend: Backend[Any] = getattr(importlib.import_module(module_name), class_name).open(bundle)
    return backend
