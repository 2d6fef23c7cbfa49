"""A double of pycuda and the CUDA driver, for tests without a GPU.

It keeps what makes CUDA hard to use right. Work on a stream is done when the stream is waited for,
not when it is put there; memory that is copied from too early or too late holds garbage; calls need
a current context; memory is freed once and not used afterwards; some errors end everything.
Whatever real CUDA leaves undefined is an AssertionError here.

Kernels are run by :mod:`cuda_on_cpu`. Device addresses are addresses of this process, so kernels
and numpy reach the memory they name.
"""

from __future__ import annotations

import importlib
import importlib.machinery
import itertools
import os
import struct
import sys
import threading
import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cuda_on_cpu
import numpy as np

ERRORS = {
    "CUDA_ERROR_INVALID_VALUE": (1, "invalid argument"),
    "CUDA_ERROR_OUT_OF_MEMORY": (2, "out of memory"),
    "CUDA_ERROR_NO_DEVICE": (100, "no CUDA-capable device is detected"),
    "CUDA_ERROR_INVALID_CONTEXT": (201, "invalid device context"),
    "CUDA_ERROR_ECC_UNCORRECTABLE": (214, "uncorrectable ECC error encountered"),
    "CUDA_ERROR_INVALID_HANDLE": (400, "invalid resource handle"),
    "CUDA_ERROR_ILLEGAL_ADDRESS": (700, "an illegal memory access was encountered"),
    "CUDA_ERROR_LAUNCH_FAILED": (719, "unspecified launch failure"),
    "CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED": (
        900,
        "operation not permitted when stream is capturing",
    ),
    "CUDA_ERROR_UNKNOWN": (999, "unknown error"),
}
STICKY = {
    "CUDA_ERROR_ECC_UNCORRECTABLE",
    "CUDA_ERROR_ILLEGAL_ADDRESS",
    "CUDA_ERROR_LAUNCH_FAILED",
    "CUDA_ERROR_UNKNOWN",
}
_LAUNCH = {"CUDA_ERROR_LAUNCH_FAILED"}
_RUNTIME = {"CUDA_ERROR_NO_DEVICE", "CUDA_ERROR_ECC_UNCORRECTABLE"}


class Error(Exception):
    """pycuda.driver.Error: it tells the call and CUDA's sentence, not the code."""


class MemoryError(Error):
    pass


class LogicError(Error):
    pass


class RuntimeError(Error):
    pass


class LaunchError(Error):
    pass


class CompileError(Error):
    pass


@dataclass(frozen=True)
class Copy:
    """One copy that was done: ``htod``, ``dtoh`` or ``dtod``."""

    direction: str
    size: int
    source: int
    target: int


@dataclass(eq=False)
class Memory:
    """A piece of memory of this process that stands for device or pinned memory."""

    kind: str
    size: int
    freed: bool = False

    def __post_init__(self) -> None:
        room = np.full(self.size + 256, 0xFF, np.uint8)  # as floats: NaN
        start = -room.ctypes.data % 256
        self.bytes = room[start : start + self.size]
        self.address = self.bytes.ctypes.data


@dataclass
class StreamState:
    """What was put on a stream and not done yet."""

    handle: int
    work: list[Callable[[], None]] = field(default_factory=list)
    capture: list[Callable[[], None]] | None = None


