"""The goals, and whether the measured numbers meet them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from benchmarks.tracking.speed import ALL, Times

PEER, TRACK, AUTO = "TrackerNano", "refdet track", "refdet auto"
TRACKING_STATE = "tracking"
AUC_LEAD = 0.03
LEAST_ST_IOU = 0.45
MOST_FALSE = 0.05
LEAST_FOUND = 0.8
MOST_MS = {TRACK: 12.0, AUTO: 20.0}

Numbers = Mapping[str, Mapping[str, Any]]
Speed = Mapping[str, Mapping[str, Times]]


@dataclass(frozen=True)
class Verdict:
    """One line of the table of goals.

    Attributes:
        measure, goal: in words.
        method, value, peer: the judged method, its value, and the peer's value.
        met: whether the goal is met; None if a needed value was not measured.
    """

    measure: str
    goal: str
    method: str
    value: float | None
    peer: float | None
    met: bool | None

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


def judge(numbers: Numbers) -> list[Verdict]:
    """The goals of a data set, judged by its metrics per method."""
    verdicts = [_success(numbers), _st_iou(numbers)]
    for name in (AUTO, TRACK):
        verdicts.append(_removed(numbers, name))
    verdicts.append(_back(numbers))
    for name in (AUTO, TRACK):
        verdicts.append(_switches(numbers, name))
    return verdicts


def judge_speed(speed: Speed) -> list[Verdict]:
    """The goals for the time per frame; for ``auto`` only tracked frames count.

    The mean is judged, because occasional searches of the whole frame do not change a median.
    """
    found = []
    for name, most in MOST_MS.items():
        state = TRACKING_STATE if name == AUTO else ALL
        what = "auto, steady state" if name == AUTO else "track"
        value = _mean(speed, name, state)
        met = value <= most if value is not None else None
        measure = f"ms a frame at 1280×720, mean: {what}"
        found.append(Verdict(measure, f"≤ {most:g}", name, value, _mean(speed, PEER, ALL), met))
    return found


def _success(numbers: Numbers) -> Verdict:
    value, peer = _values(numbers, "success_auc", TRACK)
    met = None if value is None or peer is None else value >= peer + AUC_LEAD
    goal = f"≥ {PEER} + {AUC_LEAD:g}"
    return Verdict("tracking from the first box: success AUC", goal, TRACK, value, peer, met)


def _st_iou(numbers: Numbers) -> Verdict:
    value, peer = _values(numbers, "st_iou", AUTO)
    met = None if value is None or peer is None else value >= max(LEAST_ST_IOU, peer)
    goal = f"≥ {LEAST_ST_IOU:g} and ≥ {PEER} given the box"
    return Verdict("from photos only, no box: ST-IoU", goal, AUTO, value, peer, met)


def _removed(numbers: Numbers, name: str) -> Verdict:
    value, peer = _values(numbers, "removed_share", name)
    met = value <= MOST_FALSE if value is not None else None
    measure = "target removed: frames with a false detection"
    return Verdict(measure, f"≤ {MOST_FALSE:g}", name, value, peer, met)


def _back(numbers: Numbers) -> Verdict:
    value, peer = _values(numbers, "back_share", AUTO)
    met = value >= LEAST_FOUND if value is not None else None
    measure = "target back after ≥ 2 s: found again within 1 s"
    return Verdict(measure, f"≥ {LEAST_FOUND:g}", AUTO, value, peer, met)


def _switches(numbers: Numbers, name: str) -> Verdict:
    value, peer = _values(numbers, "switches", name)
    met = None if value is None or peer is None else value < peer or value == 0
    measure = "look-alikes in view: identity switches"
    return Verdict(measure, f"< {PEER}, or none", name, value, peer, met)


def _values(numbers: Numbers, key: str, name: str) -> tuple[float | None, float | None]:
    return numbers.get(name, {}).get(key), numbers.get(PEER, {}).get(key)


def _mean(speed: Speed, name: str, state: str) -> float | None:
    times = speed.get(name, {}).get(state)
    return times.mean_ms if times is not None else None
