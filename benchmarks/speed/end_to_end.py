"""Detection against the bare network: a frame through the detector, and through the node."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from benchmarks.speed.graph_cost import open_session
from benchmarks.speed.messages import Messages
from benchmarks.speed.scene import TILES, TRACK, follow, set_templates, textured_frame
from benchmarks.speed.section import Chart, Section
from benchmarks.speed.settings import Settings
from benchmarks.speed.timing import interleaved
from refdet_core.backends.base import Backend
from refdet_core.detector import Detector
from refdet_core.detector_config import DetectorConfig
from refdet_core.errors import BackendError
from refdet_core.network import Network

GOAL = 1.3
JUDGED = "whole frame in tiles"
_SEARCHES = {JUDGED: TILES, "one target followed": TRACK}


def measure(settings: Settings) -> Section:
    """Ratios to the bare network with the same input, in one run."""
    rows: list[list[Any]] = []
    notes = []
    try:
        messages: Messages | None = Messages(textured_frame(settings.frame_size))
    except BackendError as error:
        messages = None
        notes.append(f"Without the node's part: {error}")
    for name, config in _SEARCHES.items():
        timings = interleaved(
            _cases(settings, config, messages), settings.rounds, settings.budget_s, warm_up=3
        )
        bare = timings["bare network"]
        rows += [
            [name, case, t.median_ms, t.median_ms / bare.median_ms, t.cpu_ms / bare.cpu_ms]
            for case, t in timings.items()
        ]
    width, height = settings.frame_size
    worst = max(row[3] for row in rows if row[0] == JUDGED)
    verdict = "met" if worst <= GOAL else "missed"
    notes.insert(
        0, f"Goal for the {JUDGED}: {GOAL} times the bare network; {verdict} with {worst:.2f}."
    )
    return Section(
        f"A {width}x{height} frame from end to end against the bare network",
        ("search", "what", "ms", "ratio", "ratio of CPU time"),
        rows,
        notes,
        Chart(
            "bars",
            "time over bare network",
            {name: [(row[1], row[3]) for row in rows if row[0] == name] for name in _SEARCHES},
            goal=GOAL,
        ),
        {"goal": GOAL, "worst": worst, "met": worst <= GOAL},
    )


def _cases(
    settings: Settings, config: DetectorConfig, messages: Messages | None
) -> dict[str, Callable[[], object]]:
    """The timed functions; the detectors live as long as they do."""
    frame_bgr = textured_frame(settings.frame_size)

    def ready() -> Detector:
        detector = settings.open(config)
        (set_templates if config is TILES else follow)(detector, frame_bgr, 1)
        detector.detect(frame_bgr)
        return detector

    detector = ready()
    cases: dict[str, Callable[[], object]] = {
        "bare network": _bare(settings, ready(), frame_bgr),
        "Detector.detect": lambda: detector.detect(frame_bgr),
    }
    if messages is not None:
        for transport in messages.by_transport:
            cases[f"{transport} message in, detections message out"] = partial(
                messages.through, transport, ready()
            )
    return cases


def _bare(settings: Settings, detector: Detector, frame_bgr: np.ndarray) -> Callable[[], object]:
    """One run of each graph that the detector runs for this frame, on the input it gives it."""
    runs = []
    for network in (Network(detector.bundle, detector.backend), *detector.others):
        seen = _inputs(network.backend, detector, frame_bgr)
        if seen is not None:
            runs.append(_bare_run(settings, network, *seen))

    def run_all() -> None:
        for run in runs:
            run()

    return run_all


def _inputs(
    backend: Backend[Any], detector: Detector, frame_bgr: np.ndarray
) -> tuple[np.ndarray, Any] | None:
    """What the detector gives this backend for this frame, at last; None: nothing."""
    seen: list[tuple[np.ndarray, Any]] = []
    infer = backend.infer

    def watched(frames: np.ndarray, features: Any) -> Any:
        seen.append((frames, features))
        return infer(frames, features)

    backend.infer = watched  # type: ignore[method-assign]
    detector.detect(frame_bgr)
    backend.infer = infer  # type: ignore[method-assign]
    return seen[-1] if seen else None


def _bare_run(
    settings: Settings, network: Network, frames: np.ndarray, features: Any
) -> Callable[[], object]:
    if network.backend.info.name != "onnxruntime":
        return lambda: network.backend.infer(frames, features)
    session = open_session(network.bundle.detector_graph, settings.threads)
    inputs = dict(zip(network.bundle.kernel_names, features), frame=frames)
    return lambda: session.run(None, inputs)
