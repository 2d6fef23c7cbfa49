"""Which operators need a higher precision.

FP16 holds values up to 65504 with 11 binary digits, and loses digits below 2^-14. So these stay in
FP32:

- operators whose values come near 65504, observed in ONNX Runtime on sample frames; for means, the
  sum counts;
- everything from the last weights to the detector's outputs: FP16 has steps of half a pixel from
  512 px on, and a probability near 1 loses its log-odds;
- sums with a constant below 2^-14 (the epsilon of a normalisation) and the roots and quotients that
  follow: if the constant becomes zero, they become infinite.

INT8 is for the detector's plain convolutions, which are most of its work. Depthwise convolutions
stay in FP16 because their weights differ much in size and little is to be gained. So do
convolutions on maps finer than an eighth of the image, the gates on pooled 1x1 maps and the
matcher's matrix product. On aerial photos, with Q/DQ in ONNX Runtime, the largest error of the
released model's scores is then 0.06; with the finer maps quantised as well it is 0.28.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Dict, Iterator, Set, Tuple

from refdet_core.backends.engines.graph import Graph, Node, Span

DETECTOR_OUTPUTS = ("score", "box", "presence")
WEIGHTED = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})

_FP16_LARGEST = 65504.0
_MARGIN = 4.0  # other frames may exceed the samples, and partial sums the result
_FP16_SMALLEST_NORMAL = 2.0**-14
_MEANS = frozenset({"ReduceMean", "GlobalAveragePool"})
_SUMS = frozenset({"Add", "Sub", "Max"})
_AFTER_EPSILON = frozenset({"Sqrt", "Reciprocal", "Div", "Pow", "Log"})
_COARSE_ENOUGH = 8
_UNQUANTISED = frozenset({"ConvTranspose", "Gemm", "MatMul"})


@dataclass(frozen=True)
class Kept:
    """An operator that stays in ``fp32`` or ``fp16``, and why."""

    node: str
    op: str
    precision: str
    reason: str


def kept_in_fp32(graph: Graph, spans: Dict[str, Span]) -> Tuple[Kept, ...]:
    """The operators that FP16 is too coarse for.

    Args:
        spans: from :meth:`Graph.observe`, over frames of the largest size.
    """
    found: Dict[str, Kept] = {}
    for node, reason in _reasons(graph, spans):
        found.setdefault(node.name, Kept(node.name, node.op, "fp32", reason))
    return tuple(found.values())


def kept_in_fp16(graph: Graph, spans: Dict[str, Span], image: str = "frame") -> Tuple[Kept, ...]:
    """The operators that INT8 is too coarse for, besides :func:`kept_in_fp32`.

    Args:
        image: name of the image input, ``(B, 3, H, W)``.
    """
    finest = spans[image].shape[2] / _COARSE_ENOUGH
    found = []
    for node in graph.nodes:
        reason = ""
        if node.op in _UNQUANTISED:
            reason = "not a convolution"
        elif node.op == "Conv" and node.groups > 1:
            reason = "depthwise"
        elif node.op == "Conv" and _on_pooled(graph, node):
            reason = "on a pooled map"
        elif node.op == "Conv" and spans[node.outputs[0]].shape[2] > finest:
            reason = "on a fine map"
        if reason:
            found.append(Kept(node.name, node.op, "fp16", reason))
    return tuple(found)


def _reasons(graph: Graph, spans: Dict[str, Span]) -> Iterator[Tuple[Node, str]]:
    for node in graph.nodes:
        reach = _reach(node, spans)
        # "not <=" is also true for NaN.
        if not reach * _MARGIN <= _FP16_LARGEST:
            yield node, f"values up to {reach:.0f}"
    for node in _after_the_last_weights(graph, spans):
        yield node, "makes the outputs"
    for node in _with_epsilon(graph):
        yield node, "a number too small for FP16"


def _reach(node: Node, spans: Dict[str, Span]) -> float:
    """The largest value that the operator must hold."""
    seen = [spans[name] for name in node.outputs if name in spans]
    reach = max((span.largest for span in seen), default=0.0)
    if node.op in _MEANS and seen and node.inputs[0] in spans:
        reach *= spans[node.inputs[0]].size / max(1, seen[0].size)
    return reach


def _after_the_last_weights(graph: Graph, spans: Dict[str, Span]) -> Iterator[Node]:
    waiting = [name for name in graph.outputs if name in DETECTOR_OUTPUTS]
    done: Set[str] = set()
    while waiting:
        name = waiting.pop()
        node = graph.producers.get(name)
        # Other tensors are sizes and indices, which precision does not affect.
        if name in done or node is None or name not in spans or node.op in WEIGHTED:
            continue
        done.add(name)
        if node.op != "Constant":
            yield node
        waiting.extend(node.inputs)


def _with_epsilon(graph: Graph) -> Iterator[Node]:
    waiting = [
        node
        for node in graph.nodes
        if node.op in _SUMS
        and any(
            0 < abs(graph.scalars.get(name, 0.0)) < _FP16_SMALLEST_NORMAL for name in node.inputs
        )
    ]
    done: Set[str] = set()
    while waiting:
        node = waiting.pop()
        if node.name not in done:
            done.add(node.name)
            yield node
            waiting.extend(item for item in graph.consumers(node) if item.op in _AFTER_EPSILON)


def _on_pooled(graph: Graph, node: Node) -> bool:
    """A squeeze-and-excitation gate: pooling, then convolutions with activations between."""
    producer = graph.producers.get(node.inputs[0])
    while producer is not None and producer.op not in _MEANS:
        if producer.op not in ("Conv", "Relu", "HardSigmoid", "Sigmoid") or producer.groups > 1:
            return False
        producer = graph.producers.get(producer.inputs[0])
    return producer is not None
