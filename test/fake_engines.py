"""What the engine tests share: this process with a fake TensorRT and a fake GPU in it."""

from __future__ import annotations

import errno
import os
import sys
import types
from pathlib import Path

import fake_cuda
import fake_tensorrt
import pytest

from refdet_core.backends.config import BackendConfig
from refdet_core.bundle import load_bundle

SMALL = {"engine_max_width": 96, "engine_max_height": 64, "engine_max_views": 3}
"""Settings that keep the comparison with ONNX Runtime short."""


def install(patch: pytest.MonkeyPatch, folder: Path, version: str = "8.5.3.1"):
    """Put both fakes in the place of what is not installed here.

    Args:
        folder: for the fake GPU's files.

    Returns:
        The fake TensorRT.
    """
    fake = fake_tensorrt.FakeTensorRT(version)
    cuda = fake_cuda.FakeCuda(folder)
    for name in fake_cuda.ABOVE_CUDA:
        bound = f"refdet_core.backends.{name}"
        patch.setitem(sys.modules, bound, types.ModuleType(bound))  # undone later, whatever is
        del sys.modules[bound]  # imported meanwhile
    tensorrt = fake.module()
    hidden = dict.fromkeys(("tensorrt", "tensorrt_rtx", "tensorrt_rtx_bindings"))
    for name, module in {**hidden, tensorrt.__name__: tensorrt, **cuda.pycuda()}.items():
        patch.setitem(sys.modules, name, module)
    runner = types.ModuleType("refdet_core.backends.tensorrt_engine")
    runner.run_once = fake_tensorrt.run_plan
    patch.setitem(sys.modules, runner.__name__, runner)
    fake.read_device = lambda address, size: cuda.at("device", address, size)
    return fake


def unreadable(patch: pytest.MonkeyPatch, suffix: str) -> None:
    """Files of that kind are on a disk that does not give them back."""
    read_bytes = Path.read_bytes

    def read(path):
        if path.suffix == suffix:
            raise OSError(errno.EIO, os.strerror(errno.EIO), str(path))
        return read_bytes(path)

    patch.setattr(Path, "read_bytes", read)


def build_in_other_process(bundle: str, engines: str, mark: str) -> None:
    """Ask for engines in a process of its own.

    ``mark`` appears when the first build begins; a build takes until it is gone again.
    """
    import logging
    import time

    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
    fake = install(pytest.MonkeyPatch(), Path(engines).parent)
    marks = [Path(mark)]

    def build():
        for path in marks:
            path.touch()
            while path.exists():
                time.sleep(0.02)
        marks.clear()

    fake.during_build = build
    from refdet_core.backends.engines.cache import ready_engines

    config = BackendConfig(engine_folder=engines, **SMALL)
    ready_engines(load_bundle(Path(bundle)), config, "fp16")
    print("builds", len(fake.builds), flush=True)


if __name__ == "__main__":
    build_in_other_process(*sys.argv[1:])
