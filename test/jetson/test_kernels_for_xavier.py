"""The CUDA sources compiled for the Xavier NX (sm_72), which CUDA 13 no longer knows, by CUDA 11's
run-time compiler; that one comes with the wheels of TensorRT 8.5."""

from __future__ import annotations

import ctypes
import importlib.util
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SOURCES = sorted((ROOT / "refdet_core").rglob("*.cu"))


@pytest.fixture(scope="module")
def nvrtc():
    try:
        wheel = importlib.util.find_spec("nvidia.cuda_nvrtc")
    except ImportError:
        wheel = None
    if wheel is None:
        pytest.skip("CUDA 11's nvrtc is not installed (make check-jetson)")
    (library,) = Path(next(iter(wheel.submodule_search_locations))).glob("lib/libnvrtc.so.11*")
    return ctypes.CDLL(str(library))


def compiled(nvrtc, source, architecture="sm_72"):
    """The size of the machine code and what the compiler says."""
    program = ctypes.c_void_p()
    text = source.encode()
    assert not nvrtc.nvrtcCreateProgram(ctypes.byref(program), text, b"source.cu", 0, None, None)
    options = (ctypes.c_char_p * 1)(f"--gpu-architecture={architecture}".encode())
    failed = nvrtc.nvrtcCompileProgram(program, 1, options)
    length = ctypes.c_size_t()
    nvrtc.nvrtcGetProgramLogSize(program, ctypes.byref(length))
    log = ctypes.create_string_buffer(length.value)
    nvrtc.nvrtcGetProgramLog(program, log)
    size = ctypes.c_size_t()
    if not failed:
        nvrtc.nvrtcGetCUBINSize(program, ctypes.byref(size))
    nvrtc.nvrtcDestroyProgram(ctypes.byref(program))
    return size.value, log.value.decode()


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.stem)
def test_the_xavier_s_machine_code_is_made_without_a_warning(nvrtc, source):
    size, log = compiled(nvrtc, source.read_text(encoding="utf-8"))
    assert size > 0 and not log


def test_there_are_sources_and_a_wrong_one_is_refused(nvrtc):
    assert {source.stem for source in SOURCES} == {"gpu_crops", "mean_views"}
    size, log = compiled(nvrtc, "__global__ void broken(int *x) { y[0] = 1; }")
    assert size == 0 and "undefined" in log
