"""The metrics of many runs: by sequence, by data set, and over everything."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from statistics import median
from typing import Any

from benchmarks.tracking.measures import Return, absence, found_again, switches, time_to_failure
from benchmarks.tracking.runs import Run
from benchmarks.tracking.sequences import BACK, REMOVED, TRACKING, ScenarioSettings
from refdet_training.evaluation import tracking_numbers

POOLED = "all"
LOOK_ALIKES = ("group3", "car16")
"""Videos in which others look like the object."""

_TRACKING_KEYS = (
    *("sequences", "frames", "success_auc", "precision_20px", "st_iou", "ao", "presence_f1"),
)


def run_row(run: Run, settings: ScenarioSettings) -> dict[str, Any]:
    """One run as plain data: names, then the numbers of its scenario."""
    footage, sequence = run.sequence.footage, run.sequence
    row: dict[str, Any] = {
        "method": run.method,
        "scenario": sequence.scenario,
        "source": footage.source,
        "video_id": footage.video_id,
        "object_id": footage.object_id,
        "case": sequence.case,
        "fps": footage.fps,
        "sequence_frames": len(sequence.frames),
    }
    return row | _NUMBERS[sequence.scenario]([run], settings)


def summarise(
    runs: Sequence[Run], settings: ScenarioSettings, look_alikes: Sequence[str]
) -> dict[str, dict[str, dict[str, Any]]]:
    """All metrics by scope (each data set, then :data:`POOLED`) and method.

    Tracking numbers are means of sequences (``ao``, ``presence_f1``: of frames), ``removed`` is a
    share of frames, ``back`` a share of cases, ``switches`` a sum over the videos ``look_alikes``.
    """
    sources = list(dict.fromkeys(run.sequence.footage.source for run in runs))
    names = list(dict.fromkeys(run.method for run in runs))
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for scope in (*sources, POOLED):
        some = [run for run in runs if scope in (POOLED, run.sequence.footage.source)]
        found[scope] = {
            name: _numbers([run for run in some if run.method == name], settings, look_alikes)
            for name in names
        }
    return found


def _numbers(
    runs: Sequence[Run], settings: ScenarioSettings, look_alikes: Sequence[str]
) -> dict[str, Any]:
    numbers: dict[str, Any] = {}
    for scenario, count in _NUMBERS.items():
        some = [run for run in runs if run.sequence.scenario == scenario]
        if some:
            numbers |= count(some, settings)
    numbers = {key: value for key, value in numbers.items() if not key.startswith("switch")}
    alike = [
        run
        for run in runs
        if run.sequence.scenario == TRACKING and run.sequence.footage.video_id in look_alikes
    ]
    return numbers | (_switch_numbers(alike) if alike else {})


def _tracking(runs: Sequence[Run], settings: ScenarioSettings) -> dict[str, Any]:
    numbers = tracking_numbers.summarise([run.as_track() for run in runs])
    shares = [
        time_to_failure(
            [frame.truth_xyxy for frame in run.sequence.frames],
            [answer.box_xyxy for answer in run.answers],
        )
        for run in runs
    ]
    lasted = [share for share in shares if share is not None]
    return {
        **{key: numbers[key] for key in _TRACKING_KEYS},
        "time_to_failure": round(sum(lasted) / len(lasted), 4) if lasted else None,
        **_switch_numbers(runs),
    }


def _switch_numbers(runs: Sequence[Run]) -> dict[str, Any]:
    found = [switches(run) for run in runs]
    return {
        "switches": sum(item.count for item in found),
        "switch_frames_on_other": sum(item.frames_on_other for item in found),
        "switch_frames": sum(item.frames for item in found),
    }


def _removed(runs: Sequence[Run], settings: ScenarioSettings) -> dict[str, Any]:
    found = [absence(run) for run in runs]
    frames = sum(item.frames for item in found)
    reported = sum(item.reported for item in found)
    return {
        "removed_frames": frames,
        "removed_reported": reported,
        "removed_share": _share(reported, frames),
    }


def _back(runs: Sequence[Run], settings: ScenarioSettings) -> dict[str, Any]:
    returns = [found_again(run, settings.found_within_s) for run in runs]
    cases: list[Return] = [item for item in returns if item is not None]
    times = [item.overlap_s for item in cases if item.overlap_s is not None]
    centres = [item.centre_s for item in cases if item.centre_s is not None]
    return {
        "back_cases": len(cases),
        "back_found": len(times),
        "back_share": _share(len(times), len(cases)),
        "back_share_by_centre": _share(len(centres), len(cases)),
        "back_median_s": round(median(times), 3) if times else None,
    }


def _share(part: int, whole: int) -> float | None:
    return round(part / whole, 4) if whole else None


_NUMBERS: dict[str, Callable[[Sequence[Run], ScenarioSettings], dict[str, Any]]] = {
    TRACKING: _tracking,
    REMOVED: _removed,
    BACK: _back,
}
