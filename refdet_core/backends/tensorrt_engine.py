"""Runs an engine on the GPU's stream and replays runs as CUDA graphs."""

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

_MOST_GRAPHS = 8  # per shape: as many template addresses take turns


class Engine:
    """An engine on a GPU's stream; each optimisation profile serves its own shapes.

    Call it within :meth:`Gpu.active`. Before the first run, give it memory with :meth:`use_memory`.

    Args:
        serialized: output of TensorRT's builder for this TensorRT and GPU.
        name: for messages, for example "detector".
        dla: the deep learning accelerator that it was built for; -1: none.

    Attributes:
        inputs, outputs: names.

    Raises:
        BackendError: TensorRT refuses it.
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
        """Bytes of device memory that a run needs."""
        return self._loaded.memory_size

    def use_memory(self, memory: DeviceMemory) -> None:
        """Run in this memory; engines that never run at the same time may share it."""
        self._loaded.set_memory(memory.address, memory.size)

    @property
    def usual(self) -> List[Dict[str, Shape]]:
        """For each profile the input shapes that it is tuned for."""
        return [
            {name: limits.usual for name, limits in profile.ranges.items()}
            for profile in self._profiles
        ]

    def largest(self, name: str) -> Shape:
        """The largest shape of an input, of any profile."""
        return max(profile.ranges[name].most for profile in self._profiles)

    def free(self) -> None:
        """Release it before the GPU is closed; it can no longer run."""
        self._gpu.free(self._loaded)

    def fixed_size(self, name: str) -> Optional[Tuple[int, int]]:
        """``(height, width)`` of the input if the engine takes only that size, as for a DLA; else
        None."""
        ranges = [profile.ranges[name] for profile in self._profiles]
        sizes = {shape[-2:] for item in ranges for shape in (item.least, item.most)}
        if len(sizes) > 1:
            return None
        ((height, width),) = sizes
        return height, width

    def most(self, shapes: Mapping[str, Shape], name: str) -> int:
        """The maximum batch of the input ``name``, with the other sides as given.

        Raises:
            BackendError: no profile takes this size.
        """
        one = {**shapes, name: (1, *shapes[name][1:])}
        for profile in self._profiles:
            if profile.takes(one):
                return profile.ranges[name].most[0]
        return self._refuse(shapes)

    def prepare(self, shapes: Mapping[str, Shape]) -> Dict[str, Shape]:
        """Prepare for inputs of these shapes; returns the shapes of the outputs.

        Raises:
            BackendError: the engine was not built for them.
        """
        for profile in self._profiles:
            if profile.takes(shapes):
                self._ready = profile
                return profile.prepare(shapes)
        return self._refuse(shapes)

    def enqueue(self, addresses: Mapping[str, int]) -> None:
        """Queue a run with the prepared shapes.

        Args:
            addresses: device address of each input and output, aligned to 256 bytes.

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
    """The context of one profile: its current shapes and its recorded runs.

    A graph is valid only while the context keeps its shapes; NVIDIA does not define what a launch
    does after a change. A run is recorded the second time, because the first run after a change of
    shapes still sets TensorRT up.
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
            self._gpu.synchronize()  # raises if the device was lost
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
    """Run an engine once on these float32 inputs, on the first GPU.

    Raises:
        BackendError: TensorRT or the GPU fails.
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
    """For example ``1..4 x 3 x 16..736 x 16..1280``."""
    return " x ".join(
        str(low) if low == high else f"{low}..{high}"
        for low, high in zip(limits.least, limits.most)
    )
