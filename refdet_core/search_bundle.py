"""Which network searches: the most accurate one, or the one that keeps up with a camera here."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Optional

from refdet_core.backends import has_tensorrt
from refdet_core.bundle import BUNDLES_FOLDER, bundle_folder

AUTO = Path("auto")
BASE, SMALL = BUNDLES_FOLDER / "base", BUNDLES_FOLDER / "small"


def search_bundle(name: Optional[Path], backend: str) -> Path:
    """Folder of the search network.

    Args:
        name: see :func:`~refdet_core.bundle.bundle_folder`; ``auto`` takes ``base`` on a GPU and
            ``small`` on a CPU, where ``base`` takes 1.7 times as long.
        backend: name of the backend that runs it.
    """
    if name != AUTO:
        return bundle_folder(name)
    return BASE if _on_gpu(backend) else SMALL


def _on_gpu(backend: str) -> bool:
    if backend == "torch" and importlib.util.find_spec("torch") is not None:
        import torch

        return torch.cuda.is_available()
    return backend == "tensorrt" or (backend == "auto" and has_tensorrt())
