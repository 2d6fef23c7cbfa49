"""The two graphs of a bundle from a published tracker's backbone and head."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.parser
from onnx import helper

from refdet_training.published import surgery
from refdet_training.published.trackers import STRIDE, PublishedTracker

_IR_VERSION = 8

# Every crop with every view: (B, C, h, w) and (V, C, kh, kw) become B * V pairs.
_PAIRS = """
pairs (float[B, C, h, w] feature, float[V, C, kh, kw] kernel)
  => (float[N, C, h, w] search, float[N, C, kh, kw] template)
<int64[1] first = {0}, int64[1] second = {1}, int64[1] last = {4}, int64[1] all = {-1}>
{
  feature_shape = Shape(feature)
  kernel_shape = Shape(kernel)
  crops = Slice(feature_shape, first, second, first)
  views = Slice(kernel_shape, first, second, first)
  feature_rest = Slice(feature_shape, second, last, first)
  kernel_rest = Slice(kernel_shape, second, last, first)
  feature_of_pairs = Concat <axis = 0> (crops, views, feature_rest)
  kernel_of_pairs = Concat <axis = 0> (crops, views, kernel_rest)
  feature_in_a_row = Concat <axis = 0> (all, feature_rest)
  kernel_in_a_row = Concat <axis = 0> (all, kernel_rest)
  feature_apart = Unsqueeze(feature, second)
  kernel_apart = Unsqueeze(kernel, first)
  feature_repeated = Expand(feature_apart, feature_of_pairs)
  kernel_repeated = Expand(kernel_apart, kernel_of_pairs)
  search = Reshape(feature_repeated, feature_in_a_row)
  template = Reshape(kernel_repeated, kernel_in_a_row)
}
"""

# Logits and distances of all pairs to the detector's outputs.
_DECODE = """
decode (float[N, one, h, w] logit, float[N, four, h, w] distance,
        float[B, C, hf, wf] feature, float[V, C, kh, kw] kernel)
  => (float[B, V, h, w] score, float[B, V, 4, h, w] box, float[B, V] presence)
