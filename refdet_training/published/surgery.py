"""Adapts published ONNX graphs to batches, any crop size and TensorRT 8.4."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from refdet_core.errors import BundleError

OPSET = 13


def load_graph(path: Path) -> Any:
    """A graph with float32 weights, batches of any size, and operators that TensorRT 8.4 takes.

    Raises:
        BundleError: the file is absent or cannot be read.
    """
    if not path.is_file():
        raise BundleError(f"There is no '{path}'; give the folder of the published weights.")
    try:
        model = onnx.load(str(path))
        onnx.checker.check_model(model)
    except Exception as error:  # onnx and protobuf share no base class
        raise BundleError(f"{path} cannot be read as an ONNX file: {error}") from error
    graph = model.graph
    _constants_as_weights(graph)
    _weights_as_float32(graph)
    _open_batches(graph)
    _without_hard_swish(graph)
    del graph.value_info[:]
    return graph


def constant(graph: Any, name: str) -> np.ndarray | None:
    """A weight of the graph; None where the tensor is computed."""
    found = next((item for item in graph.initializer if item.name == name), None)
    return None if found is None else numpy_helper.to_array(found)


def set_weight(graph: Any, name: str, value: np.ndarray) -> None:
    """Add a weight, or replace the one of that name."""
    for item in [item for item in graph.initializer if item.name == name]:
        graph.initializer.remove(item)
    graph.initializer.append(numpy_helper.from_array(np.ascontiguousarray(value), name))


def producer(graph: Any, name: str) -> Any:
    """The node that computes a tensor."""
    return next(node for node in graph.node if name in node.output)


def take_bgr_as_rgb(graph: Any, image: str) -> None:
    """Turn the first layer's weights around, so that a network for BGR takes RGB."""
    first = next(node for node in graph.node if image in node.input)
    weight = constant(graph, first.input[1])
    assert first.op_type == "Conv" and weight is not None, "the network starts with a convolution"
    set_weight(graph, first.input[1], weight[:, ::-1])


def object_logit(graph: Any, score: str) -> None:
    """Make logits of (background, object) one: their difference, whose sigmoid is the softmax."""
    last = producer(graph, score)
    weight = constant(graph, last.input[1])
    if last.op_type != "Conv" or weight is None or len(weight) != 2:
        return
    bias = constant(graph, last.input[2])
    assert bias is not None, "the published heads have one"
    set_weight(graph, last.input[1], weight[1:] - weight[:1])
    set_weight(graph, last.input[2], bias[1:] - bias[:1])


def any_crop_size(graph: Any, search: str) -> None:
    """Let reshapes to the published crop's cells take those of any crop."""
    shape, cells = f"{search}.shape", f"{search}.cells"
    for name, value in (("from", [2]), ("to", [4]), ("axis", [0]), ("keep", [0, -1])):
        set_weight(graph, f"{search}.{name}", np.array(value, np.int64))
    sizes = [
        helper.make_node("Shape", [search], [shape]),
        helper.make_node(
            "Slice", [shape, f"{search}.from", f"{search}.to", f"{search}.axis"], [cells]
        ),
        helper.make_node("Concat", [f"{search}.keep", cells], [f"{search}.compared"], axis=0),
    ]
    for node in graph.node:
        target = constant(graph, node.input[1]) if node.op_type == "Reshape" else None
        if target is not None and len(target) == 4 and min(target[2:]) > 1:
            node.input[1] = f"{search}.compared"
    _put_first(graph, sizes)


def depthwise_without_runtime_weights(graph: Any) -> None:
    """Depthwise correlation as a sum of shifted products: TensorRT up to 8.4 refuses a convolution
    whose weights are computed."""
    for node in list(graph.node):
        if node.op_type == "Conv" and constant(graph, node.input[1]) is None:
            _replace(graph, node, _shifted_products(graph, node))


