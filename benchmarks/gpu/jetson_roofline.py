"""Step "roofline": what frame rate the Jetsons' data sheets allow. Runs without a GPU.

The roofline model (Williams, Waterman, Patterson, CACM 2009), operator by operator: work takes at
least its arithmetic divided by the peak of the units that can do it, and at least its memory
traffic divided by the bandwidth.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.gpu.looks import crops_of
from benchmarks.gpu.settings import FRAME_SIZE, Settings
from benchmarks.speed.graph_cost import Operator, detector_inputs, profile
from benchmarks.speed.scene import textured_frame, tiles_of
from benchmarks.speed.section import Section
from refdet_core.bundle import TRACK, Bundle

_LAYOUT_CHANGES = ("ReorderInput", "ReorderOutput")  # of ONNX Runtime's CPU kernels alone
_BYTES = {"fp32": 4, "fp16": 2, "int8": 1}


@dataclass(frozen=True)
class Board:
    """A Jetson at its highest power mode, from NVIDIA's data sheets.

    Attributes:
        tensor_tflops: of dense FP16 matrix products on the tensor cores; INT8 is twice as fast.
        cuda_tflops: of FP32 on the CUDA cores, cores x 2 x clock; FP16 is twice as fast.
        gb_per_s: memory bandwidth.
        origin: the numbers behind it.
    """

    name: str
    tensor_tflops: float
    cuda_tflops: float
    gb_per_s: float
    origin: str

    def peak(self, precision: str, on_tensor_cores: bool) -> float:
        """FLOP/s."""
        if precision == "fp32":
            return 1e12 * self.cuda_tflops  # Volta has no TF32, and refdet switches it off
        if on_tensor_cores:
            return 1e12 * self.tensor_tflops * (2 if precision == "int8" else 1)
        return 2e12 * self.cuda_tflops


BOARDS = (
    Board(
        "Xavier NX", 6.8, 0.84, 59.7,
        "384 CUDA and 48 tensor cores (64 FMA each) at 1.1 GHz, LPDDR4x 128 bit; the 21 TOPS of "
        "the data sheet count two DLAs, which are left out",
    ),
    Board(
        "Orin Nano 8GB", 10.0, 1.28, 68.0,
        "1024 CUDA and 32 tensor cores at 625 MHz, LPDDR5 128 bit; 40 sparse INT8 TOPS are 20 "
        "dense",
    ),
    Board(
        "AGX Orin 64GB", 42.5, 5.3, 204.8,
        "2048 CUDA and 64 tensor cores at 1.3 GHz, LPDDR5 256 bit; 170 sparse INT8 TOPS of the GPU "
        "are 85 dense",
    ),
)  # fmt: skip


def measure(settings: Settings) -> list[Section]:
    """The limit of every board for every bundle, searching a frame or one window."""
    rows: list[list[Any]] = []
    costs: list[list[Any]] = []
    for bundle in settings.loaded():
        crops, what = _work(bundle)
        size = (crops[0].out_width, crops[0].out_height)
        operators = operators_of(bundle, size)
        looks = len(crops)
        macs, moved = (
            sum(getattr(item, name) for item, _ in operators) for name in ("macs", "moved")
        )
        costs.append(
            [
                *(bundle.name, what, looks, f"{size[0]}x{size[1]}"),
                *(2 * looks * macs / 1e9, looks * moved / 1e6, len(operators)),
            ]
        )
        for board in BOARDS:
            limits = [1e3 / (looks * least_ms(operators, board, name)) for name in _BYTES]
            bound = _share_bound_by_memory(operators, board, "fp16")
            rows.append([bundle.name, what, board.name, *limits, limits[1] / 2, f"{bound:.0%}"])
    notes = [
        "These are limits from data sheets, not measurements: no program reaches them. Half the "
        "limit is shown as a rough guide. INT8 is counted as if every tensor were INT8; refdet's "
        "engines keep fine maps and depthwise convolutions in FP16 and lie between the two.",
        "Counted in the graph as ONNX Runtime fuses it; every operator reads its inputs and writes "
        "its outputs once, in the precision's size. Dense convolutions and matrix products run on "
        "the tensor cores, depthwise convolutions on the CUDA cores, all else is memory traffic. "
        "Launches cost nothing (CUDA graphs). Cutting crops, copies and decoding are left out.",
        *(f"{board.name}: {board.origin}." for board in BOARDS),
    ]
    width, height = FRAME_SIZE
    return [
        Section(
            f"What the detector graph costs, one template, frame {width}x{height}",
            ("bundle", "work", "looks", "input", "GFLOP", "MB moved in fp32", "operators"),
            costs,
        ),
        Section(
            f"Roofline: frames per second at most, {width}x{height} searched at native size",
            (
                *("bundle", "work", "board", *(f"{name} limit" for name in _BYTES)),
                *("fp16, half the limit", "time bound by memory, fp16"),
            ),
            rows,
            notes,
        ),
    ]


def operators_of(bundle: Bundle, size: tuple[int, int]) -> list[tuple[Operator, bool]]:
    """Every operator of the detector graph, and whether tensor cores can do it."""
    import onnx

    nodes = onnx.load(str(bundle.detector_graph)).graph.node
    grouped = {
        output.split(":")[0]
        for node in nodes
        if node.op_type == "Conv" and any(a.name == "group" and a.i > 1 for a in node.attribute)
        for output in (node.name, *node.output)
        if output
    }
    operators = profile(bundle.detector_graph, detector_inputs(bundle, size, 1), 1, 1)
    return [
        (item, item.macs > 0 and not any(item.name.startswith(name) for name in grouped))
        for item in operators
        if item.op not in _LAYOUT_CHANGES
    ]


def least_ms(operators: Sequence[tuple[Operator, bool]], board: Board, precision: str) -> float:
    """The bound for one run."""
    return sum(max(*_both_ms(item, tensor, board, precision)) for item, tensor in operators)


def _both_ms(
    operator: Operator, on_tensor_cores: bool, board: Board, precision: str
) -> tuple[float, float]:
    """Milliseconds of the arithmetic and of the traffic."""
    moved = operator.moved * _BYTES[precision] / 4
    arithmetic = 2 * operator.macs / board.peak(precision, on_tensor_cores)
    return 1e3 * arithmetic, 1e3 * moved / (1e9 * board.gb_per_s)


def _share_bound_by_memory(
    operators: Sequence[tuple[Operator, bool]], board: Board, precision: str
) -> float:
    times = [_both_ms(item, tensor, board, precision) for item, tensor in operators]
    return sum(moved for math, moved in times if moved > math) / sum(map(max, times))


def _work(bundle: Bundle) -> tuple[list[Any], str]:
    if bundle.purposes == (TRACK,):
        looks = crops_of(textured_frame(FRAME_SIZE), bundle)["window"] * bundle.tracking.scales
        return looks, "one window"
    return tiles_of(FRAME_SIZE, bundle), "whole frame"
