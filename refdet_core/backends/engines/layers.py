"""Tells TensorRT which layers keep a higher precision."""

from __future__ import annotations

from typing import Any, Dict, Iterator, List, Sequence, Tuple

from refdet_core.backends.engines.graph import Graph
from refdet_core.backends.engines.precision import Kept


def keep_precise(
    trt: Any, config: Any, network: Any, graph: Graph, kept: Sequence[Kept]
) -> Dict[str, str]:
    """Constrain the layers that the parser made from some operators.

    Args:
        graph: the parser's input.

    Returns:
        For each constrained layer its precision.
    """
    wanted = {item.node: item.precision for item in kept}
    constrained: Dict[str, str] = {}
    for node, layer in _layers_by_node(network, graph):
        if node in wanted and _is_computation(trt, layer):
            kind = trt.DataType.FLOAT if wanted[node] == "fp32" else trt.DataType.HALF
            layer.precision = kind
            for index in range(layer.num_outputs):
                layer.set_output_type(index, kind)
            constrained[layer.name] = wanted[node]
    if constrained:
        config.set_flag(trt.BuilderFlag.OBEY_PRECISION_CONSTRAINTS)
    return constrained


def _layers_by_node(network: Any, graph: Graph) -> Iterator[Tuple[str, Any]]:
    """Each layer with its operator.

    The parser adds an operator's layers one after the other and gives the last output tensor its
    name from the file. The layers' own names do not identify the operator: helper layers have none,
    and several layers of one operator are numbered.
    """
    waiting: List[Any] = []
    for index in range(network.num_layers):
        layer = network.get_layer(index)
        waiting.append(layer)
        names = [layer.get_output(number).name for number in range(layer.num_outputs)]
        node = next((graph.producers[name] for name in names if name in graph.producers), None)
        if node is not None:
            yield from ((node.name, item) for item in waiting)
            waiting = []


def _is_computation(trt: Any, layer: Any) -> bool:
    """Whether it computes in floating point. TensorRT refuses to constrain other layers: shapes and
    indices, constants, and quantisation."""
    if layer.type in (
        trt.LayerType.CONSTANT,
        trt.LayerType.SHAPE,
        trt.LayerType.QUANTIZE,
        trt.LayerType.DEQUANTIZE,
    ):
        return False
    inputs = [layer.get_input(index) for index in range(layer.num_inputs)]
    outputs = [layer.get_output(index) for index in range(layer.num_outputs)]
    tensors = [tensor for tensor in (*inputs[:1], *outputs) if tensor is not None]
    floating = (trt.DataType.FLOAT, trt.DataType.HALF)
    return all(tensor.dtype in floating and not tensor.is_shape_tensor for tensor in tensors)