class FakeCuda:
    """The machine: one GPU, and everything that was done with it.

    Args:
        folder: for compiled kernels and a compiler that is never called.
        capacity: bytes of device memory.
        graphs: whether the driver is new enough to record graphs.

    Attributes:
        copies: all that were done.
        allocations: how many pieces of memory were ever allocated.
        graphs_launched: how often.
        launches: how often each kernel ran.
        compile_cache_problem: an exception that pycuda raises where it is to use its cache.
        violations: what was done wrong where an exception would be swallowed, in destructors.
    """

    def __init__(self, folder: Path, capacity: int = 8 << 30, graphs: bool = True) -> None:
        self.capacity = capacity
        self.devices = 1
        self.has_graphs = graphs
        self.compile_cache_problem: Exception | None = None
        self.copies: list[Copy] = []
        self.allocations = 0
        self.graphs_launched = 0
        self.launches: dict[str, int] = {}
        self.violations: list[str] = []
        self.folder = folder
        self._memories: list[Memory] = []
        self._streams: dict[int, StreamState] = {}
        self._handles = itertools.count(0x1000)
        self._graphs: dict[int, list[Callable[[], None]]] = {}
        self._threads = threading.local()
        self._failures: dict[str, list[Any]] = {}
        self._lost: str | None = None

    # What tests ask and order.

    def fail(self, call: str, error: str, after: int = 0) -> None:
        """Let a CUDA call, such as ``cuMemAlloc``, fail once, after so many that succeed."""
        self._failures[call] = [after, error]

    def recover(self) -> None:
        """As if the process had been started again."""
        self._lost = None
        self._failures.clear()

    def live(self, kind: str) -> list[Memory]:
        """The ``device`` or ``pinned`` memory that is not freed."""
        return [memory for memory in self._memories if memory.kind == kind and not memory.freed]

    @property
    def used(self) -> int:
        """Bytes of device memory in use."""
        return sum(memory.size for memory in self.live("device"))

    @property
    def live_graphs(self) -> int:
        return len(self._graphs)

    @property
    def live_streams(self) -> int:
        return len(self._streams)

    @property
    def context_depth(self) -> int:
        """How many contexts the calling thread has pushed."""
        return getattr(self._threads, "depth", 0)

    def moved_to_host(self) -> set[int]:
        """Sizes of all copies from the device to the host."""
        return {copy.size for copy in self.copies if copy.direction == "dtoh"}

    # What the doubles of pycuda and TensorRT use.

    def call(self, name: str, needs_context: bool = True) -> None:
        """Every CUDA call comes by here first."""
        if self._lost is not None:
            raise self._error(name, self._lost)
        failure = self._failures.get(name)
        if failure is not None:
            if failure[0] == 0:
                del self._failures[name]
                if failure[1] in STICKY:
                    self._lost = failure[1]
                raise self._error(name, failure[1])
            failure[0] -= 1
        if needs_context and not self.context_depth:
            raise self._error(name, "CUDA_ERROR_INVALID_CONTEXT")

    def demand_context(self, what: str) -> None:
        """For destructors."""
        if not self.context_depth:
            self.violations.append(f"{what} without a context")

    def allocate(self, kind: str, size: int, call: str) -> Memory:
        self.call(call)
        assert size > 0, "an empty allocation"
        if any(stream.capture is not None for stream in self._streams.values()):
            raise self._error(call, "CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED")
        if kind == "device" and self.used + size > self.capacity:
            raise self._error(call, "CUDA_ERROR_OUT_OF_MEMORY")
        memory = Memory(kind, size)
        self._memories.append(memory)
        self.allocations += 1
        return memory

    def free(self, memory: Memory) -> None:
        """Waits for all streams, as cuMemFree does. What is freed is kept, to notice its use."""
        assert not memory.freed, "memory is freed twice"
        assert self.context_depth, "memory is freed without a context"
        if self._lost is None:
            for stream in self._streams.values():
                self.drain(stream)
        memory.freed = True
        memory.bytes[:] = 0xFF

    def at(self, kind: str, address: int, size: int) -> np.ndarray:
        """The bytes at an address."""
        for memory in self._memories:
            if memory.address <= address < memory.address + memory.size:
                assert not memory.freed, "freed memory is used"
                assert memory.kind == kind, f"{memory.kind} memory is used as {kind} memory"
                start = address - memory.address
                assert start + size <= memory.size, "memory is used beyond its end"
                return memory.bytes[start : start + size]
        raise AssertionError(f"{address:#x} is not {kind} memory")

    def stream(self, handle: int) -> StreamState:
        return self._streams[handle]

    def put(self, handle: int, work: Callable[[], None]) -> None:
        stream = self._streams[handle]
        (stream.work if stream.capture is None else stream.capture).append(work)

    def drain(self, stream: StreamState) -> None:
        work, stream.work = stream.work, []
        for each in work:
            each()

    def pycuda(self) -> dict[str, types.ModuleType]:
        """The modules to put into ``sys.modules``."""
        package = types.ModuleType("pycuda")
        package.__path__ = []
        package.VERSION_TEXT = "2022.1"
        package.driver = driver = types.ModuleType("pycuda.driver")
        package.compiler = compiler = types.ModuleType("pycuda.compiler")
        for each in (Error, MemoryError, LogicError, RuntimeError, LaunchError, CompileError):
            setattr(driver, each.__name__, each)
        for name, each in driver_names(self).items():
            setattr(driver, name, each)
        compiler.SourceModule = lambda *args, **settings: SourceModule(self, *args, **settings)
        return {"pycuda": package, "pycuda.driver": driver, "pycuda.compiler": compiler}

    def libcuda(self) -> Any:
        """What ctypes.CDLL would give."""
        return _LibCuda(self) if self.has_graphs else _OldLibCuda()

    def kernel(self, source: str, name: str, argument_types: str) -> Any:
        file = self.folder / (name + ".cu")
        file.write_text(source)
        return cuda_on_cpu.compile_for_cpu(file, name, argument_types, self.folder)

    def _error(self, call: str, name: str) -> Error:
        kind = LogicError
        if name == "CUDA_ERROR_OUT_OF_MEMORY":
            kind = MemoryError
        elif name in _LAUNCH:
            kind = LaunchError
        elif name in _RUNTIME:
            kind = RuntimeError
        elif name == "CUDA_ERROR_UNKNOWN":
            kind = Error
        return kind(f"{call} failed: {ERRORS[name][1]}")


