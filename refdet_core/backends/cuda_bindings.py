"""NVIDIA's ``cuda-bindings`` behind the few names of pycuda that refdet uses.

cuda-bindings comes as a wheel and compiles kernels with CUDA's run-time compiler, so it needs
neither nvcc nor a build of its own. pycuda remains the choice on JetPack 5, whose Python 3.8 has no
such wheel. Written for cuda-bindings 12 and 13.
"""

from __future__ import annotations

import ctypes
from types import SimpleNamespace
from typing import Any, Optional, Sequence, Tuple

import numpy as np
from cuda.bindings import driver as _cuda

from refdet_core.backends.nvrtc import CompileError, compiled

_C_TYPES = {"P": ctypes.c_void_p, "i": ctypes.c_int, "f": ctypes.c_float}


class Error(Exception):
    """A call failed; the text is pycuda's: the call and CUDA's sentence."""


class MemoryError(Error):
    """The device has no memory left."""


def _call(name: str, *arguments: Any) -> Any:
    """The result of a call of the driver: None, a value or a tuple."""
    code, *results = getattr(_cuda, name)(*arguments)
    if code != _cuda.CUresult.CUDA_SUCCESS:
        _, sentence = _cuda.cuGetErrorString(code)
        is_memory = code == _cuda.CUresult.CUDA_ERROR_OUT_OF_MEMORY
        text = sentence.decode() if sentence else f"error {int(code)}"
        raise (MemoryError if is_memory else Error)(f"{name} failed: {text}")
    return results[0] if len(results) == 1 else tuple(results) or None


def _init(flags: int = 0) -> None:
    _call("cuInit", flags)


class _Context:
    def __init__(self, handle: Any) -> None:
        self._handle = handle

    def push(self) -> None:
        _call("cuCtxPushCurrent", self._handle)

    @staticmethod
    def pop() -> None:
        _call("cuCtxPopCurrent")


class _Device:
    def __init__(self, number: int) -> None:
        self._device = _call("cuDeviceGet", number)

    def name(self) -> str:
        return str(_call("cuDeviceGetName", 256, self._device).partition(b"\0")[0].decode())

    def compute_capability(self) -> Tuple[int, int]:
        return _compute_capability(self._device)

    def retain_primary_context(self) -> _Context:
        return _Context(_call("cuDevicePrimaryCtxRetain", self._device))


def _compute_capability(device: Any) -> Tuple[int, int]:
    kinds = _cuda.CUdevice_attribute
    major = kinds.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR
    minor = kinds.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR
    return (
        int(_call("cuDeviceGetAttribute", major, device)),
        int(_call("cuDeviceGetAttribute", minor, device)),
    )


class _Stream:
    def __init__(self, flags: int = 0) -> None:
        self._stream = _call("cuStreamCreate", flags)
        self.handle = int(self._stream)

    def synchronize(self) -> None:
        _call("cuStreamSynchronize", self.handle)

    def __del__(self) -> None:
        if hasattr(self, "handle"):
            _cuda.cuStreamDestroy(self._stream)


class _DeviceAllocation:
    def __init__(self, size: int) -> None:
        self._address = int(_call("cuMemAlloc", size))

    def __int__(self) -> int:
        return self._address

    def free(self) -> None:
        _call("cuMemFree", self._address)


class _PinnedAllocation:
    """What numpy keeps as the base of the array."""

    def __init__(self, size: int) -> None:
        self._address = int(_call("cuMemHostAlloc", size, 0))
        self.__array_interface__ = {
            "data": (self._address, False),
            "shape": (size,),
            "typestr": "|u1",
            "version": 3,
        }

    def free(self) -> None:
        _call("cuMemFreeHost", self._address)


def _pagelocked_empty(size: int, dtype: Any) -> np.ndarray:
    """``size`` bytes; the array's base frees them."""
    assert np.dtype(dtype) == np.uint8
    return np.asarray(_PinnedAllocation(size))


def _memcpy_htod_async(target: int, source: np.ndarray, stream: _Stream) -> None:
    _call("cuMemcpyHtoDAsync", target, source.ctypes.data, source.nbytes, stream.handle)


def _memcpy_dtoh_async(target: np.ndarray, source: int, stream: _Stream) -> None:
    _call("cuMemcpyDtoHAsync", target.ctypes.data, source, target.nbytes, stream.handle)


def _memcpy_dtod_async(target: int, source: int, size: int, stream: _Stream) -> None:
    _call("cuMemcpyDtoDAsync", target, source, size, stream.handle)


class _Function:
    def __init__(self, function: Any, module: Any) -> None:
        self._function = function
        self._module = module  # unloaded with the last function
        self._types: Tuple[Any, ...] = ()

    def prepare(self, argument_types: str) -> _Function:
        self._types = tuple(_C_TYPES[letter] for letter in argument_types)
        return self

    def prepared_async_call(
        self, grid: Sequence[int], block: Sequence[int], stream: _Stream, *arguments: Any
    ) -> None:
        given = (tuple(map(int, arguments)), self._types)
        _call("cuLaunchKernel", self._function, *grid, *block, 0, stream.handle, given, 0)


class _SourceModule:
    """A compiled source; pycuda's other options have no meaning here."""

    def __init__(
        self,
        source: str,
        nvcc: Optional[str] = None,
        no_extern_c: bool = True,
        cache_dir: Any = None,
    ) -> None:
        binary = compiled(source, _compute_capability(_call("cuCtxGetDevice")))
        self._module = _call("cuModuleLoadData", binary)

    def get_function(self, name: str) -> _Function:
        return _Function(_call("cuModuleGetFunction", self._module, name.encode()), self)

    def __del__(self) -> None:
        if hasattr(self, "_module"):
            _cuda.cuModuleUnload(self._module)


driver = SimpleNamespace(
    Error=Error,
    MemoryError=MemoryError,
    CompileError=CompileError,
    init=_init,
    Context=_Context,
    Device=_Device,
    Stream=_Stream,
    mem_alloc=_DeviceAllocation,
    mem_get_info=lambda: _call("cuMemGetInfo"),
    pagelocked_empty=_pagelocked_empty,
    memcpy_htod_async=_memcpy_htod_async,
    memcpy_dtoh_async=_memcpy_dtoh_async,
    memcpy_dtod_async=_memcpy_dtod_async,
)
compiler = SimpleNamespace(SourceModule=_SourceModule)
try:  # a missing driver is noticed at import, as with pycuda
    _call("cuDriverGetVersion")
except (RuntimeError, OSError) as error:
    raise ImportError(f"there is no CUDA driver: {error}") from error
