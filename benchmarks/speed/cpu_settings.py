"""Compares settings of ONNX Runtime on the CPU with the adopted ones."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import onnxruntime

from benchmarks.speed.graph_cost import PROVIDERS, detector_inputs, session_options
from benchmarks.speed.scene import tiles_of
from benchmarks.speed.section import Section
from benchmarks.speed.settings import Settings
from benchmarks.speed.timing import interleaved
from refdet_core.backends.onnxruntime import usable_cores

WINDOW_PX = 192
_LEVELS = onnxruntime.GraphOptimizationLevel


def measure(settings: Settings) -> Section:
    """Each setting changed alone, on a tile and on a search window."""
    bundle = settings.bundle
    crop = tiles_of(settings.frame_size, bundle)[0]
    sizes = {"tile": (crop.out_width, crop.out_height), "window": (WINDOW_PX, WINDOW_PX)}
    inputs = {name: detector_inputs(bundle, size, 1) for name, size in sizes.items()}
    cases: dict[str, Callable[[], object]] = {}
    variants = _variants(settings.threads)
    for name, options in variants.items():
        session = onnxruntime.InferenceSession(
            str(bundle.detector_graph), options, providers=PROVIDERS
        )
        for size, given in inputs.items():
            cases[f"{name}: {size}"] = partial(session.run, None, given)
    adopted = next(iter(variants))
    session = onnxruntime.InferenceSession(
        str(bundle.detector_graph), session_options(settings.threads), providers=PROVIDERS
    )
    bound = "outputs in memory given once"
    for size, given in inputs.items():
        cases[f"{bound}: {size}"] = _with_bound_outputs(session, given)
    timings = interleaved(cases, settings.rounds, settings.budget_s)
    rows: list[list[Any]] = []
    for name in (*variants, bound):
        row: list[Any] = [name]
        for size in sizes:
            timing, base = timings[f"{name}: {size}"], timings[f"{adopted}: {size}"]
            row += [
                timing.median_ms,
                timing.median_ms / base.median_ms,
                timing.cpu_ms / base.cpu_ms,
            ]
        rows.append(row)
    head = [f"{size} {what}" for size in sizes for what in ("ms", "ratio", "ratio of CPU time")]
    return Section(
        f"ONNX Runtime's settings: a {crop.out_width}x{crop.out_height} tile and a "
        f"{WINDOW_PX}x{WINDOW_PX} window",
        ("setting", *head),
        rows,
        (
            "A spinning thread waits by computing nothing at full speed: quicker on an idle "
            "machine, slower wherever another process wants the core.",
        ),
    )


def _variants(threads: int) -> dict[str, Any]:
    """Session options by name, the adopted ones first."""
    count = threads or usable_cores()
    found = {f"adopted: {count} thread(s), no spinning": session_options(threads)}
    for other in (1, 2, 4, 6, 8):
        if other != count and other <= usable_cores():
            found[f"{other} thread(s)"] = session_options(other)
    found["spinning"] = session_options(threads, spinning=True)
    for name, spinning, key, value in (
        ("spinning within a run", True, "session.force_spinning_stop", "1"),
        ("smaller pieces of work", False, "session.dynamic_block_base", "4"),
        ("denormals are zero", False, "session.set_denormal_as_zero", "1"),
    ):
        found[name] = session_options(threads, spinning)
        found[name].add_session_config_entry(key, value)
    for name, attribute, choice in (
        ("optimised less (extended)", "graph_optimization_level", _LEVELS.ORT_ENABLE_EXTENDED),
        ("not optimised", "graph_optimization_level", _LEVELS.ORT_DISABLE_ALL),
        ("operators in parallel", "execution_mode", onnxruntime.ExecutionMode.ORT_PARALLEL),
        ("without memory arena", "enable_cpu_mem_arena", False),
        ("without memory pattern", "enable_mem_pattern", False),
    ):
        found[name] = session_options(threads)
        setattr(found[name], attribute, choice)
    return found


def _with_bound_outputs(session: Any, inputs: dict[str, Any]) -> Callable[[], object]:
    """Runs that reuse their output memory."""
    names = [output.name for output in session.get_outputs()]
    memory = [
        onnxruntime.OrtValue.ortvalue_from_numpy(array) for array in session.run(names, inputs)
    ]
    binding = session.io_binding()
    for name, array in inputs.items():
        binding.bind_cpu_input(name, array)
    for name, value in zip(names, memory):
        binding.bind_ortvalue_output(name, value)
    return partial(session.run_with_iobinding, binding)