def driver_names(cuda: FakeCuda) -> dict[str, Any]:
    """The part of pycuda.driver that exists for a machine."""

    class Context:
        def push(self):
            cuda.call("cuCtxPushCurrent", needs_context=False)
            cuda._threads.depth = cuda.context_depth + 1

        @staticmethod
        def pop():
            if not cuda.context_depth:
                raise LogicError(
                    "m_stack::pop failed: invalid device context - cannot pop non-current context"
                )
            cuda._threads.depth -= 1

    class Device:
        def __init__(self, number):
            cuda.call("cuDeviceGet", needs_context=False)
            if number >= cuda.devices:
                raise LogicError("cuDeviceGet failed: invalid device ordinal")

        def name(self):
            return "Xavier"

        def compute_capability(self):
            return (7, 2)

        def retain_primary_context(self):
            cuda.call("cuDevicePrimaryCtxRetain", needs_context=False)
            return Context()

    class Stream:
        def __init__(self, flags=0):
            cuda.call("cuStreamCreate")
            self.handle = next(cuda._handles)
            cuda._streams[self.handle] = StreamState(self.handle)

        def synchronize(self):
            stream = cuda.stream(self.handle)
            if stream.capture is not None:
                raise cuda._error("cuStreamSynchronize", "CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED")
            cuda.call("cuStreamSynchronize")
            cuda.drain(stream)

        def __del__(self):
            if hasattr(self, "handle"):
                cuda.demand_context("a stream is destroyed")
                del cuda._streams[self.handle]

    class DeviceAllocation:
        def __init__(self, size):
            self._memory = cuda.allocate("device", size, "cuMemAlloc")

        def __int__(self):
            return self._memory.address

        def free(self):
            if self._memory.freed:
                raise LogicError("device_allocation::free failed: invalid resource handle")
            cuda.free(self._memory)

    class PagelockedHostAllocation:
        def __init__(self, memory, shape, dtype):
            self._memory = memory
            self.__array_interface__ = {
                "data": (memory.address, False),
                "shape": shape,
                "typestr": np.dtype(dtype).str,
                "version": 3,
            }

        def free(self):
            cuda.free(self._memory)

    def init(flags=0):
        cuda.call("cuInit", needs_context=False)
        if not cuda.devices:
            raise cuda._error("cuInit", "CUDA_ERROR_NO_DEVICE")

    def pagelocked_empty(shape, dtype, order="C", mem_flags=0):
        shape = tuple(np.atleast_1d(shape).tolist())
        size = int(np.prod(shape)) * np.dtype(dtype).itemsize
        memory = cuda.allocate("pinned", size, "cuMemHostAlloc")
        return np.asarray(PagelockedHostAllocation(memory, shape, dtype))

    def mem_alloc(bytes):
        return DeviceAllocation(bytes)

    def mem_get_info():
        cuda.call("cuMemGetInfo")
        return cuda.capacity - cuda.used, cuda.capacity

    def memcpy_htod_async(dest, src, stream=None):
        cuda.call("cuMemcpyHtoDAsync")
        size, source = _host(src)
        cuda.at("pinned", source, size)
        cuda.put(stream.handle, lambda: _copy("htod", "pinned", source, "device", int(dest), size))

    def memcpy_dtoh_async(dest, src, stream=None):
        cuda.call("cuMemcpyDtoHAsync")
        size, target = _host(dest)
        cuda.at("pinned", target, size)[:] = 0xFF  # nobody may read it before it is there
        cuda.put(stream.handle, lambda: _copy("dtoh", "device", int(src), "pinned", target, size))

    def memcpy_dtod_async(dest, src, size, stream=None):
        cuda.call("cuMemcpyDtoDAsync")
        cuda.put(
            stream.handle, lambda: _copy("dtod", "device", int(src), "device", int(dest), size)
        )

    def _host(array):
        assert array.flags.c_contiguous
        return array.nbytes, array.ctypes.data

    def _copy(direction, source_kind, source, target_kind, target, size):
        cuda.at(target_kind, target, size)[:] = cuda.at(source_kind, source, size)
        cuda.copies.append(Copy(direction, size, source, target))

    inside = (Context, Device, Stream, DeviceAllocation, PagelockedHostAllocation)
    functions = (init, pagelocked_empty, mem_alloc, mem_get_info)
    copies = (memcpy_htod_async, memcpy_dtoh_async, memcpy_dtod_async)
    return {each.__name__: each for each in (*inside, *functions, *copies)}


