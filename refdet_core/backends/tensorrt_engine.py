"""An engine at work: shapes in, runs on the GPU's stream, replayed as CUDA graphs."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any, Dict, List, Mapping, NoReturn, Optional, Tuple

import numpy as np

from refdet_core.backends.cuda import DeviceMemory, Gpu
from refdet_core.backends.cuda_driver import Graph
from refdet_core.backends.device_buffer import DeviceBuffer, float32_size
from refdet_core.backends.engines.profiles import Shape, ShapeRange
from refdet_core.backends.engines.tensorrt_log import make_log
from refdet_core.backends.tensorrt_api import LoadedEngine, failure, load_engine, trt
from refdet_core.errors import BackendError

_MOST_GRAPHS = 8  # of one shape: as many addresses of templates take turns


class Engine:
    """An engine that runs on a GPU's stream, each of its optimisation profiles for its shapes.

    All calls are made within :meth:`Gpu.active`. Before the first run it is given memory by
    :meth:`use_memory`.

    Args:
        serialized: as TensorRT's builder made it, on this TensorRT and GPU.
        name: for messages, "detector" or so.
        dla: the deep learning accelerator it was built for; -1: none.

    Attributes:
        inputs, outputs: their names.

    Raises:
        BackendError: TensorRT does not take it.
    """

    def __init__(self, gpu: Gpu, serialized: bytes, name: str, dla: int = -1) -> None:
        self.name = name
        self._gpu = gpu
        log = make_log(trt)
        loaded = load_engine(serialized, log, dla)
        if loaded is None:
            raise failure(log, f"cannot load the {name} engine")
        self._loaded = gpu.hold(loaded)
        self.inputs = tuple(item for item in loaded.names if loaded.is_input(item))
        self.outputs = tuple(item for item in loaded.names if item not in self.inputs)
        for item in loaded.names:
            if not loaded.is_float32(item):
                raise BackendError(f"The {name} engine's '{item}' is not float32.")
        if not loaded.open_contexts(gpu.stream.handle):
            raise failure(log, f"cannot make ready the {name} engine")
        self._profiles = [_Profile(self, gpu, loaded, log, i) for i in range(loaded.profiles)]
        self._ready = self._profiles[0]

    @property
    def memory_size(self) -> int:
        """Bytes of device memory that it needs while it runs."""
        return self._loaded.memory_size

    def use_memory(self, memory: DeviceMemory) -> None:
        """Run in this memory; engines that do not run at the same time may share it."""
        self._loaded.set_memory(memory.address, memory.size)

    @property
    def usual(self) -> List[Dict[str, Shape]]:
        """For each profile the shapes of the inputs that it is tuned for."""
        return [
            {name: limits.usual for name, limits in profile.ranges.items()}
            for profile in self._profiles
        ]

    def largest(self, name: str) -> Shape:
        """The largest shape of an input, of any profile."""
        return max(profile.ranges[name].most for profile in self._profiles)

    def free(self) -> None:
        """Give it back before the GPU is closed; it cannot run any more."""
        self._gpu.free(self._loaded)

    def fixed_size(self, name: str) -> Optional[Tuple[int, int]]:
        """``(height, width)`` of the input if it takes no other, as a DLA does; else None."""
        ranges = [profile.ranges[name] for profile in self._profiles]
        sizes = {shape[-2:] for item in ranges for shape in (item.least, item.most)}
        if len(sizes) > 1:
            return None
        ((height, width),) = sizes
        return height, width

    def most(self, shapes: Mapping[str, Shape], name: str) -> int:
        """How many items the input ``name`` may have at once, the other sides being as given.

        Raises:
            BackendError: no profile takes even one.
        """
        one = {**shapes, name: (1, *shapes[name][1:])}
        for profile in self._profiles:
            if profile.takes(one):
                return profile.ranges[name].most[0]
        return self._refuse(shapes)

    def prepare(self, shapes: Mapping[str, Shape]) -> Dict[str, Shape]:
        """Get ready for inputs of these shapes, and tell the shapes of the outputs.

        Raises:
            BackendError: they are outside what the engine was built for.
        """
        for profile in self._profiles:
            if profile.takes(shapes):
                self._ready = profile
                return profile.prepare(shapes)
        return self._refuse(shapes)

    def enqueue(self, addresses: Mapping[str, int]) -> None:
        """Put a run in the prepared shapes on the stream.

        Args:
            addresses: in device memory, aligned to 256 bytes, of each input and output.

        Raises:
            BackendError: TensorRT refuses, or the device is lost.
        """
        self._ready.enqueue(addresses)

    def _refuse(self, shapes: Mapping[str, Shape]) -> NoReturn:
        ranges = " or ".join(
            " and ".join(f"{name} {_range_text(profile.ranges[name])}" for name in self.inputs)
            for profile in self._profiles
        )
        given = " and ".join(f"{name} {_text(shape)}" for name, shape in shapes.items())
        raise BackendError(
            f"The {self.name} engine was not built for {given}; it takes {ranges}. Search in "
            "smaller tiles (tile_width, tile_height, tile_scale) or windows (track_window_px), or "
            "raise engine_max_width, engine_max_height or engine_max_views and let the engines be "
            "built again."
        )


class _Profile:
    """The context of one profile: the shapes it is set to, and its recorded runs.

    A graph holds good as long as the context is set to the same shapes; NVIDIA leaves open what
    happens if it is launched after a change. A run is recorded the second time it is asked for:
    the first after a change of shapes still sets TensorRT up.
    """

    def __init__(
        self, engine: Engine, gpu: Gpu, loaded: LoadedEngine, log: Any, number: int
    ) -> None:
        self.ranges = {name: loaded.shape_range(name, number) for name in engine.inputs}
        self._engine = engine
        self._gpu = gpu
        self._loaded = loaded
        self._log = log
        self._number = number
        self._shapes: Dict[str, Shape] = {}
        self._outputs: Dict[str, Shape] = {}
        self._has_run = False
        self._graphs: OrderedDict[Tuple[int, ...], Graph] = OrderedDict()

    def takes(self, shapes: Mapping[str, Shape]) -> bool:
        return all(_within(shape, self.ranges[name]) for name, shape in shapes.items())

    def prepare(self, shapes: Mapping[str, Shape]) -> Dict[str, Shape]:
        if shapes == self._shapes:
            return self._outputs
        while self._graphs:
            self._gpu.free(self._graphs.popitem()[1])
        self._has_run = False
        self._shapes = {}
        for name, shape in shapes.items():
            if not self._loaded.set_shape(self._number, name, shape):
                raise self._error(f"refuses {name} {_text(shape)} for")
        outputs = {name: self._loaded.shape(self._number, name) for name in self._engine.outputs}
        if any(side < 0 for shape in outputs.values() for side in shape):
            raise self._error("cannot tell the size of the outputs of")
        self._shapes, self._outputs = dict(shapes), outputs
        return outputs

    def enqueue(self, addresses: Mapping[str, int]) -> None:
        graph = self._graph(addresses) if self._has_run else None
        if graph is not None:
            self._gpu.launch(graph)
        elif self._put(addresses):
            self._has_run = True
        else:
            self._gpu.synchronize()  # raises if the device is the reason
            raise self._error("cannot run")

    def _graph(self, addresses: Mapping[str, int]) -> Optional[Graph]:
        key = tuple(addresses[name] for name in self._loaded.names)
        graph = self._graphs.pop(key, None) or self._gpu.record(lambda: self._record(addresses))
        if graph is not None:
            self._graphs[key] = graph
            if len(self._graphs) > _MOST_GRAPHS:
                self._gpu.free(self._graphs.popitem(last=False)[1])
        return graph

    def _record(self, addresses: Mapping[str, int]) -> None:
        if not self._put(addresses):
            raise self._error("cannot record")

    def _put(self, addresses: Mapping[str, int]) -> bool:
        return self._loaded.enqueue(self._number, addresses, self._gpu.stream.handle)

    def _error(self, what: str) -> BackendError:
        return failure(self._log, f"{what} the {self._engine.name} engine")


def run_once(
    serialized: bytes, inputs: Mapping[str, np.ndarray], dla: int = -1
) -> Dict[str, np.ndarray]:
    """What an engine makes of these float32 inputs, on the first GPU.

    Raises:
        BackendError: TensorRT or the GPU cannot.
    """
    with Gpu() as gpu, gpu.active():
        engine = Engine(gpu, serialized, "new", dla)
        engine.use_memory(gpu.allocate(engine.memory_size))
        shapes = engine.prepare({name: array.shape for name, array in inputs.items()})
        buffers = {name: DeviceBuffer(gpu) for name in (*inputs, *shapes)}
        addresses = {name: buffers[name].upload(array) for name, array in inputs.items()}
        for name, shape in shapes.items():
            addresses[name] = buffers[name].reserve(float32_size(shape))
        engine.enqueue(addresses)
        outputs = {name: buffers[name].download(shape) for name, shape in shapes.items()}
        gpu.synchronize()
        return {name: np.array(array) for name, array in outputs.items()}


def _within(shape: Shape, limits: ShapeRange) -> bool:
    return len(shape) == len(limits.least) and all(
        low <= side <= high for low, side, high in zip(limits.least, shape, limits.most)
    )


def _text(shape: Shape) -> str:
    return "x".join(map(str, shape))


def _range_text(limits: ShapeRange) -> str:
    """Such as ``1..4 x 3 x 16..736 x 16..1280``."""
    return " x ".join(
        str(low) if low == high else f"{low}..{high}"
        for low, high in zip(limits.least, limits.most)
    )
