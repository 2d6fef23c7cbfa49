"""Finds the nodes of an ONNX graph that TensorRT 8.4 refuses, before anyone is at the Jetson.

TensorRT's own parser needs an installed TensorRT and stops at its first error. This check reads the
tables of :mod:`refdet_training.export.tensorrt84` on any machine and lists all findings. It finds
only known obstacles: an empty list does not prove that an engine can be built.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from onnx import TensorProto

from refdet_core.bundle import Bundle
from refdet_core.errors import BundleError
from refdet_training.export import tensorrt84 as tables
from refdet_training.export.graph_view import GraphView, attributes, view_bodies, view_model

Obstacle = tuple[str, str]
"""Why, and what to do."""

_INT32 = np.iinfo(np.int32)


@dataclass(frozen=True)
class Finding:
    """Something that TensorRT 8.4 refuses.

    Attributes:
        graph: file name of the graph.
        node: the node's name (its first output where it has none), or the tensor's.
        op: operator, or ``input``, ``output``, ``initializer``, ``opset``.
        why: the reason.
        what_to_do: the remedy.
    """

    graph: str
    node: str
    op: str
    why: str
    what_to_do: str

    def __str__(self) -> str:
        return f"{self.graph}: {self.op} '{self.node}': {self.why}; {self.what_to_do}."


def check_bundle(bundle: Bundle) -> list[Finding]:
    """Findings of both graphs of a bundle."""
    return check_graph(bundle.template_graph) + check_graph(bundle.detector_graph)


def check_graph(path: Path) -> list[Finding]:
    """Findings of any ONNX file, in the order of its nodes; empty if nothing is known against it.

    Raises:
        BundleError: the file cannot be read as ONNX.
    """
    try:
        model = onnx.load(str(path))
        view = view_model(model)
    except (OSError, DecodeError, ValueError) as error:
        raise BundleError(f"{path} cannot be read as an ONNX file: {error}") from error
    if not view.graph.node:
        raise BundleError(f"{path} cannot be read as an ONNX file: it has no nodes.")
    return [*_check_model(view, path.name), *_check_nodes(view, path.name)]


def refusal(findings: Sequence[Finding]) -> str:
    """One message that lists them all."""
    lines = "\n".join(f"  {finding}" for finding in findings)
    return (
        f"TensorRT 8.4 (JetPack 5) does not take {len(findings)} "
        f"thing{'s' if len(findings) > 1 else ''} of the exported graphs:\n{lines}"
    )


def _check_model(view: GraphView, name: str) -> Iterator[Finding]:
    if view.opset > tables.MAX_OPSET:
        yield Finding(
            name,
            str(view.opset),
            "opset",
            f"TensorRT 8.4 reads operator sets up to {tables.MAX_OPSET}",
            "export with opset 13",
        )
    for kind, values in (("input", view.inputs), ("output", view.graph.output)):
        for value in values:
            element = value.type.tensor_type.elem_type
            if element not in tables.IO_TYPES:
                why = f"it is {_type_name(element)}; TensorRT's are {_names(tables.IO_TYPES)}"
                yield Finding(name, value.name, kind, why, "cast outside the graph")
    for value in view.inputs:
        if not value.type.tensor_type.HasField("shape"):
            why = "the number of its dimensions is open"
            yield Finding(name, value.name, "input", why, "name the axes in the export")


def _check_nodes(view: GraphView, name: str) -> Iterator[Finding]:
    for tensor in view.graph.initializer:
        for why, what_to_do in _foreign_type(tensor.data_type):
            yield Finding(name, tensor.name, "initializer", why, what_to_do)
    for node in view.graph.node:
        label = node.name or next((item for item in node.output if item), "")
        obstacles = list(_operator(node, view))
        if not obstacles:  # the other rules presuppose a known operator
            obstacles = [item for rule in _RULES for item in rule(node, view)]
        for why, what_to_do in obstacles:
            yield Finding(name, label, node.op_type, why, what_to_do)
        for body in view_bodies(node, view):
            yield from _check_nodes(body, name)


def _operator(node: Any, view: GraphView) -> Iterator[Obstacle]:
    if node.domain not in ("", "ai.onnx"):
        yield f"it is of the domain '{node.domain}'", "use operators of ONNX itself"
    elif node.op_type in tables.CONTROL_FLOW:
        yield (
            "TensorRT 8.4 takes control flow only under conditions on the shapes inside",
            "export a network whose Python code does not branch on sizes or values",
        )
    elif node.op_type in tables.REFUSED:
        yield tables.REFUSED[node.op_type]
    elif node.op_type not in tables.DATA_TYPES:
        yield "TensorRT 8.4 has no such operator", "express it with others, or do it outside"


def _element_types(node: Any, view: GraphView) -> Iterator[Obstacle]:
    """The data's type against the table; and types TensorRT lacks, where they first appear."""
    inputs = [view.types.get(item, 0) for item in node.input if item]
    outputs = [view.types.get(item, 0) for item in node.output if item]
    if not any(list(_foreign_type(item)) for item in inputs):
        for item in sorted(set(outputs)):
            yield from _foreign_type(item)
    if node.op_type in tables.DATA_IS_OUTPUT:
        data = outputs[0]
    else:
        position = tables.DATA_INPUT.get(node.op_type, 0)
        data = view.types.get(node.input[position], 0) if len(node.input) > position else 0
    taken = tables.DATA_TYPES[node.op_type]
    narrowed = TensorProto.INT32 if data == TensorProto.INT64 else data
    if data in tables.TENSOR_TYPES and narrowed not in taken:
        yield f"it works on {_type_name(data)}; TensorRT 8.4's on {_names(taken)}", "cast before it"