class SourceModule:
    """pycuda.compiler.SourceModule: it needs a context, and so does what it makes."""

    def __init__(self, cuda, source, nvcc="nvcc", options=None, no_extern_c=False, cache_dir=None):
        if cache_dir is not False and cuda.compile_cache_problem is not None:
            raise cuda.compile_cache_problem
        cuda.call("cuModuleLoadDataEx")
        assert no_extern_c == ('extern "C"' in source), "names would be mangled"
        self._cuda = cuda
        self._source = source

    def get_function(self, name):
        return _Function(self._cuda, self._source, name)


class _Function:
    def __init__(self, cuda, source, name):
        self._cuda = cuda
        self._source = source
        self._name = name

    def prepare(self, argument_types):
        self._types = argument_types
        self._run = self._cuda.kernel(self._source, self._name, argument_types)
        return self

    def prepared_async_call(self, grid, block, stream, *arguments):
        self._cuda.call("cuLaunchKernel")
        assert block[0] * block[1] * block[2] <= 1024, "a GPU takes at most 1024 threads a block"
        assert all(0 < count < 1 << 16 for count in grid[1:])
        assert len(grid) == len(block) == 3
        struct.pack(self._types, *arguments)  # as pycuda does; refuses what does not fit

        def work():
            for index, argument in enumerate(arguments):
                if self._types[index] == "P":
                    self._cuda.at("device", argument, 1)
            self._run(grid, block, *arguments)
            self._cuda.launches[self._name] = self._cuda.launches.get(self._name, 0) + 1

        self._cuda.put(stream.handle, work)


class _OldLibCuda:
    """The driver library through ctypes: results in ``byref`` arguments, codes returned."""

    def cuGetErrorName(self, code, text):
        return self._answer(code, text, lambda name, sentence: name)

    def cuGetErrorString(self, code, text):
        return self._answer(code, text, lambda name, sentence: sentence)

    def _answer(self, code, text, choose):
        for name, (number, sentence) in ERRORS.items():
            if number == code.value:
                text._obj.value = choose(name, sentence).encode()
                return 0
        return ERRORS["CUDA_ERROR_INVALID_VALUE"][0]


