"""Backends by name. Each is imported only when it is asked for."""

from __future__ import annotations

import importlib
import importlib.util
from typing import Any, Dict, Tuple

from refdet_core.backends.base import Backend
from refdet_core.backends.config import BackendConfig
from refdet_core.bundle import Bundle
from refdet_core.errors import ConfigError

_CLASSES: Dict[str, Tuple[str, str]] = {
    "onnxruntime": ("refdet_core.backends.onnxruntime", "OnnxRuntimeBackend"),
    "tensorrt": ("refdet_core.backends.tensorrt", "TensorRTBackend"),
    "torch": ("refdet_core.backends.torch", "TorchBackend"),
}
BACKEND_NAMES = ("auto", *_CLASSES)


def open_backend(
    name: str, bundle: Bundle, config: BackendConfig = BackendConfig()
) -> Backend[Any]:
    """Open a backend by name; ``auto`` takes TensorRT where it is installed, else ONNX Runtime.

    Raises:
        ConfigError: unknown name.
        BackendError: not available here, with the way to get it.
    """
    if name == "auto":
        name = "onnxruntime" if importlib.util.find_spec("tensorrt") is None else "tensorrt"
    if name not in _CLASSES:
        raise ConfigError(
            "Unknown backend '{}'; valid are {}.".format(name, ", ".join(BACKEND_NAMES))
        )
    module_name, class_name = _CLASSES[name]
    backend_class = getattr(importlib.import_module(module_name), class_name)
    backend: Backend[Any] = backend_class.open(bundle, config)
    return backend
