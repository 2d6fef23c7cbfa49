"""What one window of a bundle costs: parameters, operations, time."""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks.speed.graph_cost import detector_inputs, parameters, profile, total_ms
from refdet_core.bundle import Bundle


@dataclass(frozen=True)
class Cost:
    """Of the detector graph on one search window, all window sizes that a step looks at.

    Attributes:
        parameters: stored numbers of the graph.
        gflop: two for each multiply-add of convolutions and matrix products.
        ms: least time in ONNX Runtime on the CPU.
    """

    parameters: int
    gflop: float
    ms: float


def window_cost(bundle: Bundle, rounds: int, threads: int) -> Cost:
    """Measure it; the template was encoded before."""
    side, looks = bundle.tracking.window.size, bundle.tracking.scales
    inputs = detector_inputs(bundle, (side, side), templates=1)
    graph = bundle.detector_graph
    macs = sum(item.macs for item in profile(graph, inputs, 1, threads))
    ms = total_ms(graph, inputs, rounds, threads)
    return Cost(parameters(graph), 2 * macs * looks / 1e9, ms * looks)
