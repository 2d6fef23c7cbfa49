"""One interface to TensorRT's runtime API, which differs between versions.

TensorRT 8.5 and newer name an engine's inputs and outputs; 8.4 numbers them, separately for each
optimisation profile; 10 removed the numbers; TensorRT-RTX is like 10. Written against 8.4, 8.5, 10
and RTX 1.7; docs/jetson.md and docs/gpu.md say which versions have run.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, List, Mapping, Optional

from refdet_core.backends.engines.profiles import Shape, ShapeRange
from refdet_core.backends.engines.target import import_tensorrt, is_rtx
from refdet_core.errors import BackendError, OutOfMemoryError

trt = import_tensorrt()


def failure(log: Any, what: str) -> BackendError:
    """The exception for a call that failed, with the reason that TensorRT logged.

    Args:
        log: see :func:`~refdet_core.backends.engines.tensorrt_log.make_log`.
    """
    reason = log.reason()
    text = f"TensorRT {what}: {reason}."
    if "outofmemory" in reason.lower().replace(" ", ""):
        return OutOfMemoryError(
            f"{text} Close other programs, or lower engine_max_tiles, engine_max_width and "
            "engine_max_views."
        )
    return BackendError(text)


class LoadedEngine(ABC):
    """An engine, and an execution context for each of its optimisation profiles.

    Nothing else holds these TensorRT objects, so :meth:`free` is sure to release them.

    Attributes:
        names: names of all inputs and outputs, read once because every run needs them.
    """

    def __init__(self, runtime: Any, engine: Any) -> None:
        self._runtime = runtime
        self._engine = engine
        self._contexts: List[Any] = []
        self.names = self._read_names()

    @property
    def profiles(self) -> int:
        """Number of optimisation profiles."""
        return int(self._engine.num_optimization_profiles)

    @abstractmethod
    def _read_names(self) -> List[str]:
        """Names of all inputs and outputs."""

    @abstractmethod
    def is_input(self, name: str) -> bool:
        """Whether it is an input; else it is an output."""

    @abstractmethod
    def is_float32(self, name: str) -> bool:
        """Whether its data type is float32."""

    @abstractmethod
    def shape_range(self, name: str, profile: int) -> ShapeRange:
        """The shapes that a profile takes for an input."""

    @abstractmethod
    def set_shape(self, profile: int, name: str, shape: Shape) -> bool:
        """Whether the profile's context takes an input of that shape."""

    @abstractmethod
    def shape(self, profile: int, name: str) -> Shape:
        """The output's shape for the input shapes that were set; -1 where it is unknown."""

    @abstractmethod
    def enqueue(self, profile: int, addresses: Mapping[str, int], stream: int) -> bool:
        """Queue the engine's work on the stream; returns whether that worked."""

    def open_contexts(self, stream: int) -> bool:
        """Make the contexts, without memory."""
        for profile in range(self.profiles):
            self._contexts.append(self._new_context())
            if self._contexts[-1] is None:
                return False
            # An engine's first context already has profile 0.
            if profile and not self._contexts[-1].set_optimization_profile_async(profile, stream):
                return False
        return True

    @property
    def memory_size(self) -> int:
        """Bytes that a context needs for activations."""
        if hasattr(self._engine, "device_memory_size_v2"):
            return int(self._engine.device_memory_size_v2)
        return int(self._engine.device_memory_size)

    def set_memory(self, address: int, size: int) -> None:
        """Let all contexts share memory aligned to 256 bytes; only one runs at a time."""
        for context in self._contexts:
            if hasattr(context, "set_device_memory"):
                context.set_device_memory(address, size)
            else:
                context.device_memory = address

    def free(self) -> None:
        """Release all objects. Releasing twice is harmless."""
        # In this order: no object may outlive the one that made it.
        self._contexts = []
        self._engine = None
        self._runtime = None

    def _new_context(self) -> Any:
        if hasattr(trt, "ExecutionContextAllocationStrategy"):
            strategy = trt.ExecutionContextAllocationStrategy.USER_MANAGED
            if is_rtx(trt):
                # RTX compiles kernels for a new shape in the background and replaces them later;
                # a recorded graph would keep the slower ones.
                settings = self._engine.create_runtime_config()
                settings.set_execution_context_allocation_strategy(strategy)
                eager = trt.DynamicShapesKernelSpecializationStrategy.EAGER
                settings.dynamic_shapes_kernel_specialization_strategy = eager
                return self._engine.create_execution_context(settings)
            return self._engine.create_execution_context(strategy)
        return self._engine.create_execution_context_without_device_memory()


