"""From an ONNX graph to a TensorRT engine, with TensorRT 8.4 to 11 and TensorRT-RTX.

Only this module handles the differences: the flag EXPLICIT_BATCH (needed until 9, implied from 10
on), Q/DQ nodes instead of a calibrator (from 10 on), the graph's own types instead of the flag FP16
(11 and RTX), and the node of a parser error (its index until 9, then its name). RTX times nothing
while it builds and otherwise builds for several GPUs at once. Written against those versions'
Python API; not run on a Jetson yet.
"""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass
from typing import Any, Mapping, Optional, Sequence, Tuple

from refdet_core.backends.engines.graph import Graph
from refdet_core.backends.engines.layers import keep_precise
from refdet_core.backends.engines.precision import Kept
from refdet_core.backends.engines.profiles import Profile
from refdet_core.backends.engines.progress import Progress
from refdet_core.backends.engines.target import is_rtx, is_strongly_typed
from refdet_core.backends.engines.tensorrt_log import make_log
from refdet_core.errors import BackendError, OutOfMemoryError

_LOG = logging.getLogger(__name__)

_MEGABYTE = 1 << 20
_TIMING = re.compile(r"Timing Runner: (?P<layer>.*) \(")


@dataclass(frozen=True)
class Recipe:
    """How to build one engine.

    Attributes:
        name: the graph's name for messages.
        model: the ONNX file's content; with Q/DQ nodes in it where INT8 is explicit, and in the
            right types where TensorRT takes them from there.
        profiles: the input shapes.
        precision: ``fp32``, ``fp16`` or ``int8``.
        kept: operators that stay more precise.
        workspace_mb: maximum memory for one layer.
        dla: accelerator to use; -1: none.
        calibrator: TensorRT's, where INT8 is implicit.
        calibration_profile: the shapes of the calibrator's data.
    """

    name: str
    model: bytes
    profiles: Tuple[Profile, ...]
    precision: str
    kept: Tuple[Kept, ...]
    workspace_mb: int
    dla: int = -1
    calibrator: Optional[Any] = None
    calibration_profile: Optional[Profile] = None


@dataclass(frozen=True)
class Built:
    """A serialised engine, the timings that speed up the next build, and the layers kept at a
    higher precision, by their TensorRT names."""

    engine: bytes
    timing_cache: bytes
    kept_layers: Mapping[str, str]


def build(trt: Any, recipe: Recipe, timing_cache: bytes, progress: Progress) -> Built:
    """Build an engine on this thread's current GPU; takes minutes.

    Raises:
        BackendError: TensorRT refuses the graph or the settings, in its own words.
    """
    log = _make_log(trt, progress)
    try:
        builder = trt.Builder(log)
    except TypeError as error:  # pybind11's error for a null pointer
        raise BackendError(
            f"TensorRT {trt.__version__} cannot start here: {log.reason()}. It needs an NVIDIA GPU "
            "and its driver; use the onnxruntime backend where there is none."
        ) from error
    network = builder.create_network(_network_flags(trt))
    graph = Graph(recipe.model)
    # The parser owns the weights until the engine is built.
    parser = _parsed(trt, network, recipe, graph, log)
    config = builder.create_builder_config()
    config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, recipe.workspace_mb * _MEGABYTE)
    _fix_shapes(network, recipe.profiles)
    for profile in recipe.profiles:
        if config.add_optimization_profile(_trt_profile(builder, profile)) < 0:
            raise BackendError(
                f"TensorRT refuses the {recipe.name}'s profile '{profile.name}': {log.reason()}"
            )
    _set_precision(trt, builder, config, recipe)
    kept_layers: Mapping[str, str] = {}
    if not is_strongly_typed(trt):
        kept_layers = keep_precise(trt, config, network, graph, recipe.kept)
    if is_rtx(trt):
        _use_this_gpu(trt, config)
    if recipe.dla >= 0:
        _use_dla(trt, builder, config, network, recipe.dla)
    timings = None if is_rtx(trt) else _attach_timings(config, timing_cache)
    progress.phase("optimising the network")
    engine = builder.build_serialized_network(network, config)
    del parser
    if recipe.calibrator is not None:
        recipe.calibrator.raise_error()
    if engine is None:
        raise _refusal(f"TensorRT {trt.__version__} could not build the {recipe.name}", log)
    if timings is not None:
        timings = config.get_timing_cache() or timings
    return Built(bytes(engine), bytes(timings.serialize()) if timings else b"", kept_layers)


def needs_explicit_int8(trt: Any) -> bool:
    """Whether INT8 needs Q/DQ nodes in the graph; older versions calibrate themselves."""
    return is_strongly_typed(trt) or int(str(trt.__version__).split(".")[0]) >= 10


def _make_log(trt: Any, progress: Progress) -> Any:
    """TensorRT's log; the kernels that it times become progress."""
    timed = 0

    def show(message: str) -> None:
        nonlocal timed
        match = _TIMING.search(message)
        if match is not None:
            timed += 1
            progress.phase(f"{timed} kernels tried, now for {match.group('layer')}")

    return make_log(trt, logging.DEBUG, show)


