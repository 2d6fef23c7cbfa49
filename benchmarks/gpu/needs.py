"""Why a step cannot run here: one sentence, empty if it can."""

from __future__ import annotations

import importlib
import importlib.util

from refdet_core.errors import RefdetError


def nothing() -> str:
    """For what runs everywhere."""
    return ""


def torch_on_cuda() -> str:
    """PyTorch must see a GPU."""
    if importlib.util.find_spec("torch") is None:
        return "there is no PyTorch here."
    import torch

    return "" if torch.cuda.is_available() else "PyTorch sees no CUDA GPU here."


def cuda_package() -> str:
    """Pycuda or cuda-bindings must see a GPU."""
    try:
        importlib.import_module("refdet_core.backends.cuda").require_gpu()
    except RefdetError as error:
        return str(error)
    return ""


def tensorrt() -> str:
    """TensorRT or TensorRT-RTX, and a GPU."""
    try:
        importlib.import_module("refdet_core.backends.engines.target").import_tensorrt()
    except RefdetError as error:
        return str(error)
    return cuda_package()


def any_gpu() -> str:
    """PyTorch or TensorRT."""
    reasons = [torch_on_cuda(), tensorrt()]
    return " ".join(reasons) if all(reasons) else ""
