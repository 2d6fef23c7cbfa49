"""A double of TensorRT's runtime: engines that are ONNX graphs, run on :mod:`fake_cuda`'s memory.

Four generations of the Python API: ``8.4`` numbers its bindings, ``8.5`` has names as well,
``10`` has names alone, and ``rtx`` wants a context's settings in an object. As in the real one
nothing raises: calls return False or None and the reason goes to the logger; and what is easy to
forget is refused: addresses, shapes, memory, a profile that another context has, recording a graph
before a first run.
"""

from __future__ import annotations

import base64
import enum
import json
import pickle
import types
import weakref
from typing import Any

import numpy as np
import onnxruntime

GENERATIONS = ("8.4", "8.5", "10", "rtx")
VERSIONS = {"8.4": "8.4.1.5", "8.5": "8.5.2.2", "10": "10.3.0", "rtx": "1.7.1.116"}
_MAGIC = b"ftrt"
_SCRATCH = 1 << 20


class Severity(enum.IntEnum):
    INTERNAL_ERROR = 0
    ERROR = 1
    WARNING = 2
    INFO = 3
    VERBOSE = 4


class DataType(enum.Enum):
    FLOAT = 0
    HALF = 1


class TensorIOMode(enum.Enum):
    NONE = 0
    INPUT = 1
    OUTPUT = 2


class ExecutionContextAllocationStrategy(enum.Enum):
    STATIC = 0
    ON_PROFILE_CHANGE = 1
    USER_MANAGED = 2


class Specialization(enum.Enum):
    LAZY = 0
    EAGER = 1
    NONE = 2


class ILogger:
    INTERNAL_ERROR, ERROR, WARNING, INFO, VERBOSE = Severity
    Severity = Severity

    def __init__(self) -> None:
        self._is_set_up = True


class Logger(ILogger):
    def __init__(self, min_severity=Severity.WARNING) -> None:
        super().__init__()

    def log(self, severity, msg):
        print(f"[TRT] {msg}")


def serialize(
    model: bytes, profiles: list[dict[str, tuple[tuple[int, ...], ...]]], half: bool = False
) -> bytes:
    """An engine of an ONNX graph.

    Args:
        profiles: for each the least, usual and largest shape of each input.
        half: of a network whose inputs and outputs are FP16.
    """
    return _MAGIC + pickle.dumps((model, profiles, half))


class FakeTensorRT:
    """The module ``tensorrt`` of one generation on a :class:`fake_cuda.FakeCuda`.

    Attributes:
        refuse: names of calls that fail from now on: ``deserialize``, ``context``, ``profile``,
            ``shape``, ``address``, ``enqueue``.
        says: what it logs then.
        deserialized, runs: how often.
        shape_changes: how often a context was set to other shapes.
    """

    def __init__(self, cuda: Any, generation: str) -> None:
        self.cuda = cuda
        self.generation = generation
        self.refuse: set[str] = set()
        self.says = "Internal error"
        self.deserialized = 0
        self.runs = 0
        self.shape_changes = 0
        self.alive: weakref.WeakSet[Any] = weakref.WeakSet()
        self.data_type: Any = DataType

    @property
    def named(self) -> bool:
        return self.generation != "8.4"

    def module(self, builder: types.ModuleType | None = None) -> types.ModuleType:
        """What to put into ``sys.modules``.

        Args:
            builder: a module with the builder's side (:mod:`fake_tensorrt`) that is to get this
                side too; its engines can be loaded then.
        """
        is_rtx = self.generation == "rtx"
        module = builder or types.ModuleType("tensorrt_rtx_bindings" if is_rtx else "tensorrt")
        if builder is None:
            module.__version__ = VERSIONS[self.generation]
            module.ILogger, module.Logger = ILogger, Logger
            module.DataType = DataType
        self.data_type = module.DataType
        module.Runtime = lambda logger: _Runtime(self, logger)
        if self.named:
            module.TensorIOMode = TensorIOMode
        if self.generation in ("10", "rtx"):
            module.ExecutionContextAllocationStrategy = ExecutionContextAllocationStrategy
        if is_rtx:
            if builder is None:
                module.ComputeCapability = enum.Enum("ComputeCapability", ["CURRENT"])
                module.IRuntimeCache = type("IRuntimeCache", (), {})
            module.DynamicShapesKernelSpecializationStrategy = Specialization
        return module

    def refuses(self, call: str, logger: Any) -> bool:
        if call not in self.refuse:
            return False
        logger.log(Severity.ERROR, self.says)
        return True


