"""The ROS node from the camera's stamp to the published detections: latency, rate, CPU load.

A camera process publishes at 10, 30 and 60 Hz (best effort, with the shared-memory profile of
``config/``), the node runs as its own process, and this process reads /diagnostics and calls the
service. ``overhead`` is the latency less the time inside ``Detector.detect``; where detecting takes
longer than a frame lasts it includes the newest frame's ``wait`` in the slot.
"""

from __future__ import annotations

import importlib
import random
import time
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.speed.node_probe import Camera, Observer
from benchmarks.speed.section import Chart, Section, skipped
from benchmarks.speed.settings import Settings
from refdet_core.errors import RefdetError
from refdet_ros.node_process import NodeProcess, prepare_dds

RATES_HZ = (10.0, 30.0, 60.0)
FLOWS = (("tiles", "raw"), ("tiles", "compressed"), ("auto", "raw"))
GOALS = {"overhead": 8.0, "set_template": 300.0, "gap": 300.0}
_TITLE = "The node: stamp of the frame to published detections"
_HEAD = (
    *("search", "transport", "camera Hz", "processed Hz", "latency p50 ms", "p95 ms"),
    *("wait", "convert", "detect", "publish", "overhead", "without wait, to network"),
    *("replaced", "lost", "CPU of the node, % of a core", "target"),
)
_MODULES = ("rclpy", "refdet_msgs.srv", "vision_msgs.msg", "refdet_ros.node")
_CHANGES = 12  # of the template, while frames flow


@dataclass(frozen=True)
class Swaps:
    """Times of template changes during the flow of frames, milliseconds."""

    median_ms: float
    longest_ms: float
    longest_gap_ms: float


def measure(settings: Settings, rates_hz: tuple[float, ...] = RATES_HZ) -> Section:
    """Measure every search, transport and rate for some seconds of steady flow."""
    try:
        for module in _MODULES:
            importlib.import_module(module)
        prepare_dds(random.randint(1, 100))
    except (ImportError, RefdetError) as error:
        return skipped(_TITLE, f"ROS 2 with refdet_ros and refdet_msgs is needed ({error}).")
    observer = Observer()
    rows: list[list[Any]] = []
    notes: list[str] = []
    numbers: dict[str, Any] = {}
    try:
        for search, transport in FLOWS:
            parameters = {
                "search": search,
                "image_transport": transport,
                "backend": settings.backend,
                "bundle": str(settings.bundle_folder.resolve()) if settings.bundle_folder else "",
            }
            with NodeProcess(parameters, ros_arguments=("--log-level", "warn")) as node:
                observer.wait_until(node, "state", "active")
                rows += [
                    [
                        search,
                        transport,
                        rate_hz,
                        *_flow(observer, node, settings, transport, rate_hz),
                    ]
                    for rate_hz in rates_hz
                ]
                if not numbers:
                    swaps = _swap(observer, node, settings, transport)
                    numbers = {"set_template": swaps.__dict__}
                    notes.append(
                        f"Changing the template while frames flow: {swaps.median_ms:.0f} ms, at "
                        f"most {swaps.longest_ms:.0f} (goal {GOALS['set_template']:.0f}); longest "
                        f"gap between results {swaps.longest_gap_ms:.0f} ms (goal "
                        f"{GOALS['gap']:.0f})."
                    )
    except RefdetError as error:
        notes.append(f"Not measured to the end: {error}")
    finally:
        observer.close()
    notes.append(f"Goal of the overhead without waiting: {GOALS['overhead']:.0f} ms.")
    series = {
        f"{search}, {transport}": [
            (row[2], row[4]) for row in rows if row[:2] == [search, transport]
        ]
        for search, transport in FLOWS
    }
    return Section(
        _TITLE,
        _HEAD,
        rows,
        notes,
        Chart("lines", "latency p50, ms", {k: v for k, v in series.items() if v}, "camera Hz"),
        numbers,
    )


def _flow(
    observer: Observer, node: NodeProcess, settings: Settings, transport: str, rate_hz: float
) -> list[Any]:
    """The columns after the rate."""
    before = observer.fresh_values(node)
    camera = Camera(settings.frame_size, transport, rate_hz)
    try:
        observer.wait_until(node, "frames received", f">{before['frames received']}")
        observer.set_template(settings.frame_size, in_camera=True)
        begin = observer.fresh_values(node)
        cpu_s, started = node.cpu_s(), time.perf_counter()
        time.sleep(settings.node_seconds)
        steady = observer.fresh_values(node)
        elapsed_s = time.perf_counter() - started
        cpu_share = (node.cpu_s() - cpu_s) / elapsed_s
    finally:
        sent = camera.stop()
    after = observer.fresh_values(node)
    p50 = {
        name: float(steady.get(f"{name} p50 (ms)", "nan"))
        for name in ("latency", "wait", "convert", "detect", "network", "publish", "overhead")
    }
    received = _count(after, "frames received") - _count(before, "frames received")
    replaced = "frames dropped: replaced"
    busy_ms = p50["convert"] + p50["detect"] + p50["publish"]
    return [
        (_count(steady, "frames processed") - _count(begin, "frames processed")) / elapsed_s,
        p50["latency"],
        float(steady.get("latency p95 (ms)", "nan")),
        *(p50[name] for name in ("wait", "convert", "detect", "publish", "overhead")),
        busy_ms / p50["network"],
        _count(after, replaced) - _count(before, replaced),
        sent - received,
        100 * cpu_share,
        _state(steady),
    ]


def _swap(observer: Observer, node: NodeProcess, settings: Settings, transport: str) -> Swaps:
    """Set the template several times; frames that pass meanwhile do not count as lost."""
    before = observer.fresh_values(node)
    camera = Camera(settings.frame_size, transport, 30.0)
    try:
        observer.wait_until(node, "frames received", f">{before['frames received']}")
        del observer.arrivals[:]
        answers_ms = []
        for _ in range(_CHANGES):
            answers_ms.append(observer.set_template(settings.frame_size))
            time.sleep(0.3)
        gaps_ms = np.diff(observer.arrivals) * 1e3
    finally:
        camera.stop()
    return Swaps(float(np.median(answers_ms)), max(answers_ms), float(gaps_ms.max(initial=0.0)))


def _state(values: dict[str, str]) -> str | None:
    """The state of the target in a search that tracks."""
    states = [value.split()[0] for key, value in values.items() if key.startswith("target: ")]
    return states[0] if states else None


def _count(values: dict[str, str], name: str) -> int:
    return int(values[name])
