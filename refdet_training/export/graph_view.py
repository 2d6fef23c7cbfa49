"""A view of an ONNX graph: types, shapes, constants, origins."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper

Shape = tuple[int | str | None, ...]
"""Sizes; a name or None if a size is not fixed."""


@dataclass(frozen=True)
class GraphView:
    """One graph of a model; a branch's or loop's body sees the tensors around it.

    Attributes:
        graph: ``onnx.GraphProto`` after shape inference.
        opset: of the default operator domain.
        types: element type (``TensorProto.DataType``) by tensor name, where it is known.
        shapes: by tensor name, where the rank is known.
        constants: initializers and Constant nodes' values by tensor name.
        producers: the node that writes a tensor, by tensor name.
    """

    graph: Any
    opset: int
    types: Mapping[str, int]
    shapes: Mapping[str, Shape]
    constants: Mapping[str, Any]
    producers: Mapping[str, Any]

    @property
    def inputs(self) -> list[Any]:
        """Graph inputs that are not initializers (older files list those as well)."""
        stored = {item.name for item in self.graph.initializer}
        return [item for item in self.graph.input if item.name not in stored]

    def constant(self, name: str) -> np.ndarray | None:
        """The tensor's value if it is stored in the file."""
        return self.constants.get(name)

    def depends_on_values_of(self, name: str) -> str | None:
        """A graph input whose *values* (not sizes) decide this tensor, or None."""
        waiting, seen = [name], set()
        while waiting:
            current = waiting.pop()
            if not current or current in seen or current in self.constants:
                continue
            seen.add(current)
            node = self.producers.get(current)
            if node is None:
                return current
            if node.op_type not in ("Shape", "Size"):
                waiting.extend(node.input)
        return None


def view_model(model: Any) -> GraphView:
    """The main graph of an ``onnx.ModelProto``, with shapes inferred as far as onnx can."""
    try:
        inferred = onnx.shape_inference.infer_shapes(model, data_prop=True)
    except onnx.shape_inference.InferenceError:  # inconsistent, or of an unknown domain
        inferred = model
    opset = max((item.version for item in inferred.opset_import if _is_default(item)), default=1)
    return _view(inferred.graph, opset, None)


def view_bodies(node: Any, around: GraphView) -> Iterator[GraphView]:
    """The graphs inside a node (If, Loop, Scan)."""
    for attribute in node.attribute:
        graphs = [attribute.g] if attribute.type == onnx.AttributeProto.GRAPH else attribute.graphs
        for graph in graphs:
            yield _view(graph, around.opset, around)


def attributes(node: Any) -> dict[str, Any]:
    """A node's attributes as Python values, bytes decoded."""
    values = {item.name: onnx.helper.get_attribute_value(item) for item in node.attribute}
    return {k: v.decode() if isinstance(v, bytes) else v for k, v in values.items()}


def _is_default(item: Any) -> bool:
    return item.domain in ("", "ai.onnx")


def _view(graph: Any, opset: int, around: GraphView | None) -> GraphView:
    types = dict(around.types) if around else {}
    shapes = dict(around.shapes) if around else {}
    constants = dict(around.constants) if around else {}
    producers = dict(around.producers) if around else {}
    for tensor in graph.initializer:
        constants[tensor.name] = numpy_helper.to_array(tensor)
        types[tensor.name] = tensor.data_type
        shapes[tensor.name] = tuple(tensor.dims)
    for value in _all_values(graph):
        kind = value.type.tensor_type
        types[value.name] = kind.elem_type
        if kind.HasField("shape"):
            shapes[value.name] = tuple(_size(dim) for dim in kind.shape.dim)
    for node in graph.node:
        producers.update((name, node) for name in node.output)
        if node.op_type == "Constant":
            constants[node.output[0]] = _constant(node)
    return GraphView(graph, opset, types, shapes, constants, producers)


def _all_values(graph: Any) -> Iterable[Any]:
    return (*graph.input, *graph.value_info, *graph.output)


def _size(dim: Any) -> int | str | None:
    if dim.HasField("dim_value"):
        return int(dim.dim_value)
    return dim.dim_param or None


def _constant(node: Any) -> Any:
    """Value of a Constant node; an empty object for strings and sparse tensors."""
    for item in node.attribute:
        value = onnx.helper.get_attribute_value(item)
        if item.name == "value":
            return numpy_helper.to_array(value)
        if item.name.startswith(("value_float", "value_int")):
            return np.asarray(value)
    return np.asarray(None, dtype=object)