class _Runtime:
    def __init__(self, trt: FakeTensorRT, logger: Any) -> None:
        if isinstance(logger, ILogger):
            assert logger._is_set_up, "ILogger.__init__ was not called"
        self._trt, self._logger = trt, logger
        self.DLA_core = -1
        trt.alive.add(self)

    def deserialize_cuda_engine(self, serialized_engine: bytes) -> Any:
        trt = self._trt
        assert trt.cuda.context_depth, "an engine is loaded without a context"
        if trt.refuses("deserialize", self._logger):
            return None
        content = _content(bytes(serialized_engine))
        if content is None:
            self._logger.log(
                Severity.ERROR, "Serialization assertion stdVersionRead == serializationVersion"
            )
            return None
        trt.deserialized += 1
        return _ENGINES[trt.generation](trt, self._logger, *content)


def _content(serialized: bytes) -> Any:
    """Graph, profiles and whether it is of FP16 inputs; None for what is no engine."""
    if serialized.startswith(_MAGIC):
        return pickle.loads(serialized[len(_MAGIC) :])
    try:
        plan = json.loads(serialized)
    except ValueError:
        return None
    return base64.b64decode(plan["model"]), plan["profiles"], False


class _Engine:
    def __init__(self, trt, logger, model, profiles, half):
        self._trt, self._logger = trt, logger
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(
            model, options, providers=["CPUExecutionProvider"]
        )
        self._inputs = [item.name for item in self._session.get_inputs()]
        self._outputs = [item.name for item in self._session.get_outputs()]
        self._profiles = profiles
        self._type = trt.data_type.HALF if half else trt.data_type.FLOAT
        self._contexts: weakref.WeakSet[Any] = weakref.WeakSet()
        self._known_shapes: dict[Any, dict[str, tuple[int, ...]]] = {}
        trt.alive.add(self)

    @property
    def num_optimization_profiles(self):
        return len(self._profiles)

    @property
    def _tensors(self):
        # TensorRT keeps an order of its own.
        return sorted([*self._inputs, *self._outputs])

    def _new_context(self):
        assert self._trt.cuda.context_depth
        if self._trt.refuses("context", self._logger):
            return None
        context = _CONTEXTS[self._trt.generation](self)
        self._contexts.add(context)
        return context

    def __del__(self):
        self._trt.cuda.demand_context("an engine is destroyed")


class _EngineWithoutStrategy(_Engine):
    device_memory_size = _SCRATCH

    def create_execution_context_without_device_memory(self):
        return self._new_context()


class _Engine84(_EngineWithoutStrategy):
    @property
    def num_bindings(self):
        return len(self._tensors) * len(self._profiles)

    def get_binding_name(self, index):
        name = self._tensors[index % len(self._tensors)]
        profile = index // len(self._tensors)
        return name if profile == 0 else f"{name} [profile {profile}]"

    def binding_is_input(self, binding):
        return self._name(binding) in self._inputs

    def get_binding_dtype(self, binding):
        self._name(binding)
        return self._type

    def get_profile_shape(self, profile_index, binding):
        return list(self._profiles[profile_index][self._name(binding)])

    def _name(self, binding):
        if isinstance(binding, str):
            assert binding in self._tensors
            return binding
        return self._tensors[binding % len(self._tensors)]