class EngineWithNames(LoadedEngine):
    """TensorRT 8.5 and newer."""

    def _read_names(self) -> List[str]:
        return [self._engine.get_tensor_name(i) for i in range(self._engine.num_io_tensors)]

    def is_input(self, name: str) -> bool:
        return bool(self._engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT)

    def is_float32(self, name: str) -> bool:
        return bool(self._engine.get_tensor_dtype(name) == trt.DataType.FLOAT)

    def shape_range(self, name: str, profile: int) -> ShapeRange:
        return ShapeRange(*map(tuple, self._engine.get_tensor_profile_shape(name, profile)))

    def set_shape(self, profile: int, name: str, shape: Shape) -> bool:
        return bool(self._contexts[profile].set_input_shape(name, shape))

    def shape(self, profile: int, name: str) -> Shape:
        return tuple(self._contexts[profile].get_tensor_shape(name))

    def enqueue(self, profile: int, addresses: Mapping[str, int], stream: int) -> bool:
        context = self._contexts[profile]
        are_set = [context.set_tensor_address(*item) for item in addresses.items()]
        return all(are_set) and bool(context.execute_async_v3(stream))


class EngineWithNumbers(LoadedEngine):
    """TensorRT 8.4 and older: profile ``p`` numbers its bindings from ``p * len(names)``."""

    def _read_names(self) -> List[str]:
        count = self._engine.num_bindings // self.profiles
        return [self._engine.get_binding_name(i) for i in range(count)]

    def is_input(self, name: str) -> bool:
        return bool(self._engine.binding_is_input(name))

    def is_float32(self, name: str) -> bool:
        return bool(self._engine.get_binding_dtype(name) == trt.DataType.FLOAT)

    def shape_range(self, name: str, profile: int) -> ShapeRange:
        return ShapeRange(*map(tuple, self._engine.get_profile_shape(profile, name)))

    def set_shape(self, profile: int, name: str, shape: Shape) -> bool:
        return bool(self._contexts[profile].set_binding_shape(self._number(profile, name), shape))

    def shape(self, profile: int, name: str) -> Shape:
        return tuple(self._contexts[profile].get_binding_shape(self._number(profile, name)))

    def enqueue(self, profile: int, addresses: Mapping[str, int], stream: int) -> bool:
        bindings = [0] * self._engine.num_bindings
        for name, address in addresses.items():
            bindings[self._number(profile, name)] = address
        return bool(self._contexts[profile].execute_async_v2(bindings, stream))

    def _number(self, profile: int, name: str) -> int:
        return profile * len(self.names) + self.names.index(name)


def load_engine(serialized: bytes, log: Any, dla: int) -> Optional[LoadedEngine]:
    """An engine for the installed TensorRT; None if TensorRT refuses it.

    Args:
        dla: the deep learning accelerator to run on; -1: none.
    """
    runtime = trt.Runtime(log)
    if dla >= 0:
        runtime.DLA_core = dla
    engine = runtime.deserialize_cuda_engine(serialized)
    if engine is None:
        return None
    has_names = hasattr(engine, "num_io_tensors")
    return (EngineWithNames if has_names else EngineWithNumbers)(runtime, engine)
