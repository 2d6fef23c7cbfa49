"""Backends by name. Each is imported only when it is used."""

from __future__ import annotations

import importlib
import importlib.util
import logging
from typing import Any, Dict, Set, Tuple

from refdet_core.backends.base import Backend
from refdet_core.backends.config import BackendConfig
from refdet_core.bundle import Bundle
from refdet_core.errors import BackendError, ConfigError

_LOG = logging.getLogger(__name__)
_told: Set[str] = set()  # why TensorRT was not used
_CLASSES: Dict[str, Tuple[str, str]] = {
    "onnxruntime": ("refdet_core.backends.onnxruntime", "OnnxRuntimeBackend"),
    "tensorrt": ("refdet_core.backends.tensorrt", "TensorRTBackend"),
    "torch": ("refdet_core.backends.torch", "TorchBackend"),
}
BACKEND_NAMES = ("auto", *_CLASSES)


def open_backend(
    name: str, bundle: Bundle, config: BackendConfig = BackendConfig()
) -> Backend[Any]:
    """Open a backend by name; ``auto`` takes TensorRT if it is installed and has a GPU, else ONNX
    Runtime.

    Raises:
        ConfigError: unknown name.
        BackendError: it is not available here; the message says how to get it.
    """
    if name == "auto":
        name = "tensorrt" if has_tensorrt() else "onnxruntime"
    if name not in _CLASSES:
        raise ConfigError(
            "Unknown backend '{}'; valid are {}.".format(name, ", ".join(BACKEND_NAMES))
        )
    module_name, class_name = _CLASSES[name]
    backend_class = getattr(importlib.import_module(module_name), class_name)
    backend: Backend[Any] = backend_class.open(bundle, config)
    return backend


def has_tensorrt() -> bool:
    """Whether TensorRT can run here. If it is installed but fails, a warning says why, once."""
    target = importlib.import_module("refdet_core.backends.engines.target")
    if not any(map(importlib.util.find_spec, target.MODULES)):
        return False
    try:
        target.import_tensorrt()
        importlib.import_module("refdet_core.backends.cuda").require_gpu()
    except BackendError as error:
        if str(error) not in _told:
            _told.add(str(error))
            _LOG.info("TensorRT is installed but not used: %s", error)
        return False
    return True
