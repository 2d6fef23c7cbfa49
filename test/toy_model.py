"""A toy model whose answer is known, for every test that is not about accuracy.

It finds squares of the template's mean colour, so a test can tell which template a result was
made with. A square must be at least 32 px large in the network's input; its box is exact up to
64 px there.
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
    """Make folder a model bundle that finds squares by colour; every score is exp(-20 d^2).

    d is the distance of the mean colour of 32x32 px. The box encloses all pixels of the colour
    within 48 px of the cell's centre; where there is none it is those 32x32 px.
    """
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
     float alike = {0.05}, float stride = {8}, float left = {-20}, float right = {12},
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
      x1cell = Add(x, left)
      y1cell = Add(y, left)
      x2cell = Add(x, right)
      y2cell = Add(y, right)

      pixels = Mul(frame, scale)
      pixel = Unsqueeze(pixels, second)
      pixeldifference = Sub(pixel, wanted)
      pixelsquared = Mul(pixeldifference, pixeldifference)
      pixeldistance = ReduceSum <keepdims = 0>(pixelsquared, third)
      same = Less(pixeldistance, alike)
      mask = Cast <to = 1>(same)
      nopixel = Mul(pixeldistance, zero)
      everypixel = Add(nopixel, one)
      pixelx = CumSum(everypixel, columns)
      pixely = CumSum(everypixel, rows)
      fromright = CumSum <reverse = 1>(everypixel, columns)
      frombottom = CumSum <reverse = 1>(everypixel, rows)
      width = ReduceMax <axes = [2, 3], keepdims = 1>(pixelx)
      height = ReduceMax <axes = [2, 3], keepdims = 1>(pixely)
      mx2 = Mul(mask, pixelx)
      my2 = Mul(mask, pixely)
      mx1 = Mul(mask, fromright)
      my1 = Mul(mask, frombottom)
      tallx2 = MaxPool <kernel_shape = [96, 1], strides = [8, 1], pads = [44, 0, 44, 0]>(mx2)
      tally2 = MaxPool <kernel_shape = [96, 1], strides = [8, 1], pads = [44, 0, 44, 0]>(my2)
      tallx1 = MaxPool <kernel_shape = [96, 1], strides = [8, 1], pads = [44, 0, 44, 0]>(mx1)
      tally1 = MaxPool <kernel_shape = [96, 1], strides = [8, 1], pads = [44, 0, 44, 0]>(my1)
      x2mask = MaxPool <kernel_shape = [1, 96], strides = [1, 8], pads = [0, 44, 0, 44]>(tallx2)
      y2mask = MaxPool <kernel_shape = [1, 96], strides = [1, 8], pads = [0, 44, 0, 44]>(tally2)
      toright = MaxPool <kernel_shape = [1, 96], strides = [1, 8], pads = [0, 44, 0, 44]>(tallx1)
      tobottom = MaxPool <kernel_shape = [1, 96], strides = [1, 8], pads = [0, 44, 0, 44]>(tally1)
      x1mask = Sub(width, toright)
      y1mask = Sub(height, tobottom)

      found = Greater(x2mask, zero)
      x1 = Where(found, x1mask, x1cell)
      y1 = Where(found, y1mask, y1cell)
      x2 = Where(found, x2mask, x2cell)
      y2 = Where(found, y2mask, y2cell)
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
