"""The time of the detector graph, operator by operator.

    python -m benchmarks.speed.graph_cost [--bundle DIR] [--size 1280x720]
        [--templates 1] [--rounds 20]

The graph runs in ONNX Runtime with its profiler. Each operator's time is the minimum of all rounds
(a busy machine only adds time); the total is the minimum of whole runs without the profiler. Names
and operators are those of the optimised graph, in which neighbours are fused.
"""

from __future__ import annotations

import argparse
import json
import math
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict

import numpy as np
import onnxruntime

from refdet_core.backends.onnxruntime import usable_cores
from refdet_core.bundle import Bundle, load_bundle

Inputs = Dict[str, np.ndarray]
PROVIDERS = ["CPUExecutionProvider"]


_TYPE_BYTES = {"float": 4, "double": 8, "float16": 2, "int64": 8, "int32": 4}  # others: 1
_MOVES_NOTHING = ("Reshape", "Unsqueeze", "Squeeze", "Flatten", "Identity", "Shape")


@dataclass(frozen=True)
class Operator:
    """One node of the optimised graph.

    Attributes:
        module: its part of the network; a node without a name, inserted by the runtime, belongs to
            the part that ran before it.
        ms: its minimum time.
        macs: multiply-adds.
        moved: bytes that it reads and writes.
        output: shape of its output.
    """

    name: str
    op: str
    module: str
    ms: float
    macs: int
    moved: int
    output: str


def detector_inputs(bundle: Bundle, size: tuple[int, int], templates: int) -> Inputs:
    """Random input of ``(width, height)``, rounded up to a size that the graph takes."""
    rng = np.random.default_rng(0)
    width, height = (bundle.frame_side(side) for side in size)
    inputs = {"frame": rng.uniform(0, 255, (1, 3, height, width)).astype(np.float32)}
    for name in bundle.kernel_names:
        kernel = rng.normal(size=(templates, *bundle.kernel_shape))
        inputs[name] = kernel.astype(np.float32)
    return inputs


def total_ms(graph: Path, inputs: Inputs, rounds: int, threads: int) -> float:
    """Minimum milliseconds of a run."""
    session = open_session(graph, threads)
    times = []
    for _ in range(rounds + 1):  # the first run allocates memory and is never the fastest
        started = time.perf_counter()
        session.run(None, inputs)
        times.append((time.perf_counter() - started) * 1e3)
    return min(times)


def profile(graph: Path, inputs: Inputs, rounds: int, threads: int) -> list[Operator]:
    """Every operator with its minimum time, in the order of execution."""
    with tempfile.TemporaryDirectory() as folder:
        options = session_options(threads)
        options.enable_profiling = True
        options.profile_file_prefix = str(Path(folder) / "profile")
        session = onnxruntime.InferenceSession(str(graph), options, providers=PROVIDERS)
        for _ in range(rounds + 1):
            session.run(None, inputs)
        events = json.loads(Path(session.end_profiling()).read_text(encoding="utf-8"))
    least: dict[str, Operator] = {}
    module = ""
    for event in events:
        if event.get("cat") != "Node" or not event["name"].endswith("_kernel_time"):
            continue
        if event["name"].startswith("/"):
            module = event["name"].split("/")[1]
        operator = _operator(event, module or "graph")
        known = least.get(operator.name)
        if known is None or operator.ms < known.ms:
            least[operator.name] = operator
    return list(least.values())


def parameters(graph: Path) -> int:
    """Stored floating-point numbers of a graph."""
    import onnx

    stored = onnx.load(str(graph)).graph.initializer
    floats = (onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16)
    return sum(math.prod(item.dims) for item in stored if item.data_type in floats)