class _NamedEngine(_Engine):
    @property
    def num_io_tensors(self):
        return len(self._tensors)

    def get_tensor_name(self, index):
        return self._tensors[index]

    def get_tensor_mode(self, name):
        return TensorIOMode.INPUT if name in self._inputs else TensorIOMode.OUTPUT

    def get_tensor_dtype(self, name):
        assert name in self._tensors
        return self._type

    def get_tensor_profile_shape(self, name, profile_index):
        return list(self._profiles[profile_index][name])


class _Engine85(_NamedEngine, _Engine84):
    pass


class _Engine10(_NamedEngine):
    device_memory_size_v2 = _SCRATCH

    def create_execution_context(self, strategy=ExecutionContextAllocationStrategy.STATIC):
        assert strategy == ExecutionContextAllocationStrategy.USER_MANAGED
        return self._new_context()


class _RuntimeConfig:
    dynamic_shapes_kernel_specialization_strategy = Specialization.LAZY

    def set_execution_context_allocation_strategy(self, strategy):
        self.strategy = strategy


class _EngineRtx(_Engine10):
    def create_runtime_config(self):
        return _RuntimeConfig()

    def create_execution_context(self, runtime_config):
        kernels = runtime_config.dynamic_shapes_kernel_specialization_strategy
        assert kernels == Specialization.EAGER, "a graph would hold kernels that are replaced later"
        return super().create_execution_context(runtime_config.strategy)


class _Context:
    _shares_profiles = False

    def __init__(self, engine):
        self._engine = engine
        self._trt = engine._trt
        self._profile = None if engine._contexts else 0
        self._memory = None
        self._shapes: dict[str, tuple[int, ...]] = {}
        self._has_run = False
        self._session = engine._session
        self._trt.alive.add(self)

    def set_optimization_profile_async(self, profile_index, stream_handle):
        taken = {other._profile for other in self._engine._contexts if other is not self}
        if self._trt.refuses("profile", self._engine._logger):
            return False
        if not self._shares_profiles and profile_index in taken:
            return self._refuse("Profile is already used by another context")
        if profile_index >= len(self._engine._profiles):
            return self._refuse("Profile index out of range")
        self._trt.cuda.stream(stream_handle)
        self._profile = profile_index
        self._shapes = {}
        return True

    def _refuse(self, message):
        self._engine._logger.log(Severity.ERROR, message)
        return False

    def _set_shape(self, name, shape):
        if self._trt.refuses("shape", self._engine._logger):
            return False
        least, _, most = self._engine._profiles[self._profile][name]
        if len(shape) != len(least) or not all(
            least[axis] <= side <= most[axis] for axis, side in enumerate(shape)
        ):
            return self._refuse(f"Shape {shape} of {name} is out of range")
        if self._shapes.get(name) != tuple(shape):
            self._shapes[name] = tuple(shape)
            self._has_run = False
            self._trt.shape_changes += 1
        return True

    def _shape(self, name):
        if name in self._engine._inputs:
            return self._shapes.get(name, tuple(-1 for _ in self._profiled(name)))
        if any(item not in self._shapes for item in self._engine._inputs):
            return (-1,) * 4
        return self._trial()[name]

    def _profiled(self, name):
        return self._engine._profiles[self._profile][name][0]

    def _trial(self):
        """Shapes of the outputs: the graph is asked with zeros."""
        known, key = self._engine._known_shapes, tuple(sorted(self._shapes.items()))
        if key not in known:
            feed = {name: np.zeros(shape, np.float32) for name, shape in self._shapes.items()}
            outputs = self._session.run(self._engine._outputs, feed)
            known[key] = {
                name: outputs[index].shape for index, name in enumerate(self._engine._outputs)
            }
        return known[key]

    def _enqueue(self, addresses, stream_handle):
        trt, engine, cuda = self._trt, self._engine, self._trt.cuda
        assert cuda.context_depth, "an engine runs without a context"
        if trt.refuses("enqueue", engine._logger):
            return False
        if self._profile is None:
            return self._refuse("No optimization profile was set")
        if self._memory is None:
            return self._refuse("The context has no device memory")
        for name in engine._tensors:
            if not addresses.get(name):
                return self._refuse(f"Address of {name} is not set")
            if addresses[name] % 256:
                return self._refuse(f"Address of {name} is not aligned")
        if set(self._shapes) != set(engine._inputs):
            return self._refuse("Not all shapes are set")
        stream = cuda.stream(stream_handle)
        if stream.capture is not None and not self._has_run:
            return self._refuse("Recorded before the first run in these shapes")
        self._has_run = True
        shapes = dict(self._shapes)
        addresses = dict(addresses)
        memory = self._memory

        def work():
            cuda.at("device", memory, _SCRATCH)
            feed = {}
            for name, shape in shapes.items():
                size = 4 * int(np.prod(shape))
                array = cuda.at("device", addresses[name], size).view(np.float32).reshape(shape)
                assert not np.isnan(array).any(), f"{name} was read before it was written"
                feed[name] = array
            outputs = engine._session.run(engine._outputs, feed)
            for index, output in enumerate(outputs):
                name = engine._outputs[index]
                target = cuda.at("device", addresses[name], output.nbytes)
                target[:] = np.ascontiguousarray(output).reshape(-1).view(np.uint8)
            trt.runs += 1

        cuda.put(stream_handle, work)
        return True

    def __del__(self):
        self._trt.cuda.demand_context("an execution context is destroyed")


