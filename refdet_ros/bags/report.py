"""The result of an evaluation: a table for people and a dictionary for machines."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Mapping, Sequence

from refdet_core.metrics import GroundTruth, Scores, box_iou, evaluate
from refdet_core.types import Detection
from refdet_ros.bags.replay import Replay
from refdet_ros.bags.targets import Target

_COLUMNS = (
    ("recall", "recall@{iou:g}"),
    ("mean_iou", "mean IoU"),
    ("success_auc", "AUC"),
    ("precision_20px", "P@20px"),
    ("st_iou", "ST-IoU"),
    ("false_alarm_rate", "false alarms"),
)


@dataclass(frozen=True)
class TargetResult:
    """The score of one target.

    Attributes:
        found: number of answered frames with a detection of it.
        mean_score: mean score of these detections; None if there are none.
        scores: agreement with the ground truth; None without ground truth.
        id_switches: see :func:`count_id_switches`; None without ground truth.
    """

    template_id: str
    references: int
    found: int
    answered: int
    mean_score: float | None
    scores: Scores | None
    id_switches: int | None


def score_targets(
    replay: Replay, targets: Sequence[Target], iou_threshold: float = 0.5
) -> list[TargetResult]:
    """Score every target on the answered frames, except those that its references come from."""
    results = []
    for target in targets:
        best = replay.best(target.template_id)
        scores, id_switches = None, None
        if target.truth is not None:
            counted = set(replay.answers) - target.reference_frames
            boxes = replay.best_boxes(target.template_id)
            scores = evaluate(target.truth, boxes, counted, iou_threshold)
            id_switches = count_id_switches(target.truth, best, iou_threshold)
        results.append(
            TargetResult(
                target.template_id,
                len(target.references),
                len(best),
                len(replay.answers),
                sum(item.score for item in best.values()) / len(best) if best else None,
                scores,
                id_switches,
            )
        )
    return results


def count_id_switches(
    truth: GroundTruth, found: Mapping[int, Detection], iou_threshold: float
) -> int | None:
    """How often the object continues under another track id.

    Counted over the detections that overlap the object by at least ``iou_threshold``, as in CLEAR
    MOT (Bernardin, Stiefelhagen 2008).

    Args:
        found: the detection by frame.

    Returns:
        None if no detection has a track id.
    """
    if all(detection.track_id is None for detection in found.values()):
        return None
    ids = [
        found[number].track_id
        for number in sorted(set(found) & set(truth.boxes_xyxy))
        if box_iou(found[number].bbox_xyxy, truth.boxes_xyxy[number]) >= iou_threshold
    ]
    return sum(one != other for one, other in zip(ids, ids[1:]))


def as_dict(replay: Replay, results: Sequence[TargetResult]) -> dict[str, Any]:
    """What ``report.json`` holds."""
    return {
        "mode": replay.mode,
        "frames_sent": replay.sent,
        "frames_answered": len(replay.answers),
        "frames_dropped": replay.dropped,
        "camera_hz": replay.camera_hz,
        "answer_hz": replay.answer_hz,
        "latency_ms": {"p50": replay.latency_ms(50), "p95": replay.latency_ms(95)},
        "latency_is": (
            "header stamp to detections received"
            if replay.mode == "live"
            else "time in the detector"
        ),
        "player_worst_late_ms": replay.worst_late_s * 1e3,
        "targets": [
            {
                "template_id": result.template_id,
                "references": result.references,
                "frames_found": result.found,
                "mean_score": result.mean_score,
                "id_switches": result.id_switches,
                "scores": result.scores.as_dict() if result.scores is not None else None,
            }
            for result in results
        ],
    }


def as_text(replay: Replay, results: Sequence[TargetResult]) -> str:
    """The table and the lines below it."""
    return "\n".join([_table(as_rows(results)), "", *timing_lines(replay, results)])


def as_rows(results: Sequence[TargetResult]) -> list[list[str]]:
    """The table's cells, its head first."""
    scored = [result.scores for result in results if result.scores is not None]
    iou = scored[0].iou_threshold if scored else 0.5
    tracked = any(result.id_switches is not None for result in results)
    head = ["target", "found", "mean score"]
    if scored:
        head += ["present/absent", *(title.format(iou=iou) for _, title in _COLUMNS)]
    if tracked:
        head.append("id switches")
    rows = [head]
    for result in results:
        row = [
            result.template_id,
            f"{result.found}/{result.answered}",
            _number(result.mean_score),
        ]
        if result.scores is not None:
            values: Mapping[str, Any] = result.scores.as_dict()
            row.append(f"{result.scores.present}/{result.scores.absent}")
            row += [_number(values[name]) for name, _ in _COLUMNS]
        if result.id_switches is not None:
            row.append(str(result.id_switches))
        rows.append(row + ["-"] * (len(head) - len(row)))
    return rows


def timing_lines(replay: Replay, results: Sequence[TargetResult]) -> list[str]:
    """The lines under the table."""
    shown = f"{replay.sent} frames sent"
    if replay.camera_hz:
        shown += f" at {replay.camera_hz:.1f} Hz"
    answered = f"{len(replay.answers)} answered"
    if replay.answer_hz:
        answered += f" at {replay.answer_hz:.1f} Hz"
    what = "stamp to detections received" if replay.mode == "live" else "time in the detector"
    p50, p95 = _number(replay.latency_ms(50), 1), _number(replay.latency_ms(95), 1)
    lines = [
        f"{shown}, {answered}, {replay.dropped} dropped.",
        f"Latency ({what}): p50 {p50} ms, p95 {p95} ms.",
    ]
    if any(result.scores is not None for result in results) and replay.dropped:
        lines.append("Dropped frames are not scored.")
    if any(
        result.scores is not None and result.scores.present + result.scores.absent < result.answered
        for result in results
    ):
        lines.append("Frames of the references, and those without a label, are not scored.")
    if replay.mode == "live" and 2 * replay.dropped > replay.sent:
        lines.append("The detector was busy while most frames came.")
    return lines


def _number(value: float | None, digits: int = 3) -> str:
    return "-" if value is None else "{:.{}f}".format(value, digits)


def _table(rows: Sequence[Sequence[str]]) -> str:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = []
    for number, row in enumerate(rows):
        cells = [row[0].ljust(widths[0])]
        cells += [cell.rjust(width) for cell, width in zip(row[1:], widths[1:])]
        lines.append("  ".join(cells).rstrip())
        if number == 0:
            lines.append("  ".join("-" * width for width in widths))
    return "\n".join(lines)