class _LibCuda(_OldLibCuda):
    """Since CUDA 11.4."""

    def __init__(self, cuda: FakeCuda) -> None:
        self._cuda = cuda

    def cuStreamBeginCapture_v2(self, stream, mode):
        return self._checked("cuStreamBeginCapture", lambda: self._begin(stream.value))

    def cuStreamEndCapture(self, stream, graph):
        return self._checked("cuStreamEndCapture", lambda: self._end(stream.value, graph._obj))

    def cuGraphInstantiateWithFlags(self, executable, graph, flags):
        def instantiate():
            executable._obj.value = self._new(self._cuda._graphs[graph.value])

        return self._checked("cuGraphInstantiateWithFlags", instantiate)

    def cuGraphDestroy(self, graph):
        del self._cuda._graphs[graph.value]
        return 0

    def cuGraphExecDestroy(self, executable):
        del self._cuda._graphs[executable.value]
        return 0

    def cuGraphLaunch(self, executable, stream):
        def launch():
            for work in self._cuda._graphs[executable.value]:
                self._cuda.put(stream.value, work)
            self._cuda.graphs_launched += 1

        return self._checked("cuGraphLaunch", launch)

    def _begin(self, handle):
        stream = self._cuda.stream(handle)
        assert stream.capture is None
        stream.capture = []

    def _end(self, handle, graph):
        stream = self._cuda.stream(handle)
        graph.value, stream.capture = self._new(stream.capture), None

    def _new(self, work):
        handle = next(self._cuda._handles)
        self._cuda._graphs[handle] = work
        return handle

    def _checked(self, name, work):
        try:
            self._cuda.call(name)
        except Error as error:
            if name == "cuStreamEndCapture":
                for stream in self._cuda._streams.values():
                    stream.capture = None
            sentence = str(error).partition(" failed: ")[2]
            return next(code for code, text in ERRORS.values() if text == sentence)
        work()
        return 0


ABOVE_CUDA = (
    "cuda",
    "cuda_bindings",
    "cuda_driver",
    "nvrtc",
    "device_buffer",
    "device_pool",
    "gpu_crops",
    "tensorrt",
    "tensorrt_api",
    "tensorrt_engine",
    "template_kernels",
)
"""Modules of ``refdet_core.backends`` that hold on to the CUDA they imported."""


_PYCUDA = ("pycuda", "pycuda.driver", "pycuda.compiler")
_BINDINGS = ("cuda.bindings", "cuda.bindings.driver", "cuda.bindings.nvrtc")
_TENSORRT = ("tensorrt", "tensorrt_rtx", "tensorrt_rtx_bindings")


@contextmanager
def installed(
    cuda: FakeCuda, tensorrt: types.ModuleType, package: str = "pycuda"
) -> Iterator[None]:
    """These doubles in place of CUDA's package and tensorrt, for as long as this lasts.

    Args:
        package: ``pycuda`` or ``cuda-bindings``; the other one is not installed.
    """
    compiler = cuda.folder / "nvcc"
    compiler.touch(0o755)
    path = os.environ["PATH"]
    doubles = dict.fromkeys((*_PYCUDA, *_BINDINGS))
    if package == "pycuda":
        doubles.update(cuda.pycuda())
    else:
        doubles.update(importlib.import_module("fake_cuda_bindings").modules(cuda))
    with _in_place({**doubles, **dict.fromkeys(_TENSORRT), tensorrt.__name__: tensorrt}):
        driver = importlib.import_module("refdet_core.backends.cuda_driver")
        driver.library = cuda.libcuda
        os.environ["PATH"] = f"{cuda.folder}{os.pathsep}{path}"
        try:
            yield
        finally:
            os.environ["PATH"] = path


@contextmanager
def nothing_installed() -> Iterator[None]:
    """No package for CUDA and no TensorRT, even where they are."""
    with _in_place(dict.fromkeys((*_PYCUDA, *_BINDINGS, *_TENSORRT))):
        yield


@contextmanager
def _in_place(doubles: dict[str, Any]) -> Iterator[None]:
    """Our modules that import these are imported anew within, and again afterwards."""
    package = importlib.import_module("refdet_core.backends")
    ours = {f"refdet_core.backends.{name}": name for name in ABOVE_CUDA}
    for name, module in doubles.items():
        if module is not None:
            module.__spec__ = importlib.machinery.ModuleSpec(name, None)
    before = {name: sys.modules.pop(name, None) for name in (*ours, *doubles)}
    attributes = {name: package.__dict__.pop(name, None) for name in ABOVE_CUDA}
    sys.modules.update(doubles)
    try:
        yield
    finally:
        for name, module in before.items():
            sys.modules.pop(name, None)
            if module is not None:
                sys.modules[name] = module
        for name, module in attributes.items():
            package.__dict__.pop(name, None)
            if module is not None:
                setattr(package, name, module)