def session_options(threads: int, spinning: bool = False) -> Any:
    """The options of the onnxruntime backend; 0 threads: one for each core."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads or usable_cores()
    options.add_session_config_entry("session.intra_op.allow_spinning", str(int(spinning)))
    options.log_severity_level = 3
    return options


def open_session(graph: Path, threads: int) -> Any:
    """The bare graph in ONNX Runtime on the CPU."""
    return onnxruntime.InferenceSession(str(graph), session_options(threads), providers=PROVIDERS)


def _operator(event: dict[str, Any], module: str) -> Operator:
    given = event["args"]
    op = given["op_name"]
    inputs, outputs = _shapes(given["input_type_shape"]), _shapes(given["output_type_shape"])
    name = event["name"][: -len("_kernel_time")]
    output = "x".join(str(side) for side in outputs[0]) if outputs else ""
    moved = 0
    if op not in _MOVES_NOTHING:
        moved = _bytes(given["input_type_shape"]) + _bytes(given["output_type_shape"])
    macs = _macs(op, inputs, outputs)
    return Operator(name, op, module, event["dur"] / 1e3, macs, moved, output)


def _shapes(entries: list[dict[str, list[int]]]) -> list[list[int]]:
    return [shape for entry in entries for shape in entry.values()]


def _bytes(entries: list[dict[str, list[int]]]) -> int:
    return sum(
        _TYPE_BYTES.get(kind, 1) * math.prod(shape)
        for entry in entries
        for kind, shape in entry.items()
    )


def _macs(op: str, inputs: list[list[int]], outputs: list[list[int]]) -> int:
    """Multiply-adds of convolutions and matrix products; other operators count 0."""
    if "Conv" in op:
        return math.prod(outputs[0]) * math.prod(inputs[1][1:])
    if "MatMul" in op or "Gemm" in op:
        return math.prod(outputs[0]) * inputs[0][-1]
    return 0


def _print_table(operators: list[Operator], top: int) -> None:
    whole = sum(item.ms for item in operators)
    print(f"\n{'ms':>8} {'share':>6} {'MMACs':>8}  {'operator':16} {'output':18} name")
    for item in sorted(operators, key=lambda item: -item.ms)[:top]:
        print(
            f"{item.ms:8.3f} {item.ms / whole:6.1%} {item.macs / 1e6:8.1f}  "
            f"{item.op:16} {item.output:18} {item.name}"
        )
    print(f"\n{'ms':>8} {'share':>6} {'count':>8}  kind")
    kinds = {item.op for item in operators}
    rows = {kind: [item.ms for item in operators if item.op == kind] for kind in kinds}
    for kind, times in sorted(rows.items(), key=lambda row: -sum(row[1]))[:top]:
        print(f"{sum(times):8.3f} {sum(times) / whole:6.1%} {len(times):8}  {kind}")


def _size(text: str) -> tuple[int, int]:
    width, height = text.lower().split("x")
    return int(width), int(height)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Where the detector graph's time goes.")
    parser.add_argument("--bundle", type=Path)
    parser.add_argument("--size", type=_size, default=(1280, 720), metavar="WIDTHxHEIGHT")
    parser.add_argument("--templates", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--top", type=int, default=20, help="rows of each table")
    options = parser.parse_args()
    bundle = load_bundle(options.bundle)
    inputs = detector_inputs(bundle, options.size, options.templates)
    graph = bundle.detector_graph
    whole = total_ms(graph, inputs, options.rounds, options.threads)
    operators = profile(graph, inputs, options.rounds, options.threads)
    height, width = inputs["frame"].shape[2:]
    print(
        f"{bundle.name} {bundle.version}, {width}x{height}, {options.templates} template(s), "
        f"onnxruntime {onnxruntime.__version__}, {options.threads} thread(s)\n"
        f"total {whole:.1f} ms, operators {sum(item.ms for item in operators):.1f} ms, "
        f"{sum(item.macs for item in operators) / 1e9:.2f} GMACs, "
        f"{parameters(graph) / 1e6:.2f} M parameters"
    )
    _print_table(operators, options.top)


if __name__ == "__main__":
    main()