def _constant_inputs(node: Any, view: GraphView) -> Iterator[Obstacle]:
    for position, role in tables.CONSTANT_INPUTS.get(node.op_type, {}).items():
        name = node.input[position] if position < len(node.input) else ""
        if not name or view.constant(name) is not None:
            continue
        producer = view.producers.get(name)
        if producer is not None and producer.op_type == "Identity":
            yield (
                f"its {role} '{name}' went through Identity, which TensorRT 8.4 refuses",
                "connect the initializer itself",
            )
        elif node.op_type != "Conv" or role != "weights":
            yield f"its {role} '{name}' is not an initializer", "store it as a constant"
        elif not _is_dequantized_constant(name, view):
            yield (
                f"its weights '{name}' are computed at run time; TensorRT 8.4 needs an initializer",
                "correlate with MatMul or with shifted products and sums",
            )


def _is_dequantized_constant(name: str, view: GraphView) -> bool:
    """A quantised network's weights: constant -> (QuantizeLinear ->) DequantizeLinear -> Conv."""
    node = view.producers.get(name)
    while node is not None and node.op_type in ("DequantizeLinear", "QuantizeLinear"):
        if view.constant(node.input[0]) is not None:
            return True
        node = view.producers.get(node.input[0])
    return False


def _resize(node: Any, view: GraphView) -> Iterator[Obstacle]:
    if node.op_type != "Resize":
        return
    given = attributes(node)
    mode = given.get("mode", "nearest")
    coordinates = given.get("coordinate_transformation_mode", "half_pixel")
    rounding = given.get("nearest_mode", "round_prefer_floor")
    for value, valid in (
        (mode, tables.RESIZE_MODES),
        (coordinates, tables.RESIZE_COORDINATES),
        (rounding, tables.RESIZE_NEAREST),
    ):
        if value not in valid:
            yield f"it has no {value} Resize, only {', '.join(valid)}", "use one of these"
    if coordinates == "tf_half_pixel_for_nn" and rounding != "round_prefer_floor":
        yield f"tf_half_pixel_for_nn rounds by {rounding}", "use round_prefer_floor"
    scales = view.constant(node.input[2]) if len(node.input) > 2 else None
    if mode == "linear" and scales is not None and np.any(scales[:-3] != 1):
        yield "linear Resize reaches the last three dimensions only", "reshape before it"


def _pooling(node: Any, view: GraphView) -> Iterator[Obstacle]:
    if node.op_type not in ("MaxPool", "AveragePool", "LpPool"):
        return
    given = attributes(node)
    if any(item != 1 for item in given.get("dilations", [])):
        yield f"pooling with dilations {list(given['dilations'])}", "pool without dilation"
    if len(given.get("kernel_shape", [])) > 3:
        yield "pooling over more than three dimensions", "reshape before it"
    if len([item for item in node.output if item]) > 1:
        yield "the Indices of MaxPool", "do without them, or compute ArgMax"


def _zero_points(node: Any, view: GraphView) -> Iterator[Obstacle]:
    if node.op_type in ("QuantizeLinear", "DequantizeLinear") and len(node.input) > 2:
        point = view.constant(node.input[2])
        if point is not None and np.any(point != 0):
            yield "quantisation with a zero point other than 0", "quantise symmetrically"


def _squeeze(node: Any, view: GraphView) -> Iterator[Obstacle]:
    if node.op_type == "Squeeze" and len(node.input) < 2 and "axes" not in attributes(node):
        shape = view.shapes.get(node.input[0])
        if shape is None or not all(isinstance(size, int) for size in shape):
            yield "it squeezes unnamed axes of a tensor without fixed shape", "name the axes"


def _shapes(node: Any, view: GraphView) -> Iterator[Obstacle]:
    """Sizes that follow from values; more dimensions than TensorRT has."""
    for position in tables.SHAPE_INPUTS.get(node.op_type, ()):
        name = node.input[position] if position < len(node.input) else ""
        origin = view.depends_on_values_of(name)
        if origin is not None:
            yield (
                f"a size of its output depends on the values of '{origin}', not only on its shape",
                "derive sizes from shapes and constants",
            )
    for name in node.output:
        if len(view.shapes.get(name, ())) > tables.MAX_RANK:
            yield f"'{name}' has more than {tables.MAX_RANK} dimensions", "reshape to fewer"


def _wide_integers(node: Any, view: GraphView) -> Iterator[Obstacle]:
    """int64 becomes int32. Slice may keep its 'to the end': the parser clamps it to the size."""
    if node.op_type in ("Slice", "Constant"):
        return
    for name in node.input:
        value = view.constant(name)
        if value is None or value.dtype != np.int64:
            continue
        if np.any((value < _INT32.min) | (value > _INT32.max)):
            yield f"the constant '{name}' does not fit 32 bits", "use smaller integers"


_RULES: tuple[Callable[[Any, GraphView], Iterable[Obstacle]], ...] = (
    _element_types,
    _constant_inputs,
    _resize,
    _pooling,
    _zero_points,
    _squeeze,
    _shapes,
    _wide_integers,
)


def _foreign_type(element: int) -> Iterator[Obstacle]:
    if element and element not in tables.TENSOR_TYPES:
        yield (
            f"a tensor of {_type_name(element)}; TensorRT 8.4 has {_names(tables.TENSOR_TYPES)}",
            "cast to one of these before the export",
        )


def _type_name(element: int) -> str:
    return str(TensorProto.DataType.Name(element)).lower()


def _names(elements: Iterable[int]) -> str:
    return ", ".join(_type_name(item) for item in sorted(elements))
