"""One GPU: its context, one stream, memory and kernels.

Through pycuda or, where that is not installed, cuda-bindings; no other module imports them.
"""

from __future__ import annotations

import logging
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import (
    Any,
    Callable,
    Iterator,
    List,
    NamedTuple,
    Optional,
    Protocol,
    Sequence,
    Tuple,
    TypeVar,
)

import numpy as np

from refdet_core.backends import cuda_driver
from refdet_core.closeable import Closeable
from refdet_core.errors import BackendError, DeviceLostError, OutOfMemoryError
from refdet_core.nvcc import find_nvcc

PACKAGE = "pycuda"
"""The package in use: ``pycuda`` or ``cuda-bindings``."""
try:
    from pycuda import compiler, driver
except (ImportError, OSError) as error:
    try:
        from refdet_core.backends.cuda_bindings import compiler, driver

        PACKAGE = "cuda-bindings"
    except (ImportError, OSError) as other:
        raise BackendError(
            "The tensorrt backend needs the Python packages tensorrt and pycuda or cuda-bindings; "
            f"pycuda cannot be imported ({error}), nor cuda-bindings ({other}). On a Jetson: pip "
            "install pycuda, with CUDA's nvcc on the PATH; elsewhere: pip install cuda-bindings "
            "nvidia-cuda-nvrtc. Or use the onnxruntime backend."
        ) from error

_LOG = logging.getLogger(__name__)
_NON_BLOCKING = 1  # CU_STREAM_NON_BLOCKING: other users of the GPU in this process do not wait
_DEFAULT_CUDA = "/usr/local/cuda"


class Freeable(Protocol):
    """Something that holds a GPU's resources."""

    def free(self) -> None:
        """Give it back. Doing so twice is harmless."""


Held = TypeVar("Held", bound=Freeable)


class MemoryInfo(NamedTuple):
    """Bytes of device memory."""

    free: int
    total: int


class DeviceMemory:
    """A block of device memory."""

    def __init__(self, size: int) -> None:
        self.size = size
        self._allocation: Optional[Any] = driver.mem_alloc(size)
        self.address = int(self._allocation)

    def free(self) -> None:
        """Give it back. Doing so twice is harmless."""
        allocation, self._allocation = self._allocation, None
        if allocation is not None:
            allocation.free()


class PinnedMemory:
    """Host memory that the GPU reads and writes while the CPU continues."""

    def __init__(self, size: int) -> None:
        self.size = size
        self._bytes: Optional[np.ndarray] = driver.pagelocked_empty(size, np.uint8)

    def array(self, shape: Sequence[int], dtype: Any) -> np.ndarray:
        """The start of the memory as an array; it is valid until :meth:`free`."""
        assert self._bytes is not None
        count = int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize
        return np.asarray(self._bytes[:count].view(dtype).reshape(shape))

    def free(self) -> None:
        """Give it back. Doing so twice is harmless."""
        memory, self._bytes = self._bytes, None
        if memory is not None:
            allocation: Any = memory.base
            allocation.free()


class Kernel:
    """A function of a compiled CUDA source."""

    def __init__(self, gpu: Gpu, module: Any, name: str, argument_types: str) -> None:
        self._gpu = gpu
        self._module: Optional[Any] = module  # a function ends with its module
        self._function: Optional[Any] = module.get_function(name).prepare(argument_types)

    def launch(
        self, grid: Tuple[int, int, int], block: Tuple[int, int, int], *arguments: Any
    ) -> None:
        """Queue it on the GPU's stream; device addresses are integers."""
        assert self._function is not None
        self._function.prepared_async_call(grid, block, self._gpu.stream, *arguments)

    def free(self) -> None:
        """Unload it. Doing so twice is harmless."""
        self._function = self._module = None