def _shifted_products(graph: Any, conv: Any) -> list[Any]:
    """``search (N,C,h,w)`` and ``template (N,C,kh,kw)`` in the place of a convolution of one."""
    given = {item.name: helper.get_attribute_value(item) for item in conv.attribute}
    (height, width), pads = given["kernel_shape"], given["pads"]
    reshaped = [producer(graph, name) for name in conv.input]
    search, template = (node.input[0] for node in reshaped)
    name = conv.output[0]
    set_weight(graph, f"{name}.pads", np.array([0, 0, *pads[:2], 0, 0, *pads[2:]], np.int64))
    set_weight(graph, f"{name}.axes", np.array([2, 3], np.int64))
    nodes = [helper.make_node("Pad", [search, f"{name}.pads"], [f"{name}.padded"])]
    products = []
    end = np.iinfo(np.int32).max
    for y in range(height):
        for x in range(width):
            here = f"{name}.{y}.{x}"
            ends = [y + 1 - height or end, x + 1 - width or end]
            for key, value in (
                ("start", [y, x]),
                ("stop", ends),
                ("next", [y + 1, x + 1]),
            ):
                set_weight(graph, f"{here}.{key}", np.array(value, np.int64))
            nodes += [
                helper.make_node(
                    "Slice",
                    [f"{name}.padded", f"{here}.start", f"{here}.stop", f"{name}.axes"],
                    [f"{here}.shifted"],
                ),
                helper.make_node(
                    "Slice",
                    [template, f"{here}.start", f"{here}.next", f"{name}.axes"],
                    [f"{here}.weight"],
                ),
                helper.make_node("Mul", [f"{here}.shifted", f"{here}.weight"], [f"{here}.product"]),
            ]
            products.append(f"{here}.product")
    follower = next(node for node in graph.node if name in node.input)
    assert follower.op_type == "Reshape", "the published graph folds the batch after it"
    nodes.append(helper.make_node("Sum", products, [follower.output[0]]))
    for node in (*reshaped, follower):
        graph.node.remove(node)
    return nodes


def _replace(graph: Any, node: Any, others: list[Any]) -> None:
    nodes = list(graph.node)
    place = nodes.index(node)
    nodes[place : place + 1] = others
    del graph.node[:]
    graph.node.extend(nodes)


def _put_first(graph: Any, others: list[Any]) -> None:
    nodes = list(graph.node)
    del graph.node[:]
    graph.node.extend([*others, *nodes])


def _constants_as_weights(graph: Any) -> None:
    for node in [node for node in graph.node if node.op_type == "Constant"]:
        value = helper.get_attribute_value(node.attribute[0])
        set_weight(graph, node.output[0], numpy_helper.to_array(value))
        graph.node.remove(node)


def _weights_as_float32(graph: Any) -> None:
    """Half precision was for the file's size; TensorRT wants weights that are not computed."""
    for node in [node for node in graph.node if node.op_type == "Cast"]:
        value = constant(graph, node.input[0])
        if value is not None and value.dtype == np.float16:
            set_weight(graph, node.output[0], value.astype(np.float32))
            for item in [item for item in graph.initializer if item.name == node.input[0]]:
                graph.initializer.remove(item)
            graph.node.remove(node)


def _open_batches(graph: Any) -> None:
    """Let reshapes to a batch of one keep the batch of their input (0 in ONNX)."""
    for node in graph.node:
        if node.op_type != "Reshape":
            continue
        for item in [item for item in node.attribute if item.name == "allowzero"]:
            node.attribute.remove(item)
        target = constant(graph, node.input[1])
        if target is not None and len(target) and target[0] == 1:
            set_weight(graph, node.input[1], np.array([0, *target[1:]], np.int64))


def _without_hard_swish(graph: Any) -> None:
    """``x * hard_sigmoid(x)``: about HardSwish TensorRT 8.4 contradicts itself."""
    for node in [node for node in graph.node if node.op_type == "HardSwish"]:
        gate = f"{node.output[0]}.gate"
        hard_sigmoid = helper.make_node("HardSigmoid", node.input, [gate], alpha=1 / 6, beta=0.5)
        _replace(
            graph,
            node,
            [hard_sigmoid, helper.make_node("Mul", [node.input[0], gate], node.output)],
        )


def float_input(name: str, *shape: str | int) -> Any:
    """A float32 input or output of a graph."""
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, list(shape))
