"""Tables for people, JSON and CSV for programs."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.tracking.goals import Verdict, judge, judge_speed
from benchmarks.tracking.numbers import POOLED, run_row, summarise
from benchmarks.tracking.runs import Run
from benchmarks.tracking.sequences import ScenarioSettings
from benchmarks.tracking.speed import ALL, Times
from refdet_core.metrics import box_iou
from refdet_training.evaluation.detection_protocol import Skipped

_SIDES = ("x1", "y1", "x2", "y2")
FRAME_COLUMNS = (
    *("method", "scenario", "source", "object_id", "case", "index", "video", "elsewhere"),
    *("state", "score", "iou", "ms", *_SIDES, *(f"true_{side}" for side in _SIDES)),
)


@dataclass(frozen=True)
class Results:
    """The results of one benchmark run.

    Attributes:
        setup: description of the run and the machine.
        settings: settings of the scenarios.
        look_alikes: videos in which identity switches are counted.
        given: by method what it gets of the object.
        unavailable: by method why it was not measured.
        runs: one for each method and sequence.
        speed: by method and state.
        skipped: sequences that could not be measured.
    """

    setup: Mapping[str, Any]
    settings: ScenarioSettings
    look_alikes: Sequence[str]
    given: Mapping[str, str]
    unavailable: Mapping[str, str]
    runs: Sequence[Run]
    speed: Mapping[str, Mapping[str, Times]]
    skipped: Sequence[Skipped]

    def numbers(self) -> dict[str, dict[str, dict[str, Any]]]:
        """By data set (and "all") and method."""
        return summarise(self.runs, self.settings, self.look_alikes)


def as_json(results: Results) -> dict[str, Any]:
    """The content of ``results.json``."""
    numbers = results.numbers()
    return {
        "setup": dict(results.setup),
        "scenarios": asdict(results.settings),
        "look_alikes": list(results.look_alikes),
        "given": dict(results.given),
        "unavailable": dict(results.unavailable),
        "goals": {
            scope: [item.as_dict() for item in judge(of_scope)]
            for scope, of_scope in numbers.items()
        },
        "speed_goals": [item.as_dict() for item in judge_speed(results.speed)],
        "numbers": numbers,
        "speed_ms": {
            name: {state: asdict(times) for state, times in by_state.items()}
            for name, by_state in results.speed.items()
        },
        "by_sequence": [run_row(run, results.settings) for run in results.runs],
        "skipped": [asdict(item) for item in results.skipped],
    }


def as_markdown(results: Results) -> str:
    """The tables: goals by data set, all methods, speed; then what is missing and why."""
    numbers = results.numbers()
    parts = []
    if len(numbers) <= 2:  # of one data set or none, pooled says nothing more
        del numbers[POOLED]
    for scope, of_scope in numbers.items():
        parts += [f"## {scope}", _goals(judge(of_scope)), _methods(results.given, of_scope)]
    if results.speed:
        parts += ["## Speed", _goals(judge_speed(results.speed)), _speed(results.speed)]
    notes = [f"- {name} not measured: {why}" for name, why in results.unavailable.items()]
    notes += [f"- left out: {s.source} {s.object_id}: {s.reason}" for s in results.skipped]
    if notes:
        parts.append("\n".join(notes))
    return "\n\n".join(parts) + "\n"


def write_results(results: Results, folder: Path) -> None:
    """Write ``results.json``, ``table.md`` and ``frames.csv`` (one line a run and frame)."""
    folder.mkdir(parents=True, exist_ok=True)
    content = json.dumps(as_json(results), indent=1)
    (folder / "results.json").write_text(content + "\n", encoding="utf-8")
    (folder / "table.md").write_text(as_markdown(results), encoding="utf-8")
    with (folder / "frames.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(FRAME_COLUMNS)
        for run in results.runs:
            writer.writerows(_frame_rows(run))


def _frame_rows(run: Run) -> Iterable[Sequence[Any]]:
    footage = run.sequence.footage
    names = (run.method, run.sequence.scenario, footage.source, footage.object_id)
    nothing = ("",) * 4
    for index, (frame, answer) in enumerate(zip(run.sequence.frames, run.answers, strict=True)):
        box, truth = answer.box_xyxy, frame.truth_xyxy
        iou = f"{box_iou(box, truth):.3f}" if box and truth else ""
        score = "" if answer.score is None else f"{answer.score:.4f}"
        yield (
            *(*names, run.sequence.case, index, frame.picture.path.stem, int(frame.elsewhere)),
            *(answer.state, score, iou, f"{answer.ms:.2f}"),
            *([f"{side:.1f}" for side in box] if box else nothing),
            *([f"{side:.1f}" for side in truth] if truth else nothing),
        )


def _goals(verdicts: Sequence[Verdict]) -> str:
    words = {True: "met", False: "**missed**", None: "not measured"}
    rows = [
        (v.measure, v.goal, v.method, _text(v.value), _text(v.peer), words[v.met]) for v in verdicts
    ]
    return _table(("measure", "goal", "of", "value", "TrackerNano", ""), rows)


def _methods(given: Mapping[str, str], numbers: Mapping[str, Mapping[str, Any]]) -> str:
    columns: dict[str, Callable[[Mapping[str, Any]], str]] = {
        "success AUC": lambda n: _text(n.get("success_auc")),
        "precision 20 px": lambda n: _text(n.get("precision_20px")),
        "time to failure": lambda n: _text(n.get("time_to_failure")),
        "ST-IoU": lambda n: _text(n.get("st_iou")),
        "AO": lambda n: _text(n.get("ao")),
        "removed: false": lambda n: _text(n.get("removed_share")),
        "found again": lambda n: _found(n, "back_share"),
        "… by centre": lambda n: _text(n.get("back_share_by_centre")),
        "after s": lambda n: _text(n.get("back_median_s")),
        "switches": lambda n: _text(n.get("switches")),
        "frames on other": lambda n: _wrong(n),
    }
    rows = [
        (name, given.get(name, ""), *(column(of_one) for column in columns.values()))
        for name, of_one in numbers.items()
    ]
    return _table(("", "given", *columns), rows)


def _found(numbers: Mapping[str, Any], key: str) -> str:
    if "back_cases" not in numbers:
        return "–"
    return f"{_text(numbers[key])} ({numbers['back_found']}/{numbers['back_cases']})"


def _wrong(numbers: Mapping[str, Any]) -> str:
    if "switch_frames" not in numbers:
        return "–"
    return f"{numbers['switch_frames_on_other']}/{numbers['switch_frames']}"


def _speed(speed: Mapping[str, Mapping[str, Times]]) -> str:
    rows = [
        (name, "" if state == ALL else state, t.frames, t.mean_ms, t.median_ms, t.p95_ms)
        for name, by_state in speed.items()
        for state, t in by_state.items()
    ]
    return _table(("ms a frame", "in state", "frames", "mean", "median", "p95"), rows)


def _table(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    lines = [head, *rows]
    widths = [max(3, *(len(str(line[i])) for line in lines)) for i in range(len(head))]

    def text(line: Sequence[Any]) -> str:
        padded = (str(cell).ljust(width) for cell, width in zip(line, widths, strict=True))
        return "| " + " | ".join(padded) + " |"

    rule = "|" + "|".join("-" * (width + 2) for width in widths) + "|"
    return "\n".join([text(head), rule, *map(text, rows)])


def _text(value: float | None) -> str:
    if value is None:
        return "–"
    return str(value) if isinstance(value, int) else f"{value:.3f}"
