"""A detector's diagnostics as an operator reads them."""

from __future__ import annotations

from typing import Any, Dict, List, Tuple

from refdet_ros.console.ros.side import Status

LEVELS = ("ok", "warning", "error", "stale")
_DROPS = {
    "replaced": "a newer frame came first",
    "stale": "too old when they came",
    "undecodable": "could not be decoded",
    "failed": "the search failed",
    "device lost": "the device was lost",
}


def plain_status(status: Status, age_s: float) -> Dict[str, Any]:
    """The state of a detector for the browser."""
    values = status.values
    silent = age_s > 4.0
    message = (
        f"No diagnostics for {age_s:.0f} s. The last said: {_for_operators(status.message)}"
        if silent
        else ""
    )
    return {
        "node": status.node,
        "level": "stale" if silent else LEVELS[min(status.level, 3)],
        "message": message or _for_operators(status.message),
        "state": values.get("state", ""),
        "enabled": values.get("enabled") != "false",
        "search": values.get("search", ""),
        "threshold": _number(values.get("score threshold", "")),
        "rate": _number(values.get("processed rate (Hz)", "")),
        "latency_ms": _number(values.get("latency p95 (ms)", "")),
        "lines": [{"label": label, "text": text} for label, text in _lines(values) if text],
    }


def _for_operators(message: str) -> str:
    """The node's message, with advice for the page instead of the terminal."""
    if message.startswith("no template"):
        return "no target yet: draw a box around it"
    return message


def _lines(values: Dict[str, str]) -> List[Tuple[str, str]]:
    camera, topic = values.get("input rate (Hz)", ""), values.get("input topic", "")
    searched = values.get("processed rate (Hz)", "")
    middle, high = values.get("latency p50 (ms)", ""), values.get("latency p95 (ms)", "")
    network = values.get("network p50 (ms)", "")
    dropped = [
        f"{count} ({_DROPS.get(reason, reason)})"
        for reason, count in (
            (key[len("frames dropped: ") :], value)
            for key, value in values.items()
            if key.startswith("frames dropped: ")
        )
        if count != "0"
    ]
    device = values.get("device", "")
    backend = " ".join(filter(None, (values.get("backend"), values.get("backend version"))))
    return [
        ("Camera", f"{camera} frames a second on {topic}" if camera else topic),
        ("Searched", f"{searched} frames a second" if searched else ""),
        (
            "Camera to result",
            f"{_rounded(middle)} ms, 95 % within {_rounded(high)} ms" if middle else "",
        ),
        ("Of it the network", f"{_rounded(network)} ms" if network else ""),
        (
            "Frames",
            "{} received, {} searched".format(
                values.get("frames received", "0"), values.get("frames processed", "0")
            ),
        ),
        ("Dropped", ", ".join(dropped) or "none"),
        ("Search", values.get("search", "")),
        ("Score threshold", values.get("score threshold", "")),
        ("Model", values.get("model", "")),
        ("Runs on", ", ".join(filter(None, (backend, device, values.get("precision", ""))))),
        ("State", values.get("state", "")),
        ("Last error", values.get("last error", "none")),
    ]


def _number(text: str) -> Any:
    try:
        return float(text)
    except ValueError:
        return None


def _rounded(text: str) -> str:
    value = _number(text)
    return text if value is None else f"{value:.0f}"
