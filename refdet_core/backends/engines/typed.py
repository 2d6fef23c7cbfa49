"""Graphs whose tensors have the types they are computed in.

TensorRT-RTX and TensorRT 11 take the types from the graph ("strongly typed"); they know neither the
flag FP16 nor a layer's precision. So for them the graph itself is converted.
"""

from __future__ import annotations

from typing import Any, List, Sequence, Set

from refdet_core.backends.engines.graph import import_onnx, with_node_names
from refdet_core.errors import BackendError


def in_fp16(model: bytes, kept: Sequence[str]) -> bytes:
    """The graph in half precision; inputs and outputs stay float32.

    Args:
        kept: names of operators that stay in float32, as :class:`Graph` names them.

    Raises:
        BackendError: onnxruntime's converter cannot be imported.
    """
    try:
        from onnxruntime.transformers import float16
    except ImportError as error:
        raise BackendError(
            "FP16 with this TensorRT needs onnxruntime's converter: pip install onnxruntime onnx "
            f"({error})"
        ) from error
    named = import_onnx().load_model_from_string(with_node_names(model))
    half = float16.convert_float_to_float16(named, keep_io_types=True, node_block_list=list(kept))
    _drop_repeated_nodes(half)
    return bytes(half.SerializeToString())


def _drop_repeated_nodes(proto: Any) -> None:
    """The converter adds the same cast for each operator that needs it, but it may be there
    once."""
    known: Set[str] = set()
    once: List[Any] = []
    for node in proto.graph.node:
        if not known.issuperset(node.output):
            known.update(node.output)
            once.append(node)
    del proto.graph.node[:]
    proto.graph.node.extend(once)
