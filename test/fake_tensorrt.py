"""A double of the module ``tensorrt``, for tests without a GPU: 8.4, 8.5, 10, 11 and RTX 1.

This is the builder's side: parser, network, configuration, calibration. What it builds is a JSON
plan around the ONNX file, so that :func:`run_plan` (or a double of the runtime) can compute what
the graph says. It refuses what TensorRT refuses, in the same way: by None or False and a message
on the logger, seldom by an exception; and what a callback raises it swallows.
"""

from __future__ import annotations

import base64
import enum
import json
import time
import types
from dataclasses import dataclass, field
from typing import Any, Callable

import numpy as np

_FLAGS = ("INT8", "FP16", "GPU_FALLBACK", "TF32")
_CONSTRAINTS = ("OBEY_PRECISION_CONSTRAINTS", "PREFER_PRECISION_CONSTRAINTS")
_LAYER_OF = {
    "Conv": "CONVOLUTION",
    "Shape": "SHAPE",
    "MatMul": "MATRIX_MULTIPLY",
    "ReduceMean": "REDUCE",
    "Range": "FILL",
    "Cast": "IDENTITY",
    "QuantizeLinear": "QUANTIZE",
    "DequantizeLinear": "DEQUANTIZE",
}
_WITH_HELPER = {"Clip", "Gemm", "Mul"}  # the parser puts an unnamed layer before these


@dataclass
class Build:
    """What one engine was asked for, and how."""

    flags: set[str]
    profiles: list[dict[str, tuple]]
    workspace: int | None
    timings: bytes
    precisions: dict[str, str]  # of the layers that were constrained
    fixed_inputs: dict[str, tuple]
    device: str
    calibration: list[dict[str, np.ndarray]] = field(default_factory=list)
    calibration_cache: bytes | None = None
    operators: list[str] = field(default_factory=list)


class FakeTensorRT:
    """The installed TensorRT and the GPU it finds.

    Attributes:
        builds: all that were begun.
        has_gpu: without one a Builder is a null pointer, which pybind11 makes a TypeError.
        unsupported: operators the parser does not know.
        build_s: seconds a build takes.
        fails_with: a message; the build returns None.
        spoil: what a plan adds to its outputs, by name.
        dla_cores: deep learning accelerators there are.
        messages: what a build says before it is done, as (severity, text).
    """

    def __init__(self, version: str = "8.5.3.1") -> None:
        self.version = version
        self.generation = tuple(int(part) for part in version.split(".")[:2])
        self.is_rtx = self.generation < (8, 0)
        if self.is_rtx:
            self.generation = (11, 0)
        self.builds: list[Build] = []
        self.has_gpu = True
        self.unsupported: set[str] = set()
        self.build_s = 0.0
        self.fails_with = ""
        self.spoil: dict[str, float] = {}
        self.dla_cores = 0
        self.messages: list[tuple[str, str]] = []
        self.during_build: Callable[[], None] = lambda: None
        self.read_device: Callable[[int, int], np.ndarray] | None = None

    def module(self) -> types.ModuleType:
        """What ``import tensorrt`` gives."""
        module = types.ModuleType("tensorrt_rtx_bindings" if self.is_rtx else "tensorrt")
        for name, value in _names(self).items():
            setattr(module, name, value)
        return module


def run_plan(serialized: bytes, inputs: dict[str, np.ndarray], dla: int = -1) -> dict[str, Any]:
    """The outputs of what a fake builder has built, by ONNX Runtime; refused outside its shapes."""
    import onnxruntime

    plan = json.loads(serialized)
    assert any(
        all(
            all(low <= side <= high for low, side, high in zip(shapes[0], array.shape, shapes[2]))
            for array, shapes in ((inputs[name], profile[name]) for name in inputs)
        )
        for profile in plan["profiles"]
    ), "outside every profile"
    options = onnxruntime.SessionOptions()
    if "QuantizeLinear" in _operators(base64.b64decode(plan["model"])):
        # Its fused int8 operators saturate on CPUs without the instructions for it.
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(
        base64.b64decode(plan["model"]), options, providers=["CPUExecutionProvider"]
    )
    names = [item.name for item in session.get_outputs()]
    outputs = dict(zip(names, session.run(names, inputs)))
    return {name: value + plan["spoil"].get(name, 0) for name, value in outputs.items()}


