"""What pycuda lacks: the names of CUDA's errors, and CUDA graphs.

Calls the CUDA driver library through ctypes. pycuda links the same library, so it exists wherever
pycuda can be imported. Written for the driver of CUDA 11.4 and newer.
"""

from __future__ import annotations

import ctypes
from functools import lru_cache
from typing import Any, Callable, Dict, Optional, Tuple

LIBRARY = "libcuda.so.1"
OUT_OF_MEMORY = "CUDA_ERROR_OUT_OF_MEMORY"
LOST = frozenset(
    "CUDA_ERROR_" + name
    for name in (
        "DEINITIALIZED",
        "DEVICE_UNAVAILABLE",
        "ECC_UNCORRECTABLE",
        "NVLINK_UNCORRECTABLE",
        "CONTAINED",
        "ILLEGAL_ADDRESS",
        "LAUNCH_TIMEOUT",
        "CONTEXT_IS_DESTROYED",
        "ASSERT",
        "HARDWARE_STACK_ERROR",
        "ILLEGAL_INSTRUCTION",
        "MISALIGNED_ADDRESS",
        "INVALID_ADDRESS_SPACE",
        "INVALID_PC",
        "LAUNCH_FAILED",
        "SYSTEM_NOT_READY",
        "EXTERNAL_DEVICE",
        "UNKNOWN",
    )
)
"""Errors after which every later call fails too (CUDA driver API, ``CUresult``)."""
_CODES = range(1, 1000)
_THREAD_LOCAL = 1  # CU_STREAM_CAPTURE_MODE_THREAD_LOCAL: other threads may still use CUDA


class DriverError(Exception):
    """A call of the driver library failed.

    Args:
        call: the function's name.
        code: its ``CUresult``.
    """

    def __init__(self, call: str, code: int) -> None:
        super().__init__(f"{call} failed: {error_text(code)}")
        self.code = code


@lru_cache(maxsize=None)
def library() -> Any:
    """The CUDA driver library."""
    return ctypes.CDLL(LIBRARY)


def error_text(code: int) -> str:
    """CUDA's own sentence for an error code."""
    return _asked("cuGetErrorString", code) or "unknown error"


def error_names() -> Dict[str, Tuple[str, int]]:
    """The name and code of each of CUDA's error messages; pycuda gives only the message."""
    names: Dict[str, Tuple[str, int]] = {}
    for code in _CODES:
        name = _asked("cuGetErrorName", code)
        if name is not None:
            names.setdefault(error_text(code), (name, code))
    return names


def _asked(function: str, code: int) -> Optional[str]:
    text = ctypes.c_char_p()
    if getattr(library(), function)(ctypes.c_int(code), ctypes.byref(text)) or not text.value:
        return None
    return text.value.decode()


class Graph:
    """Recorded work that is launched as a whole, which saves the CPU one launch per kernel.

    Args:
        stream: handle of the stream to record on.
        work: queues the work on that stream; an error ends the recording.

    Raises:
        DriverError: the work cannot be recorded or the driver is too old. The stream stays usable.
    """

    def __init__(self, stream: int, work: Callable[[], None]) -> None:
        self._executable: Optional[ctypes.c_void_p] = None
        graph = ctypes.c_void_p()
        _call("cuStreamBeginCapture_v2", ctypes.c_void_p(stream), ctypes.c_int(_THREAD_LOCAL))
        try:
            try:
                work()
            finally:
                # Also after an error: a recording stream takes no other work.
                _call("cuStreamEndCapture", ctypes.c_void_p(stream), ctypes.byref(graph))
            executable = ctypes.c_void_p()
            _call(
                "cuGraphInstantiateWithFlags",
                ctypes.byref(executable),
                graph,
                ctypes.c_ulonglong(0),
            )
            self._executable = executable
        finally:
            if graph:
                _result("cuGraphDestroy", graph)

    def launch(self, stream: int) -> None:
        """Queue the recorded work on a stream.

        Raises:
            DriverError: it cannot run.
        """
        _call("cuGraphLaunch", self._executable, ctypes.c_void_p(stream))

    def free(self) -> None:
        """Release it. Releasing twice or after the device was lost is harmless."""
        executable, self._executable = self._executable, None
        if executable is not None:
            _result("cuGraphExecDestroy", executable)


def has_graphs() -> bool:
    """Whether this driver can record graphs."""
    return hasattr(library(), "cuGraphInstantiateWithFlags")


def _call(function: str, *arguments: Any) -> None:
    code = _result(function, *arguments)
    if code:
        raise DriverError(function, code)


def _result(function: str, *arguments: Any) -> int:
    return int(getattr(library(), function)(*arguments))