class _MemoryProperty(_Context):
    @property
    def device_memory(self):
        raise AttributeError("unreadable attribute")

    @device_memory.setter
    def device_memory(self, address):
        self._trt.cuda.at("device", address, self._engine.device_memory_size)
        self._memory = address


class _Context84(_MemoryProperty):
    def set_binding_shape(self, binding, shape):
        return self._set_shape(self._name(binding), shape)

    def get_binding_shape(self, binding):
        return self._shape(self._name(binding))

    def execute_async_v2(self, bindings, stream_handle, input_consumed=None):
        assert len(bindings) == self._engine.num_bindings
        count = len(self._engine._tensors)
        own = bindings[self._profile * count : (self._profile + 1) * count]
        addresses = {name: own[index] for index, name in enumerate(self._engine._tensors)}
        return self._enqueue(addresses, stream_handle)

    def _name(self, binding):
        profile, number = divmod(binding, len(self._engine._tensors))
        assert profile == self._profile, "a binding of another profile"
        return self._engine._tensors[number]


class _NamedContext(_Context):
    def __init__(self, engine):
        super().__init__(engine)
        self._addresses: dict[str, int] = {}

    def set_input_shape(self, name, shape):
        return self._set_shape(name, shape)

    def get_tensor_shape(self, name):
        return self._shape(name)

    def set_tensor_address(self, name, memory):
        if self._trt.refuses("address", self._engine._logger):
            return False
        if name not in self._engine._tensors:
            return self._refuse(f"There is no tensor {name}")
        self._addresses[name] = memory
        return True

    def execute_async_v3(self, stream_handle):
        return self._enqueue(self._addresses, stream_handle)


class _Context85(_NamedContext, _Context84):
    pass


class _Context10(_NamedContext):
    _shares_profiles = True

    def __init__(self, engine):
        super().__init__(engine)
        self._profile = 0

    def set_device_memory(self, memory, size):
        assert size >= self._engine.device_memory_size_v2
        self._trt.cuda.at("device", memory, size)
        self._memory = memory


_ENGINES = {"8.4": _Engine84, "8.5": _Engine85, "10": _Engine10, "rtx": _EngineRtx}
_CONTEXTS = {"8.4": _Context84, "8.5": _Context85, "10": _Context10, "rtx": _Context10}
