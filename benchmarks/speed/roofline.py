"""Compares the network's speed with the device's limit.

The roofline model (Williams, Waterman, Patterson, CACM 2009): work takes at least its arithmetic
divided by the device's peak, and at least its memory traffic divided by the bandwidth. A large
matrix product and a large copy measure both limits in the same run.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.speed.graph_cost import (
    PROVIDERS,
    Operator,
    detector_inputs,
    open_session,
    profile,
    session_options,
)
from benchmarks.speed.scene import tiles_of
from benchmarks.speed.section import Chart, Section, skipped
from benchmarks.speed.settings import Settings
from benchmarks.speed.stages import PARTS, REST
from benchmarks.speed.timing import interleaved
from refdet_core.backends.onnxruntime import usable_cores
from refdet_core.errors import BackendError

_TITLE = "How far from the limit: the network against the processor's roofline"
_GEMM_SIDE = 512  # a few milliseconds, short enough to run undisturbed
_PRODUCTS = 10  # a round
_COPY_MB = 64  # per thread: beyond any cache


@dataclass(frozen=True)
class Device:
    """The measured limits: floating-point operations and bytes per second."""

    flops: float
    bytes_per_s: float

    def least_ms(self, operator: Operator) -> float:
        """The roofline's bound for one operator."""
        return 1e3 * max(2 * operator.macs / self.flops, operator.moved / self.bytes_per_s)


def measure(settings: Settings) -> Section:
    """For each part of the network: arithmetic, traffic, time, and the minimum possible time."""
    if settings.backend != "onnxruntime":
        return skipped(_TITLE, "the traffic is known for the graph as ONNX Runtime runs it.")
    bundle = settings.bundle
    crop = tiles_of(settings.frame_size, bundle)[0]
    inputs = detector_inputs(bundle, (crop.out_width, crop.out_height), 1)
    session = open_session(bundle.detector_graph, settings.threads)
    threads = settings.threads or usable_cores()
    try:
        product = _matrix_product(threads)
    except BackendError as error:
        return skipped(_TITLE, str(error))
    product_s: list[float] = []

    def multiply() -> None:
        for _ in range(_PRODUCTS):
            started = time.perf_counter()
            product()
            product_s.append(time.perf_counter() - started)

    with ThreadPoolExecutor(threads) as pool:
        timings = interleaved(
            {
                "network": lambda: session.run(None, inputs),
                "products": multiply,
                "copy": _copy(pool, threads),
            },
            settings.rounds,
            settings.budget_s,
        )
    device = Device(
        2 * _GEMM_SIDE**3 / min(product_s),
        2e3 * threads * (_COPY_MB << 20) / timings["copy"].least_ms,
    )
    operators = profile(bundle.detector_graph, inputs, settings.rounds, settings.threads)
    of_part: dict[str, list[Operator]] = {}
    for operator in operators:
        of_part.setdefault(PARTS.get(operator.module, REST), []).append(operator)
    rows = [_row(name, some, device) for name, some in of_part.items()]
    whole = _row("network, sum", operators, device)
    rows.append(whole)
    least_ms, at_once_ms = whole[4], timings["network"].least_ms
    notes = [
        f"The processor, measured: {device.flops / 1e9:.0f} GFLOP/s in a matrix product of side "
        f"{_GEMM_SIDE}, {device.bytes_per_s / 1e9:.1f} GB/s in a copy, {threads} thread(s).",
        f"As a whole the network takes {at_once_ms:.1f} ms at best: {least_ms / at_once_ms:.0%} "
        "of the speed of the roofline. Traffic counts every operator's inputs and outputs once; "
        "what stays in a cache between two operators may beat that bound.",
        "Every time is the least of its rounds.",
    ]
    return Section(
        _TITLE,
        ("part", "GFLOP", "MB moved", "ms", "least ms possible", "share of the limit"),
        rows,
        notes,
        Chart(
            "bars",
            "ms",
            {
                "measured": [(row[0], row[3]) for row in rows],
                "least possible": [(row[0], row[4]) for row in rows],
            },
        ),
        {
            "gflops": device.flops / 1e9,
            "gb_per_s": device.bytes_per_s / 1e9,
            "network_ms": at_once_ms,
            "share_of_limit": least_ms / at_once_ms,
        },
    )


def _row(name: str, operators: Sequence[Operator], device: Device) -> list[Any]:
    ms = sum(item.ms for item in operators)
    least_ms = sum(device.least_ms(item) for item in operators)
    return [
        name,
        2 * sum(item.macs for item in operators) / 1e9,
        sum(item.moved for item in operators) / 1e6,
        ms,
        least_ms,
        least_ms / ms if ms else None,
    ]


def _matrix_product(threads: int) -> Callable[[], object]:
    """A matrix product in the same runtime as the network, so that the same code counts."""
    try:
        import onnx
    except ImportError as error:
        raise BackendError(
            "the package onnx is not installed; 'make setup-test' makes an environment with it."
        ) from error
    import onnxruntime

    side = _GEMM_SIDE
    text = f"""
    <ir_version: 8, opset_import: ["" : 17]>
    product (float[{side},{side}] a, float[{side},{side}] b) => (float[{side},{side}] c)
    {{ c = MatMul(a, b) }}
    """
    graph = onnx.parser.parse_model(text).SerializeToString()
    session = onnxruntime.InferenceSession(graph, session_options(threads), providers=PROVIDERS)
    a = np.random.default_rng(0).random((side, side), np.float32)
    return lambda: session.run(None, {"a": a, "b": a})


def _copy(pool: ThreadPoolExecutor, threads: int) -> Callable[[], object]:
    """Each thread copies its own memory."""
    sources = [np.ones(_COPY_MB << 20, np.uint8) for _ in range(threads)]
    targets = [np.ones_like(source) for source in sources]
    return lambda: list(pool.map(np.copyto, targets, sources))