class Gpu(Closeable):
    """The first GPU that CUDA shows, with one stream that all work goes to.

    It uses the primary context, which all users of CUDA in this process share. Call all other
    methods within :meth:`active`, which turns CUDA's errors into a
    :class:`~refdet_core.errors.BackendError`.

    Attributes:
        name: NVIDIA's name for it.
        compute_capability: ``(major, minor)``.
        stream: pycuda's stream.
    """

    def __init__(self) -> None:
        with _as_backend_errors():
            context, device = _primary_context()
            self._context: Optional[Any] = context
            self.name = str(device.name())
            self.compute_capability = tuple(device.compute_capability())
        self._held: List[Freeable] = []
        self._records_graphs = True
        self.stream: Any = None
        with self.active():
            self.stream = driver.Stream(_NON_BLOCKING)

    @contextmanager
    def active(self) -> Iterator[None]:
        """Make this GPU the calling thread's current one, then restore the previous one.

        Raises:
            OutOfMemoryError, DeviceLostError, BackendError: for CUDA's errors within.
        """
        if self._context is None:
            raise BackendError("This TensorRT backend is closed; open another one.")
        with _as_backend_errors():
            self._context.push()
            try:
                yield
            finally:
                driver.Context.pop()

    @property
    def memory(self) -> MemoryInfo:
        """Free and total memory, all programs together."""
        return MemoryInfo(*driver.mem_get_info())

    def allocate(self, size: int) -> DeviceMemory:
        """Device memory, aligned to at least 256 bytes."""
        return self.hold(DeviceMemory(max(1, size)))

    def allocate_pinned(self, size: int) -> PinnedMemory:
        """Page-locked host memory."""
        return self.hold(PinnedMemory(max(1, size)))

    def hold(self, thing: Held) -> Held:
        """Free it when this GPU is closed, in reverse order, unless it was freed before."""
        self._held.append(thing)
        return thing

    def free(self, thing: Freeable) -> None:
        """Free it now."""
        self._held.remove(thing)
        thing.free()

    def copy_to_device(self, address: int, pinned: np.ndarray) -> None:
        """Queue a copy of pinned memory."""
        driver.memcpy_htod_async(address, pinned, self.stream)

    def copy_to_host(self, pinned: np.ndarray, address: int) -> None:
        """Queue a copy into pinned memory."""
        driver.memcpy_dtoh_async(pinned, address, self.stream)

    def copy_on_device(self, target: int, source: int, size: int) -> None:
        """Queue a copy within the device."""
        driver.memcpy_dtod_async(target, source, size, self.stream)

    def synchronize(self) -> None:
        """Wait until everything on the stream is done."""
        self.stream.synchronize()

    def compile(self, source: Path, name: str, argument_types: str) -> Kernel:
        """A kernel of a CUDA source file; pycuda keeps what it compiled in the user's cache.

        Args:
            argument_types: a letter for each argument: ``P`` address, ``i`` int32, ``f`` float32.

        Raises:
            BackendError: there is no compiler, or it refuses the source.
        """
        try:
            module = _compiled(source, cache=True)
        except (OutOfMemoryError, DeviceLostError):
            raise
        except BackendError as error:
            _LOG.debug("Compiled without pycuda's cache: %s", error)
            module = _compiled(source, cache=False)
        return self.hold(Kernel(self, module, name, argument_types))

    def record(self, work: Callable[[], None]) -> Optional[cuda_driver.Graph]:
        """Record what ``work`` queues on the stream, to launch it as a whole.

        Returns:
            None if recording is not possible. A warning says so once, and the work must be queued
            as usual.
        """
        if not self._records_graphs:
            return None
        reason = f"the driver behind {cuda_driver.LIBRARY} is older than CUDA 11.4"
        if cuda_driver.has_graphs():
            try:
                return self.hold(cuda_driver.Graph(self.stream.handle, work))
            except (cuda_driver.DriverError, BackendError) as error:
                self.synchronize()  # distinguishes a lost device from work that cannot be recorded
                reason = str(error)
        self._records_graphs = False
        _LOG.info("CUDA graphs are not available, each kernel is launched separately: %s.", reason)
        return None

    def launch(self, graph: cuda_driver.Graph) -> None:
        """Queue recorded work on the stream."""
        graph.launch(self.stream.handle)

    def close(self) -> None:
        """Free everything. A lost device needs no freeing. Closing twice is harmless."""
        if self._context is None:
            return
        try:
            with self.active():
                for thing in reversed(self._held):
                    try:
                        thing.free()
                    except (driver.Error, cuda_driver.DriverError) as error:
                        _LOG.debug("While closing: %s", error)
                self.stream = None
        except BackendError as error:
            _LOG.debug("While closing: %s", error)
        finally:
            self._held, self.stream = [], None
            self._context = None


def require_gpu() -> str:
    """The name of the GPU that :class:`Gpu` uses.

    Raises:
        BackendError: there is none; the message gives CUDA's reason.
    """
    with _as_backend_errors():
        driver.init()
        return str(driver.Device(0).name())


@lru_cache(maxsize=None)
def _primary_context() -> Tuple[Any, Any]:
    """Held until the process ends; the CUDA runtime behind TensorRT holds it anyway."""
    driver.init()
    device = driver.Device(0)
    return device.retain_primary_context(), device


def _compiled(source: Path, cache: bool) -> Any:
    """The module of a CUDA source file.

    Args:
        cache: use pycuda's cache; its folder may be damaged or not writable.
    """
    text, folder = source.read_text(), None if cache else False
    nvcc = _nvcc_path() if PACKAGE == "pycuda" else None  # cuda-bindings brings a compiler
    try:
        return compiler.SourceModule(text, nvcc=nvcc, no_extern_c=True, cache_dir=folder)
    except OSError as error:
        raise BackendError(f"{source} cannot be compiled: {error}.") from error
    except driver.CompileError as error:
        raise BackendError(f"CUDA's compiler refuses {source}: {error}") from error
    except driver.Error as error:
        raise _as_backend_error(error) from error


def _nvcc_path() -> str:
    found = find_nvcc()
    if found is None:
        raise BackendError(
            "CUDA's compiler nvcc was not found; the TensorRT backend compiles two small kernels "
            "with it. Add its folder (usually /usr/local/cuda/bin) to PATH, or install it "
            "(JetPack 5: apt install cuda-nvcc-11-4)."
        )
    return found


@contextmanager
def _as_backend_errors() -> Iterator[None]:
    """Turn CUDA's errors into RefdetErrors with CUDA's name and code."""
    try:
        yield
    except (driver.Error, cuda_driver.DriverError) as error:
        raise _as_backend_error(error) from error


def _as_backend_error(error: Exception) -> BackendError:
    sentence = str(error).partition(" failed: ")[2].partition(" - ")[0]
    name, code = cuda_driver.error_names().get(sentence, ("unnamed", 0))
    what = f"{error} ({name}, {code})"
    if name == cuda_driver.OUT_OF_MEMORY or isinstance(error, driver.MemoryError):
        return OutOfMemoryError(
            f"The GPU has no memory left: {what}. Close other programs, look for fewer templates "
            "at once, or lower engine_max_tiles and engine_max_views."
        )
    if name in cuda_driver.LOST:
        return DeviceLostError(
            f"The GPU does not answer any more: {what}. Open the backend again; if that fails "
            "too, start the process again."
        )
    if name == "CUDA_ERROR_NO_DEVICE":
        return BackendError(
            f"TensorRT needs an NVIDIA GPU and CUDA shows none: {what}. Use the onnxruntime "
            "backend here."
        )
    return BackendError(f"CUDA: {what}.")
