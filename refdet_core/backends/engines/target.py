"""What an engine is built for: a TensorRT version on a GPU."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from refdet_core.errors import BackendError


@dataclass(frozen=True)
class Target:
    """An engine runs only where all three are the same."""

    tensorrt: str
    gpu: str
    compute_capability: str


def import_tensorrt() -> Any:
    """The module ``tensorrt``.

    Raises:
        BackendError: it is not installed, or its libraries are not.
    """
    try:
        import tensorrt
    except (ImportError, OSError) as error:
        raise BackendError(
            f"The tensorrt backend needs the Python package tensorrt ({error}). On a Jetson it "
            "comes with JetPack (apt install python3-libnvinfer) and a virtual environment sees it "
            "when made with --system-site-packages; elsewhere: pip install tensorrt. Or use the "
            "onnxruntime backend."
        ) from error
    return tensorrt


def this_target() -> Target:
    """TensorRT's version and the GPU here.

    Raises:
        BackendError: TensorRT, pycuda or the GPU is missing.
    """
    version = str(import_tensorrt().__version__)
    from refdet_core.backends.cuda import Gpu

    with Gpu() as gpu:
        return Target(version, gpu.name, "{}.{}".format(*gpu.compute_capability))
