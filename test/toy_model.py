"""A toy model whose answer is known, for every test that is not about accuracy.

It finds 32x32 px squares of the template's mean colour, so a test can tell which template a
result was made with.
"""

from __future__ import annotations

import numpy as np

SQUARE = 32
COLOURS_BGR = {"red": (0, 0, 255), "green": (0, 255, 0), "blue": (255, 0, 0)}
# Left edges are 4 mod 8: the toy network's cells are centred on such squares.
SQUARES_XY = {"red": (68, 84), "green": (204, 116), "blue": (140, 20)}


def square_frame(*colours, size=(320, 240)):
    """A grey BGR frame with squares of these colours at their places."""
    frame = np.full((size[1], size[0], 3), 114, np.uint8)
    for colour in colours:
        x, y = SQUARES_XY[colour]
        frame[y : y + SQUARE, x : x + SQUARE] = COLOURS_BGR[colour]
    return frame


def write_bundle(folder):
    """Make folder a model bundle that finds squares by colour; every score is exp(-20 d^2)."""
    import onnx
    import yaml

    encoder = """
    <ir_version: 8, opset_import: ["" : 17]>
    encoder (float[N,3,32,32] image) => (float[N,3,1,1] kernel)
    <float scale = {0.00392156862745098}>
    { mean = GlobalAveragePool(image)
      kernel = Mul(mean, scale) }
    """
    detector = """
    <ir_version: 8, opset_import: ["" : 17]>
    detector (float[B,3,H,W] frame, float[V,3,1,1] kernel)
      => (float[B,V,h,w] score, float[B,V,4,h,w] box, float[B,V] presence)
    <float scale = {0.00392156862745098}, float steep = {-20}, float zero = {0}, float one = {1},
     float stride = {8}, float left = {-20}, float right = {12},
     int64[1] first = {0}, int64[1] second = {1}, int64[1] third = {2},
     int64 rows = {2}, int64 columns = {3}>
    {
      pooled = AveragePool
        <kernel_shape = [32, 32], strides = [8, 8], pads = [12, 12, 12, 12]>(frame)
      colour = Mul(pooled, scale)
      seen = Unsqueeze(colour, second)
      wanted = Unsqueeze(kernel, first)
      difference = Sub(seen, wanted)
      squared = Mul(difference, difference)
      distance = ReduceSum <keepdims = 0>(squared, third)
      exponent = Mul(distance, steep)
      score = Exp(exponent)
      presence = ReduceMax <axes = [2, 3], keepdims = 0>(score)
      nothing = Mul(score, zero)
      ones = Add(nothing, one)
      column = CumSum(ones, columns)
      row = CumSum(ones, rows)
      x = Mul(column, stride)
      y = Mul(row, stride)
      x1 = Add(x, left)
      y1 = Add(y, left)
      x2 = Add(x, right)
      y2 = Add(y, right)
      x1u = Unsqueeze(x1, third)
      y1u = Unsqueeze(y1, third)
      x2u = Unsqueeze(x2, third)
      y2u = Unsqueeze(y2, third)
      box = Concat <axis = 2>(x1u, y1u, x2u, y2u)
    }
    """
    for name, text in (("template_encoder", encoder), ("detector", detector)):
        model = onnx.parser.parse_model(text)
        onnx.checker.check_model(model)
        onnx.save(model, folder / (name + ".onnx"))
    description = {
        "format": 1,
        "name": "colours",
        "version": "test",
        "frame_size": [320, 240],
        "frame_multiple": 8,
        "stride": 8.0,
        "template_size": 32,
        "template_context": 0.0,
        "kernel_names": ["kernel"],
        "kernel_shape": [3, 1, 1],
        "calibration": {},
        "score_threshold": 0.5,
    }
    (folder / "bundle.yaml").write_text(yaml.safe_dump(description))