<int64[1] first = {0}, int64[1] second = {1}, int64[1] third = {2}, int64[1] last = {4},
 int64[1] sides = {4}, int64[2] column = {-1, 1}, int64 rows_at = {2}, int64 columns_at = {3},
 float zero = {0}, float next = {1}, float stride = {16}, float start = {0}>
{
  feature_shape = Shape(feature)
  kernel_shape = Shape(kernel)
  map_shape = Shape(logit)
  crops = Slice(feature_shape, first, second, first)
  views = Slice(kernel_shape, first, second, first)
  cells = Slice(map_shape, third, last, first)
  score_shape = Concat <axis = 0> (crops, views, cells)
  box_shape = Concat <axis = 0> (crops, views, sides, cells)
  probability = Sigmoid(logit)
  score = Reshape(probability, score_shape)
  presence = ReduceMax <axes = [2, 3], keepdims = 0> (score)

  row_count = Gather(map_shape, rows_at)
  column_count = Gather(map_shape, columns_at)
  row_end = Cast <to = 1> (row_count)
  column_end = Cast <to = 1> (column_count)
  row_index = Range(zero, row_end, next)
  column_index = Range(zero, column_end, next)
  row_scaled = Mul(row_index, stride)
  column_scaled = Mul(column_index, stride)
  row_point = Add(row_scaled, start)
  x = Add(column_scaled, start)
  y = Reshape(row_point, column)

  distances = Reshape(distance, box_shape)
  left, top, right, bottom = Split <axis = 2> (distances)
  x1 = Sub(x, left)
  y1 = Sub(y, top)
  x2 = Add(x, right)
  y2 = Add(y, bottom)
  box = Concat <axis = 2> (x1, y1, x2, y2)
}
"""


def template_encoder(tracker: PublishedTracker, weights: Path) -> Any:
    """``image`` (N, 3, Ht, Wt) RGB 0-255 to ``kernel`` (N, C, kh, kw), an ``onnx.ModelProto``."""
    return _finished(_encoder(tracker, weights, "image", "kernel"), "template_encoder")


def detector(tracker: PublishedTracker, weights: Path) -> Any:
    """``frame`` (B, 3, H, W) and ``kernel`` (V, C, kh, kw) to ``score``, ``box``, ``presence``."""
    head = surgery.load_graph(weights / tracker.head)
    surgery.object_logit(head, tracker.score)
    surgery.depthwise_without_runtime_weights(head)
    surgery.any_crop_size(head, tracker.search)
    decode = onnx.parser.parse_graph(_DECODE)
    surgery.set_weight(decode, "stride", np.array(STRIDE, np.float32))
    surgery.set_weight(decode, "start", np.array(tracker.first_point, np.float32))
    parts = [
        _encoder(tracker, weights, "frame", "feature"),
        _named(onnx.parser.parse_graph(_PAIRS), "pairs", ("feature", "kernel")),
        _named(
            head,
            "head",
            renamed={
                tracker.search: "pairs.search",
                tracker.template: "pairs.template",
                tracker.score: "logit",
                tracker.distances: "distance",
            },
        ),
        _named(
            decode,
            "decode",
            ("logit", "distance", "feature", "kernel", "score", "box", "presence"),
        ),
    ]
    channels, height, width = (
        item.dim_value for item in _shape_of(weights / tracker.head, tracker.template)[1:]
    )
    graph = helper.make_graph(
        [node for part in parts for node in part.node],
        "detector",
        [
            surgery.float_input("frame", "B", 3, "H", "W"),
            surgery.float_input("kernel", "V", channels, height, width),
        ],
        [
            surgery.float_input("score", "B", "V", "h", "w"),
            surgery.float_input("box", "B", "V", 4, "h", "w"),
            surgery.float_input("presence", "B", "V"),
        ],
        [item for part in parts for item in part.initializer],
    )
    return _finished(graph, "detector")


def _encoder(tracker: PublishedTracker, weights: Path, image: str, feature: str) -> Any:
    """Normalisation and backbone."""
    graph = surgery.load_graph(weights / tracker.backbone)
    given, found = graph.input[0].name, graph.output[0].name
    if tracker.takes_bgr:
        surgery.take_bgr_as_rgb(graph, given)
    prologue = []
    pixels = image
    for name, op, value, neutral in (
        ("shift", "Sub", tracker.shift, 0.0),
        ("scale", "Mul", tracker.scale, 1.0),
    ):
        if np.any(value != neutral):
            surgery.set_weight(graph, f"pixels.{name}", value)
            prologue.append(
                helper.make_node(op, [pixels, f"backbone.pixels.{name}"], [f"{name}.pixels"])
            )
            pixels = f"{name}.pixels"
    named = _named(graph, "backbone", renamed={given: pixels, found: feature})
    surgery._put_first(named, prologue)
    del named.input[:], named.output[:]
    named.input.append(surgery.float_input(image, "N", 3, "H", "W"))
    named.output.append(surgery.float_input(feature, "N", "C", "h", "w"))
    return named


def _named(
    graph: Any, prefix: str, kept: tuple[str, ...] = (), renamed: dict[str, str] | None = None
) -> Any:
    """The graph with all names under a prefix, but for those that it shares with other parts."""
    shared = {**{name: name for name in kept}, **(renamed or {})}

    def name_of(name: str) -> str:
        return shared.get(name, f"{prefix}.{name}") if name else ""

    for node in graph.node:
        node.input[:] = [name_of(name) for name in node.input]
        node.output[:] = [name_of(name) for name in node.output]
        node.name = f"{prefix}.{node.name}" if node.name else ""
    for item in graph.initializer:
        item.name = name_of(item.name)
    return graph


def _shape_of(path: Path, name: str) -> Any:
    graph = onnx.load(str(path)).graph
    value = next(item for item in graph.input if item.name == name)
    return value.type.tensor_type.shape.dim


def _finished(graph: Any, name: str) -> Any:
    """A checked model."""
    graph.name = name
    model = helper.make_model(
        graph,
        opset_imports=[helper.make_opsetid("", surgery.OPSET)],
        ir_version=_IR_VERSION,
        producer_name="refdet",
    )
    onnx.checker.check_model(model, full_check=True)
    return model
