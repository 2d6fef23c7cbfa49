"""What an engine is built for: a TensorRT version on a GPU."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import Any, List

from refdet_core.errors import BackendError

MODULES = ("tensorrt", "tensorrt_rtx", "tensorrt_rtx_bindings")
"""TensorRT, TensorRT-RTX of NVIDIA's archive, TensorRT-RTX of PyPI. The first one here is used."""


@dataclass(frozen=True)
class Target:
    """An engine runs only where all three are the same."""

    tensorrt: str
    gpu: str
    compute_capability: str


def import_tensorrt() -> Any:
    """The module of TensorRT, or else of TensorRT-RTX.

    Raises:
        BackendError: none is installed, or its libraries are not.
    """
    problems: List[Exception] = []
    for name in MODULES:
        try:
            return importlib.import_module(name)
        except (ImportError, OSError) as error:
            problems.append(error)
    raise BackendError(
        f"The tensorrt backend needs the Python package tensorrt ({problems[0]}). On a Jetson it "
        "comes with JetPack (apt install python3-libnvinfer) and a virtual environment sees it "
        "when made with --system-site-packages; elsewhere: pip install tensorrt-rtx-cu13-libs "
        "tensorrt-rtx-cu13-bindings. Or use the onnxruntime backend."
    ) from problems[0]


def is_rtx(trt: Any) -> bool:
    """Whether this is TensorRT-RTX, for RTX cards of laptops and workstations."""
    return hasattr(trt, "ComputeCapability") and hasattr(trt, "IRuntimeCache")


def is_strongly_typed(trt: Any) -> bool:
    """Whether this TensorRT computes in the graph's types."""
    return not hasattr(trt.BuilderFlag, "FP16")


def this_target() -> Target:
    """TensorRT's version and the GPU here.

    Raises:
        BackendError: TensorRT, CUDA's Python package or the GPU is missing.
    """
    version = str(import_tensorrt().__version__)
    from refdet_core.backends.cuda import Gpu

    with Gpu() as gpu:
        return Target(version, gpu.name, "{}.{}".format(*gpu.compute_capability))
