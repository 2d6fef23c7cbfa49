"""An ONNX graph for building engines: producers and consumers of tensors, and their values."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, Iterator, List, Sequence, Tuple

import numpy as np

from refdet_core.errors import BackendError

Feed = Dict[str, np.ndarray]
"""The inputs of one run, by name."""

_OUTPUTS_AT_ONCE = 32  # all tensors of a large frame together take a gigabyte


@dataclass(frozen=True)
class Node:
    """One operator; ``name`` is its first output's name if the file gives none."""

    name: str
    op: str
    inputs: Tuple[str, ...]
    outputs: Tuple[str, ...]
    groups: int = 1


@dataclass(frozen=True)
class Span:
    """The observed values of a tensor: the largest absolute value, and the last shape."""

    largest: float
    shape: Tuple[int, ...]

    @property
    def size(self) -> int:
        """How many values."""
        return int(np.prod(self.shape))


class Graph:
    """The nodes of an ONNX file in order, and its small constants.

    Args:
        model: the file's content.
    """

    def __init__(self, model: bytes) -> None:
        onnx = import_onnx()
        self._proto = onnx.load_model_from_string(model)
        graph = self._proto.graph
        self.nodes = tuple(_node(item) for item in graph.node)
        self.outputs = tuple(item.name for item in graph.output)
        self.producers = {name: node for node in self.nodes for name in node.outputs if name}
        tensors = {item.name: item for item in graph.initializer}
        for node in graph.node:
            for attribute in node.attribute:
                if node.op_type == "Constant" and attribute.name == "value":
                    tensors[node.output[0]] = attribute.t
        self.scalars = {
            name: float(onnx.numpy_helper.to_array(tensor).reshape(-1)[0])
            for name, tensor in tensors.items()
            if int(np.prod(tensor.dims)) == 1 and tensor.data_type == onnx.TensorProto.FLOAT
        }

    def consumers(self, node: Node) -> Iterator[Node]:
        """The nodes that take one of this node's outputs."""
        return (other for other in self.nodes if set(other.inputs) & set(node.outputs))

    def observe(self, feeds: Sequence[Feed]) -> Dict[str, Span]:
        """Run the graph in ONNX Runtime and observe every float32 tensor."""
        onnx = import_onnx()
        watched = onnx.ModelProto()
        watched.CopyFrom(self._proto)
        for name in self.producers:
            if name not in self.outputs:
                watched.graph.output.append(onnx.ValueInfoProto(name=name))
        session = reference_session(watched.SerializeToString(), optimized=False)
        names = [item.name for item in session.get_outputs() if item.type == "tensor(float)"]
        spans: Dict[str, Span] = {}
        for feed in feeds:
            for name, value in feed.items():
                _widen(spans, name, value)
            for start in range(0, len(names), _OUTPUTS_AT_ONCE):
                some = names[start : start + _OUTPUTS_AT_ONCE]
                for name, value in zip(some, session.run(some, feed)):
                    _widen(spans, name, value)
        return spans


def import_onnx() -> Any:
    """The module ``onnx``; existing engines run without it.

    Raises:
        BackendError: it is not installed.
    """
    try:
        import onnx
    except ImportError as error:
        raise BackendError(
            "Building a TensorRT engine needs the package onnx, to find the layers that FP16 or "
            "INT8 is too coarse for: pip install onnx"
        ) from error
    return onnx


def with_node_names(model: bytes) -> bytes:
    """The same graph with the operator names of :class:`Graph`."""
    proto = import_onnx().load_model_from_string(model)
    for node in proto.graph.node:
        node.name = _node(node).name
    return bytes(proto.SerializeToString())


def reference_session(model: bytes, optimized: bool = True) -> Any:
    """ONNX Runtime on the CPU, the reference for engines.

    Raises:
        BackendError: it is not installed, or refuses the graph.
    """
    try:
        import onnxruntime
    except ImportError as error:
        raise BackendError(
            "Building a TensorRT engine needs the package onnxruntime, to compare the engine with: "
            "pip install onnxruntime"
        ) from error
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    if not optimized:  # fusing would hide the tensors between operators
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    try:
        return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's own exceptions share no base class
        raise BackendError(f"ONNX Runtime refuses the graph: {error}") from error


def read_graph(path: Path) -> bytes:
    """An ONNX file's content.

    Raises:
        BackendError: it cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise BackendError(f"{path} cannot be read: {error}") from error


def run_reference(model: bytes, feeds: Sequence[Feed]) -> List[Feed]:
    """The outputs of the graph in ONNX Runtime for each feed, by name."""
    session = reference_session(model)
    names = [item.name for item in session.get_outputs()]
    return [dict(zip(names, session.run(names, feed))) for feed in feeds]


def _node(proto: Any) -> Node:
    groups = [item.i for item in proto.attribute if item.name == "group"]
    outputs = tuple(proto.output)
    return Node(proto.name or outputs[0], proto.op_type, tuple(proto.input), outputs, *groups[:1])


def _widen(spans: Dict[str, Span], name: str, value: np.ndarray) -> None:
    largest = float(np.abs(value).max()) if value.size else 0.0
    before = spans.get(name)
    if before is not None:
        largest = float(np.maximum(largest, before.largest))  # keeps NaN
    spans[name] = Span(largest, value.shape)