def _network_flags(trt: Any) -> int:
    if needs_explicit_int8(trt):
        return 0
    return 1 << int(trt.NetworkDefinitionCreationFlag.EXPLICIT_BATCH)


def _parsed(trt: Any, network: Any, recipe: Recipe, graph: Graph, log: Any) -> Any:
    parser = trt.OnnxParser(network, log)
    if parser.parse(recipe.model):
        return parser
    problems = []
    for index in range(parser.num_errors):
        error = parser.get_error(index)
        place = ""
        if 0 <= error.node() < len(graph.nodes):
            node = graph.nodes[error.node()]
            place = f"operator {node.op}, node '{node.name}': "
        problems.append(place + " ".join(str(error.desc()).split()))
    raise BackendError(
        "TensorRT {} does not take the {}: {}. 'refdet-train export --check-only' lists what else "
        "is known to be in its way.".format(
            trt.__version__, recipe.name, "; ".join(problems) or log.reason()
        )
    )


def _fix_shapes(network: Any, profiles: Sequence[Profile]) -> None:
    """An input with a single allowed shape gets a fixed shape, as a DLA requires."""
    for index in range(network.num_inputs):
        tensor = network.get_input(index)
        shapes = {
            shape
            for profile in profiles
            for shape in (profile.inputs[tensor.name].least, profile.inputs[tensor.name].most)
        }
        if len(shapes) == 1:
            tensor.shape = shapes.pop()


def _trt_profile(builder: Any, profile: Profile) -> Any:
    trt_profile = builder.create_optimization_profile()
    for name, shapes in profile.inputs.items():
        try:
            trt_profile.set_shape(name, shapes.least, shapes.usual, shapes.most)
        except ValueError as error:
            raise BackendError(f"TensorRT refuses the shapes of '{name}', {shapes}: {error}") from (
                error
            )
    return trt_profile


def _set_precision(trt: Any, builder: Any, config: Any, recipe: Recipe) -> None:
    if recipe.precision == "fp32":
        config.clear_flag(trt.BuilderFlag.TF32)  # on by default, with FP16's precision
        return
    if is_strongly_typed(trt):
        return
    config.set_flag(trt.BuilderFlag.FP16)
    if recipe.precision == "fp16" and not builder.platform_has_fast_fp16:
        _LOG.warning("This GPU has no fast FP16; fp32 may be as fast and is more precise.")
    if recipe.precision == "int8":
        config.set_flag(trt.BuilderFlag.INT8)
        if not builder.platform_has_fast_int8:
            _LOG.warning("This GPU has no fast INT8; fp16 may be as fast and is more precise.")
    if recipe.calibrator is not None and recipe.calibration_profile is not None:
        config.int8_calibrator = recipe.calibrator.trt_calibrator
        profile = _trt_profile(builder, recipe.calibration_profile)
        if not config.set_calibration_profile(profile):
            raise BackendError(f"TensorRT refuses the calibration profile of the {recipe.name}.")


def _use_this_gpu(trt: Any, config: Any) -> None:
    config.num_compute_capabilities = 1
    if not config.set_compute_capability(trt.ComputeCapability.CURRENT, 0):
        raise BackendError("TensorRT-RTX cannot build for this GPU.")
    config.set_flag(trt.BuilderFlag.REQUIRE_USER_ALLOCATION)  # else no CUDA graph can be recorded


def _use_dla(trt: Any, builder: Any, config: Any, network: Any, core: int) -> None:
    if core >= builder.num_DLA_cores:
        raise BackendError(
            f"This machine has {builder.num_DLA_cores} deep learning accelerators (counted from "
            f"0); engine_dla is {core}. Use -1 for the GPU alone."
        )
    config.default_device_type = trt.DeviceType.DLA
    config.DLA_core = core
    config.set_flag(trt.BuilderFlag.GPU_FALLBACK)
    layers = [network.get_layer(index) for index in range(network.num_layers)]
    taken = sum(bool(config.can_run_on_DLA(layer)) for layer in layers)
    _LOG.info("DLA %d can take %d of %d layers; the GPU runs the rest.", core, taken, len(layers))


def _attach_timings(config: Any, stored: bytes) -> Any:
    """A broken cache or one from other hardware is refused; then an empty one is used."""
    for content in (stored, b""):
        cache = config.create_timing_cache(content)
        if cache is not None and config.set_timing_cache(cache, ignore_mismatch=False):
            return cache
        _LOG.info("TensorRT refuses the stored timings; all kernels are timed again.")
    raise BackendError("TensorRT takes no timing cache.")


def _refusal(what: str, log: Any) -> BackendError:
    errors = log.reason()
    if re.search(r"out of memory|OutOfMemory|could not allocate", errors, re.IGNORECASE):
        return OutOfMemoryError(
            f"{what}, there is not enough memory: {errors}. Close other programs, or lower "
            "engine_workspace_mb, engine_max_tiles, engine_max_width and engine_max_height."
        )
    return BackendError(f"{what}: {errors}")
