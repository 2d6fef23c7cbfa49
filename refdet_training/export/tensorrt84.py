"""What the ONNX parser of TensorRT 8.4 (JetPack 5) takes, as tables.

Source: ``docs/operators.md`` and the importers of the branch 8.4-GA of
https://github.com/onnx/onnx-tensorrt. Where the two differ, a comment says so and the importers,
which decide in the end, are followed. TensorRT has no 64-bit types: its parser turns int64 into
int32 and double into float, so an operator that takes int32 is listed with int32 alone.
"""

from __future__ import annotations

from onnx import TensorProto

MAX_OPSET = 17
MAX_RANK = 8
"""``nvinfer1::Dims::MAX_DIMS``."""

FLOAT, HALF = TensorProto.FLOAT, TensorProto.FLOAT16
INT8, INT32, BOOL = TensorProto.INT8, TensorProto.INT32, TensorProto.BOOL

IO_TYPES = frozenset({FLOAT, HALF, INT32})
"""Of graph inputs and outputs. INT8 would need a dynamic range, which an ONNX file cannot carry;
int64 and double would silently change width in the engine's bindings."""

TENSOR_TYPES = frozenset({FLOAT, HALF, INT8, INT32, BOOL, TensorProto.INT64})
"""Of tensors inside a graph; int64 for shapes and indices, which then fit 32 bits."""

_BY_DATA_TYPE: dict[tuple[int, ...], str] = {
    (FLOAT, HALF): """
        Acos Acosh ArgMax ArgMin Asin Asinh Atan Atanh BatchNormalization Ceil Celu Cos Cosh CumSum
        Dropout Einsum Erf Exp Floor GRU ImageScaler InstanceNormalization LRN LSTM Log LogSoftmax
        LpNormalization MatMul NonMaxSuppression Pow QuantizeLinear RNN RandomUniform
        RandomUniformLike Reciprocal ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax
        ReduceMean ReduceMin ReduceProd ReduceSum ReduceSumSquare Resize ReverseSequence Sin Sinh
        Softmax Sqrt Tan TopK Upsample""",
    (FLOAT, HALF, INT8): """
        Conv ConvTranspose Elu Gemm GlobalAveragePool GlobalLpPool GlobalMaxPool
        HardSigmoid LeakyRelu LpPool MaxPool PRelu ParametricSoftplus Relu Round ScaledTanh Selu
        Sigmoid Softplus Softsign Tanh ThresholdedRelu""",
    # The documents leave int32 out for Clip, whose importer has a way for it, and bool in for
    # Where, whose importer refuses it.
    (FLOAT, HALF, INT32): """
        Abs Add DepthToSpace Div Equal Greater GreaterOrEqual IsNaN Less LessOrEqual Max Mean Min
        Mul Neg Shrink SpaceToDepth Sub Sum Where""",
    # The documents also name FP16 for Range; its importer refuses it.
    (FLOAT, INT32): "Range",
    (INT8,): "DequantizeLinear",
    (FLOAT, HALF, INT8, INT32): """
        AveragePool Clip Gather GatherElements GatherND Pad Scatter ScatterElements ScatterND
        Sign""",
    # The documents name FP32 alone for ConstantOfShape; its importer takes the value as it is.
    (FLOAT, HALF, INT32, BOOL): "ConstantOfShape Expand EyeLike Flatten Split Tile",
    (FLOAT, HALF, INT8, INT32, BOOL): """
        Cast Concat Constant Identity Reshape Shape Size Slice Squeeze Transpose Unsqueeze""",
    (BOOL,): "And Not Or Xor",
}

DATA_TYPES: dict[str, frozenset[int]] = {
    op: frozenset(types) for types, names in _BY_DATA_TYPE.items() for op in names.split()
}
"""Operators TensorRT 8.4 takes, with the element types of their data."""

DATA_INPUT = {"Where": 1}
"""Which input is the data, where it is not the first."""
DATA_IS_OUTPUT = frozenset({"Cast", "Constant", "ConstantOfShape", "EyeLike", "RandomUniform"})
"""Operators whose listed types are those of their output."""

CONSTANT_INPUTS: dict[str, dict[int, str]] = {
    "Conv": {1: "weights", 2: "bias"},
    "ConvTranspose": {1: "weights", 2: "bias"},
    "CumSum": {1: "axis"},
    "DequantizeLinear": {2: "zero point"},
    "Dropout": {2: "training mode"},
    "InstanceNormalization": {1: "scale", 2: "bias"},
    "NonMaxSuppression": {2: "box count", 3: "IoU threshold", 4: "score threshold"},
    "QuantizeLinear": {2: "zero point"},
    "ReduceSum": {1: "axes"},
    "Slice": {3: "axes"},
    "Squeeze": {1: "axes"},
    "TopK": {1: "K"},
    "Unsqueeze": {1: "axes"},
}
"""Inputs that must be initializers or Constant nodes. (ConvTranspose's importer would take run-time
weights; its document and the builder do not.)"""

SHAPE_INPUTS: dict[str, tuple[int, ...]] = {
    "ConstantOfShape": (0,),
    "Expand": (1,),
    "Pad": (1,),
    "Range": (0, 1, 2),
    "Reshape": (1,),
    "Resize": (2, 3),
    "Slice": (1, 2, 4),
    "Split": (1,),
    "Tile": (1,),
    "Upsample": (1,),
}
"""Inputs that decide an output's size, so they may follow from other sizes (Shape, Size) and
constants, never from what is in a tensor."""

RESIZE_MODES = ("nearest", "linear")
RESIZE_COORDINATES = (
    "half_pixel",
    "pytorch_half_pixel",
    "tf_half_pixel_for_nn",
    "asymmetric",
    "align_corners",
)
RESIZE_NEAREST = ("floor", "ceil", "round_prefer_floor", "round_prefer_ceil")

CONTROL_FLOW = frozenset({"If", "Loop", "Scan"})
"""Taken by the parser only with branches of broadcastable shapes, or fixed shapes from one turn to
the next, which a file does not show; in an exported network they are left-overs of Python code."""

REFUSED: dict[str, tuple[str, str]] = {
    "HardSwish": (
        "the operator list of TensorRT 8.4 names it twice, once as not supported, and 8.2 lacks it",
        "export with opset 13, where it becomes HardSigmoid and Mul",
    ),
    "GridSample": (
        "TensorRT 8.4 has no such operator (8.5 was the first)",
        "sample with Resize or with shifted slices",
    ),
    "LayerNormalization": (
        "TensorRT 8.4 has no such operator",
        "export with opset 16 or lower, where it becomes means, products and sums",
    ),
    "Mod": ("TensorRT 8.4 has no such operator", "compute a - floor(a / b) * b on floats"),
    "NonZero": (
        "TensorRT 8.4 has no operator whose output size depends on values",
        "keep the dense map in the graph and select outside it",
    ),
    "OneHot": ("TensorRT 8.4 has no such operator", "compare with a Range instead (Equal, Cast)"),
    "RoiAlign": ("TensorRT 8.4 has no such operator", "crop outside the graph"),
    "Trilu": ("TensorRT 8.4 has no such operator", "store the mask as a constant"),
}
"""Operators people meet, and the way out."""
