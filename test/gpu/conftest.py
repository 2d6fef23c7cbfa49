"""What the tests on a GPU share. Where there is none they skip, and say what is missing."""

from __future__ import annotations

import pytest

from refdet_core.backends import open_backend
from refdet_core.backends.config import BackendConfig
from refdet_core.bundle import load_bundle
from refdet_core.errors import BackendError


@pytest.fixture(scope="session")
def engine_folder(tmp_path_factory):
    """Engines are built once for all tests."""
    return tmp_path_factory.mktemp("engines")


@pytest.fixture(scope="session")
def need():
    """A function of a backend's name that skips the test where that has no GPU."""

    def check(backend):
        if backend == "torch":
            torch = pytest.importorskip("torch", reason="no torch here")
            if not torch.cuda.is_available():
                pytest.skip("torch sees no CUDA GPU here")
            return
        pytest.importorskip("tensorrt", reason="no tensorrt here")
        pytest.importorskip("pycuda", reason="no pycuda here")
        try:
            from refdet_core.backends.cuda import require_gpu

            require_gpu()
        except BackendError as error:
            pytest.skip(str(error))

    return check


@pytest.fixture
def open_on_gpu(need, engine_folder):
    """A function that opens a backend with the released bundle; all are closed afterwards."""
    opened = []

    def open_it(backend, **settings):
        need(backend)
        config = BackendConfig(engine_folder=str(engine_folder), **settings)
        opened.append(open_backend(backend, load_bundle(), config))
        return opened[-1]

    yield open_it
    for backend in opened:
        backend.close()


@pytest.fixture(scope="session")
def on_cpu():
    """The same with ONNX Runtime, which the others are compared with."""
    with open_backend("onnxruntime", load_bundle()) as backend:
        yield backend
