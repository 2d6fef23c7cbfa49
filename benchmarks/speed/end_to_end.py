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
from refdet_core.detector import Detector
from refdet_core.detector_config import DetectorConfig
from refdet_core.errors import BackendError

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
        detector = Detector.open(
            settings.bundle_folder, settings.backend, config, settings.backend_config
        )
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
    """One run of the graph on the input that the detector gives it for this frame."""
    seen: list[tuple[np.ndarray, Any]] = []
    backend, infer = detector.backend, detector.backend.infer

    def watched(frames: np.ndarray, features: Any) -> Any:
        seen.append((frames, features))
        return infer(frames, features)

    backend.infer = watched  # type: ignore[method-assign]
    detector.detect(frame_bgr)
    backend.infer = infer  # type: ignore[method-assign]
    frames, features = seen[-1]
    if backend.info.name != "onnxruntime":
        return lambda: infer(frames, features)
    bundle = detector.bundle
    session = open_session(bundle.detector_graph, settings.threads)
    inputs = dict(zip(bundle.kernel_names, features), frame=frames)
    return lambda: session.run(None, inputs)