def _names(fake: FakeTensorRT) -> dict[str, Any]:
    generation = fake.generation
    mixed = generation < (11, 0)
    builder_flag = enum.IntEnum(
        "BuilderFlag",
        [*_FLAGS, *_CONSTRAINTS] if mixed else ["TF32", "GPU_FALLBACK", "REQUIRE_USER_ALLOCATION"],
        start=0,
    )
    types_of_data = ["FLOAT", "HALF", "INT8", "INT32", "BOOL"]
    data_type = enum.IntEnum(
        "DataType", types_of_data + (["INT64"] if generation >= (10, 0) else []), start=0
    )
    layer_type = enum.IntEnum(
        "LayerType", sorted({*_LAYER_OF.values(), "CONSTANT", "SHUFFLE", "ELEMENTWISE"}), start=0
    )
    pool = enum.IntEnum("MemoryPoolType", ["WORKSPACE", "DLA_MANAGED_SRAM"], start=0)
    device = enum.IntEnum("DeviceType", ["GPU", "DLA"], start=0)
    creation = enum.IntEnum(
        "NetworkDefinitionCreationFlag",
        ["EXPLICIT_BATCH"] if generation < (10, 0) else ["EXPLICIT_BATCH", "STRONGLY_TYPED"],
        start=0,
    )

    class ILogger:
        Severity = enum.IntEnum(
            "Severity", ["INTERNAL_ERROR", "ERROR", "WARNING", "INFO", "VERBOSE"], start=0
        )

        def __init__(self):
            self._is_initialised = True

    for severity in ILogger.Severity:
        setattr(ILogger, severity.name, severity)

    def say(logger, severity, text):
        assert logger._is_initialised, "ILogger.__init__ was not called"
        try:
            logger.log(ILogger.Severity[severity], text)
        except Exception as error:
            print(f"[ERROR] Exception caught in log(): {error}")

    class ITensor:
        def __init__(self, name, dtype, shape=()):
            self.name, self.dtype, self.shape = name, dtype, shape
            self.is_shape_tensor = dtype not in (data_type.FLOAT, data_type.HALF)

    class ILayer:
        def __init__(self, name, kind, inputs, outputs):
            self.name, self.type = name, kind
            self._inputs, self._outputs = inputs, outputs
            self.set_types: dict[int, Any] = {}
            self._precision = None

        num_inputs = property(lambda self: len(self._inputs))
        num_outputs = property(lambda self: len(self._outputs))
        precision_is_set = property(lambda self: self._precision is not None)

        @property
        def precision(self):
            return data_type.FLOAT if self._precision is None else self._precision

        @precision.setter
        def precision(self, value):
            assert mixed, "a strongly typed network takes its types from the graph"
            self._precision = value

        def get_input(self, index):
            return self._inputs[index]

        def get_output(self, index):
            return self._outputs[index]

        def set_output_type(self, index, dtype):
            self.set_types[index] = dtype

    class INetworkDefinition:
        def __init__(self, logger, flags):
            self.logger, self.flags = logger, flags
            self.layers: list[ILayer] = []
            self.inputs: list[ITensor] = []
            self.model = b""

        num_layers = property(lambda self: len(self.layers))
        num_inputs = property(lambda self: len(self.inputs))

        def get_layer(self, index):
            return self.layers[index]

        def get_input(self, index):
            return self.inputs[index]

    class ParserError:
        def __init__(self, node, text):
            self._node, self._text = node, text

        def node(self):
            return self._node

        def desc(self):
            return self._text

    class OnnxParser:
        def __init__(self, network, logger):
            self._network, self._logger, self._errors = network, logger, []

        num_errors = property(lambda self: len(self._errors))

        def get_error(self, index):
            return self._errors[index]

        def parse(self, model, path=None):
            import onnx

            self._network.model = bytes(model)
            proto = onnx.load_model_from_string(self._network.model)
            proto = onnx.shape_inference.infer_shapes(proto)
            kinds = {
                item.name: item.type.tensor_type.elem_type
                for item in (*proto.graph.value_info, *proto.graph.output, *proto.graph.input)
            }
            integer = data_type.INT32 if generation < (10, 0) else data_type.INT64
            known = {
                onnx.TensorProto.FLOAT: data_type.FLOAT,
                onnx.TensorProto.FLOAT16: data_type.HALF,
                onnx.TensorProto.BOOL: data_type.BOOL,
            }
            weights = {item.name for item in proto.graph.initializer}
            tensors: dict[str, ITensor] = {}
            for item in proto.graph.input:
                shape = tuple(
                    side.dim_value if side.HasField("dim_value") else -1
                    for side in item.type.tensor_type.shape.dim
                )
                tensors[item.name] = ITensor(item.name, known.get(kinds[item.name], integer), shape)
                self._network.inputs.append(tensors[item.name])
            for index, node in enumerate(proto.graph.node):
                if node.op_type in fake.unsupported:
                    text = f"In node {index} (importFallbackPluginImporter): UNSUPPORTED_NODE"
                    self._errors.append(ParserError(index, text))
                    say(self._logger, "ERROR", f"parser: {text}")
                    return False
                if node.op_type == "Constant":
                    weights.add(node.output[0])
                    continue
                inputs = [tensors[name] for name in node.input if name in tensors]
                if not inputs:  # computed from weights alone, which the parser does itself
                    weights.update(node.output)
                    continue
                kind = layer_type[_LAYER_OF.get(node.op_type, "ELEMENTWISE")]
                count = len(self._network.layers)
                if any(name in weights for name in node.input) and node.op_type != "Conv":
                    constant = ITensor(
                        f"(Unnamed Layer* {count}) [Constant]_output", data_type.FLOAT
                    )
                    self._network.layers.append(
                        ILayer(constant.name[:-7], layer_type.CONSTANT, [], [constant])
                    )
                    count += 1
                if node.op_type in _WITH_HELPER:
                    name = f"(Unnamed Layer* {count}) [Shuffle]"
                    helper = ITensor(name + "_output", inputs[0].dtype)
                    self._network.layers.append(
                        ILayer(name, layer_type.SHUFFLE, inputs[:1], [helper])
                    )
                    inputs = [helper, *inputs[1:]]
                outputs = [
                    ITensor(name, known.get(kinds.get(name, onnx.TensorProto.FLOAT), integer))
                    for name in node.output
                ]
                tensors.update({item.name: item for item in outputs})
                self._network.layers.append(ILayer(node.name, kind, inputs, outputs))
            return True

    class IOptimizationProfile:
        def __init__(self):
            self.shapes: dict[str, tuple] = {}

        def set_shape(self, input, min, opt, max):
            if not len(min) == len(opt) == len(max) or not all(
                0 <= a <= b <= c for a, b, c in zip(min, opt, max)
            ):
                raise ValueError("Shape provided for min is inconsistent with opt or max")
            self.shapes[input] = (tuple(min), tuple(opt), tuple(max))

    class IHostMemory:
        def __init__(self, content):
            self._content = content
            self.nbytes = len(content)

        def __bytes__(self):  # the real one has the buffer protocol
            return self._content

    class ITimingCache:
        def __init__(self, content):
            self.content = content

        def serialize(self):
            return IHostMemory(self.content)

    class IBuilderConfig:
        def __init__(self):
            self._flags = {builder_flag.TF32}
            self._profiles: list[IOptimizationProfile] = []
            self._pools: dict[Any, int] = {}
            self._timings = None
            self.calibration_profile = None
            self.default_device_type = device.GPU
            self.DLA_core = -1
            if mixed:
                self.int8_calibrator = None

        def set_flag(self, flag):
            self._flags.add(builder_flag(flag))

        def clear_flag(self, flag):
            self._flags.discard(builder_flag(flag))

        def set_memory_pool_limit(self, pool, pool_size):
            self._pools[pool] = pool_size

        def add_optimization_profile(self, profile):
            if not profile.shapes:
                return -1
            self._profiles.append(profile)
            return len(self._profiles) - 1

        def set_calibration_profile(self, profile):
            self.calibration_profile = profile
            return True

        def set_compute_capability(self, compute_capability, index):
            assert self.num_compute_capabilities == 1 and index == 0
            self._target = compute_capability.name
            return True

        def create_timing_cache(self, serialized_timing_cache):
            assert not fake.is_rtx, "it would ask for a GPU and change nothing"
            content = bytes(serialized_timing_cache)
            return None if content.startswith(b"garbage") else ITimingCache(content)

        def set_timing_cache(self, cache, ignore_mismatch):
            if not ignore_mismatch and cache.content not in (b"", _timings(fake)):
                return False
            self._timings = cache
            return True

        def get_timing_cache(self):
            return self._timings

        def can_run_on_DLA(self, layer):
            return layer.type == layer_type.CONVOLUTION

    class Builder:
        def __init__(self, logger):
            if not fake.has_gpu:
                say(logger, "WARNING", "CUDA initialization failure with error: 35")
                raise TypeError("pybind11::init(): factory function returned nullptr")
            self.logger = logger
            self.platform_has_fast_fp16 = True
            self.platform_has_fast_int8 = True
            self.num_DLA_cores = fake.dla_cores
            if not mixed:
                del self.platform_has_fast_fp16, self.platform_has_fast_int8

        def create_network(self, flags=0):
            return INetworkDefinition(self.logger, flags)

        def create_builder_config(self):
            return IBuilderConfig()

        def create_optimization_profile(self):
            return IOptimizationProfile()

        def build_serialized_network(self, network, config):
            build = Build(
                {flag.name for flag in config._flags},
                [profile.shapes for profile in config._profiles],
                config._pools.get(pool.WORKSPACE),
                config._timings.content if config._timings else b"",
                {
                    layer.name: layer.precision.name
                    for layer in network.layers
                    if layer.precision_is_set
                },
                {item.name: item.shape for item in network.inputs if -1 not in item.shape},
                config.default_device_type.name,
                operators=_operators(network.model),
            )
            fake.builds.append(build)
            for severity, text in fake.messages:
                say(self.logger, severity, text)
            fake.during_build()
            time.sleep(fake.build_s)
            error = fake.fails_with or self._problem(network, config, build)
            if error:
                say(self.logger, "ERROR", error)
                return None
            if mixed and config.int8_calibrator is not None:
                self._calibrate(config, network, build)
            config._timings = ITimingCache(_timings(fake))
            plan = {
                "tensorrt": fake.version,
                "model": base64.b64encode(network.model).decode(),
                "profiles": build.profiles,
                "spoil": fake.spoil,
            }
            return IHostMemory(json.dumps(plan).encode())

        def _problem(self, network, config, build):
            if generation < (10, 0) and not network.flags & 1 << creation.EXPLICIT_BATCH:
                return "dynamic shapes need a network with EXPLICIT_BATCH"
            missing = [
                item.name
                for item in network.inputs
                if -1 in item.shape
                and not all(item.name in profile.shapes for profile in config._profiles)
            ]
            if missing or not config._profiles:
                return f"Network has dynamic inputs, but no optimization profile: {missing}"
            for layer in network.layers:
                kinds = {layer._precision, *layer.set_types.values()} - {None}
                if data_type.HALF in kinds and "FP16" not in build.flags:
                    return "fp16 precision has been set for a layer, but fp16 is not configured"
                outputs = {item.dtype for item in layer._outputs}
                if kinds and not outputs <= {data_type.FLOAT, data_type.HALF}:
                    return f"{layer.name}: precision of a layer that computes no floating point"
                if kinds and layer.type in (layer_type.QUANTIZE, layer_type.DEQUANTIZE):
                    return f"{layer.name}: precision of a layer that quantises"
            quantised = any(layer.type == layer_type.QUANTIZE for layer in network.layers)
            if "INT8" in build.flags and config.int8_calibrator is None and not quantised:
                return "Calibrator is not being used and no dynamic ranges were set"
            return ""

        def _calibrate(self, config, network, build):
            calibrator = config.int8_calibrator
            assert calibrator._is_initialised, "the base class's __init__ was not called"
            build.calibration_cache = calibrator.read_calibration_cache()
            if build.calibration_cache is not None:
                return
            names = [item.name for item in network.inputs]
            while True:
                addresses = calibrator.get_batch(names)
                if not addresses:
                    break
                shapes = [config.calibration_profile.shapes[name][1] for name in names]
                build.calibration.append(
                    {
                        name: fake.read_device(address, 4 * int(np.prod(shape)))
                        .view(np.float32)
                        .reshape(shape)
                        .copy()
                        for name, address, shape in zip(names, addresses, shapes)
                    }
                )
            calibrator.write_calibration_cache(memoryview(b"ranges of %d" % len(build.calibration)))

    class IInt8EntropyCalibrator2:
        def __init__(self):
            self._is_initialised = True

    names = {
        "__version__": fake.version,
        "ILogger": ILogger,
        "BuilderFlag": builder_flag,
        "DataType": data_type,
        "LayerType": layer_type,
        "MemoryPoolType": pool,
        "DeviceType": device,
        "NetworkDefinitionCreationFlag": creation,
        "OnnxParser": OnnxParser,
        "Builder": Builder,
    }
    if mixed:
        names["IInt8EntropyCalibrator2"] = IInt8EntropyCalibrator2
    if fake.is_rtx:
        names["ComputeCapability"] = enum.IntEnum("ComputeCapability", ["CURRENT", "SM75"], start=0)
        names["IRuntimeCache"] = type("IRuntimeCache", (), {})
    return names


def _timings(fake: FakeTensorRT) -> bytes:
    return f"timings of {fake.version}".encode()


def _operators(model: bytes) -> list[str]:
    import onnx

    return [node.op_type for node in onnx.load_model_from_string(model).graph.node]
