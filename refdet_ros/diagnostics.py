"""The node's state as one entry of ``/diagnostics``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Dict, List, Optional, Tuple

from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue

from refdet_core.backends.base import BackendInfo
from refdet_core.types import TargetStatus
from refdet_ros.counters import WINDOW_S, Snapshot

OK, WARN, ERROR = DiagnosticStatus.OK, DiagnosticStatus.WARN, DiagnosticStatus.ERROR


@dataclass(frozen=True)
class NodeState:
    """The content of the diagnostics besides the counters.

    Attributes:
        lifecycle: ``unconfigured``, ``inactive``, ``active`` or ``finalized``.
        fault: why the last transition failed, as a sentence; empty when it did not.
        opening: progress of opening the model; empty if it is not being opened.
        device_problem: the problem of a lost device until it works again, else empty.
        input_problem: why no image arrives; empty while images arrive.
        contrast: how pictures of more than 8 bits become 8-bit, and the range in force.
        last_error: the error of the last failed frame or request.
        templates: number of references by template id.
        targets: state of each target; empty if the search does not track or no frames are searched.
    """

    lifecycle: str
    fault: str
    opening: str
    device_problem: str
    enabled: bool
    input_topic: str
    input_problem: str
    search: str
    score_threshold: Optional[float]
    model: str
    backend: Optional[BackendInfo]
    templates: Dict[str, int]
    targets: Dict[str, TargetStatus]
    last_error: str
    contrast: str


def to_diagnostics(name: str, state: NodeState, counts: Snapshot, stamp: Time) -> DiagnosticArray:
    """One status: a sentence for the operator, and all values.

    Args:
        name: the node's fully qualified name.
    """
    level, message = _verdict(state, counts)
    status = DiagnosticStatus(
        level=level,
        name="{}: refdet".format(name.lstrip("/")),
        message=message,
        hardware_id=state.backend.device if state.backend else "",
        values=[KeyValue(key=key, value=value) for key, value in _values(state, counts)],
    )
    array = DiagnosticArray(status=[status])
    array.header.stamp = stamp
    return array


def _verdict(state: NodeState, counts: Snapshot) -> Tuple[bytes, str]:
    """The level, and the most important fact as a sentence."""
    if state.fault:
        return ERROR, state.fault + (f"; now {state.opening}" if state.opening else "")
    if state.opening:
        return WARN, f"{state.lifecycle}, {state.opening}"
    if state.device_problem:
        return ERROR, state.device_problem
    if state.lifecycle != "active":
        return OK, f"{state.lifecycle}, not looking at images"
    recent = counts.recent_drops
    if recent["failed"]:
        return ERROR, "{} frames of the last {:g} s failed: {}".format(
            recent["failed"], WINDOW_S, state.last_error
        )
    problems = [state.input_problem] if state.input_problem else []
    if recent["undecodable"]:
        problems.append(
            "{} frames of the last {:g} s cannot be decoded: {}".format(
                recent["undecodable"], WINDOW_S, state.last_error
            )
        )
    if recent["stale"]:
        problems.append(
            "{} frames of the last {:g} s were older than max_frame_age_s and dropped; compare the "
            "camera's clock with this machine's, and use_sim_time with a bag".format(
                recent["stale"], WINDOW_S
            )
        )
    if problems:
        return WARN, "; ".join(problems)
    if not state.enabled:
        return OK, "paused: enabled is false"
    if not state.templates:
        return OK, "no template: call set_template"
    wanted = []
    for name in state.templates:
        status = state.targets.get(name)
        wanted.append(f"'{name}'" + (f" ({_in_words(status)})" if status else ""))
    return OK, "looking for {} at {:.1f} Hz".format(", ".join(wanted), counts.processed_hz)


def _in_words(status: TargetStatus) -> str:
    """The state and, if there is a track, its id: ``tracking 3``."""
    return status.state + ("" if status.track_id is None else f" {status.track_id}")


def _values(state: NodeState, counts: Snapshot) -> List[Tuple[str, str]]:
    values = [
        ("state", state.lifecycle),
        ("enabled", str(state.enabled).lower()),
        ("input topic", state.input_topic),
        ("input rate (Hz)", f"{counts.input_hz:.1f}"),
        ("processed rate (Hz)", f"{counts.processed_hz:.1f}"),
        ("frames received", str(counts.received)),
        ("frames processed", str(counts.processed)),
    ]
    values += [(f"frames dropped: {reason}", str(count)) for reason, count in counts.drops.items()]
    for name, (median, high) in counts.times_ms.items():
        values.append((f"{name} p50 (ms)", f"{median:.2f}"))
        values.append((f"{name} p95 (ms)", f"{high:.2f}"))
    values += [
        (
            "templates",
            ", ".join("{} ({})".format(*item) for item in state.templates.items()) or "none",
        ),
        *((f"target: {name}", _in_words(status)) for name, status in state.targets.items()),
        ("search", state.search),
        (
            "score threshold",
            "" if state.score_threshold is None else f"{state.score_threshold:g}",
        ),
        ("contrast", state.contrast),
        ("model", state.model),
        ("backend", state.backend.name if state.backend else "not open"),
        ("backend version", state.backend.version if state.backend else ""),
        ("device", state.backend.device if state.backend else ""),
        ("precision", state.backend.precision if state.backend else ""),
        ("last error", state.last_error or "none"),
    ]
    return values
