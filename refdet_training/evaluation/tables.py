"""The metrics of an evaluation as plain data: overall, by source, by sequence, by frame."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any, TypeVar

from refdet_core.boxes import mean_side
from refdet_core.metrics import box_iou
from refdet_core.types import BoxXYXY
from refdet_training.evaluation import detection_numbers, tracking_numbers
from refdet_training.evaluation.detection_protocol import Prediction, hits_centre
from refdet_training.evaluation.measure import Evaluation, Measured
from refdet_training.evaluation.tracking_protocol import Track, TrackedFrame

Row = dict[str, Any]
Record = TypeVar("Record", Prediction, Track)

PREDICTION_COLUMNS = (
    *("protocol", "method", "source", "object_video", "object_id", "video_id", "frame"),
    *("present", "reported", "score", "iou", "centre_hit", "object_px"),
    *("x1", "y1", "x2", "y2", "true_x1", "true_y1", "true_x2", "true_y2"),
)
SEQUENCE_KEYS = ("protocol", "method", "source", "video_id", "object_id")


def all_numbers(evaluation: Evaluation) -> dict[str, Any]:
    """The content of ``report.json``."""
    content: dict[str, Any] = {
        "bundle": evaluation.bundle,
        "split": evaluation.split,
        "sources": evaluation.sources,
        "search": asdict(evaluation.search),
    }
    sequences = sequence_rows(evaluation)
    for name, protocol in (
        ("detection", evaluation.detection),
        ("tracking", evaluation.tracking),
    ):
        if protocol is not None:
            content[name] = {
                "protocol": asdict(protocol),
                "overall": _by_method(evaluation, name, None),
                "by_source": {
                    source: _by_method(evaluation, name, source) for source in evaluation.sources
                },
                "by_sequence": [row for row in sequences if row["protocol"] == name],
            }
    content["not_measured"] = _not_measured(evaluation)
    content["skipped"] = [asdict(item) for item in evaluation.skipped]
    return content


def sequence_rows(evaluation: Evaluation) -> list[Row]:
    """One line per protocol, method and object, without the bins by size."""
    rows: list[Row] = []
    for one in evaluation.methods:
        groups: dict[str, Mapping[tuple[str, str, str], Sequence[Any]]] = {
            "detection": _group(
                one.predictions, lambda item: (item.source, item.object_video, item.object_id)
            ),
            "tracking": _group(
                one.tracks, lambda item: (item.source, item.video_id, item.object_id)
            ),
        }
        for protocol, by_sequence in groups.items():
            for names, records in by_sequence.items():
                keys = (protocol, one.name, *names)
                numbers = _summarise(protocol, records, one.threshold)
                numbers.pop("recall_by_size", None)
                rows.append({**dict(zip(SEQUENCE_KEYS, keys, strict=True)), **numbers})
    return rows


def prediction_rows(evaluation: Evaluation) -> list[Row]:
    """One line per protocol, method and frame, with :data:`PREDICTION_COLUMNS`.

    Missing boxes and scores are None.
    """
    rows: list[Row] = []
    for one in evaluation.methods:
        rows.extend(_detection_row(one, item) for item in one.predictions)
        for track in one.tracks:
            rows.extend(_tracking_row(one, track, item) for item in track.frames)
    return rows


def _not_measured(evaluation: Evaluation) -> list[str]:
    """For each source whose presence AUROC and FPR are None, a sentence that says why."""
    predictions = [item for one in evaluation.methods for item in one.predictions]
    looked_at = {item.source for item in predictions}
    with_absent = {item.source for item in predictions if not item.present}
    return [
        f"presence AUROC and FPR of {source}, because all of its searched frames show the "
        "object; frames without it come from videos of other families, so the split "
        f"'{evaluation.split}' needs two families or more there."
        for source in evaluation.sources
        if source in looked_at - with_absent
    ]


def _by_method(evaluation: Evaluation, protocol: str, source: str | None) -> Row:
    """Metrics by method, of one source or of all."""
    found: Row = {}
    for one in evaluation.methods:
        records: Sequence[Any] = one.predictions if protocol == "detection" else one.tracks
        chosen = [item for item in records if source in (None, item.source)]
        found[one.name] = _summarise(protocol, chosen, one.threshold)
    return found


def _summarise(protocol: str, records: Sequence[Any], threshold: float) -> Row:
    if protocol == "detection":
        return detection_numbers.summarise(records, threshold)
    return tracking_numbers.summarise(records)


def _group(
    records: Sequence[Record], key: Callable[[Record], tuple[str, str, str]]
) -> Mapping[tuple[str, str, str], list[Record]]:
    found: dict[tuple[str, str, str], list[Record]] = {}
    for item in records:
        found.setdefault(key(item), []).append(item)
    return found


def _detection_row(one: Measured, item: Prediction) -> Row:
    return _frame_row(
        ("detection", one.name, item.source, item.object_video, item.object_id, item.video_id),
        item.frame,
        item.score >= one.threshold,
        item.score,
        item.box_xyxy,
        item.truth_xyxy,
    )


def _tracking_row(one: Measured, track: Track, item: TrackedFrame) -> Row:
    return _frame_row(
        ("tracking", one.name, track.source, track.video_id, track.object_id, track.video_id),
        item.number,
        item.box_xyxy is not None,
        item.score,
        item.box_xyxy,
        item.truth_xyxy,
    )


def _frame_row(
    names: tuple[str, ...],
    frame: int,
    reported: bool,
    score: float | None,
    box_xyxy: BoxXYXY | None,
    truth_xyxy: BoxXYXY | None,
) -> Row:
    values = (
        *names,
        frame,
        truth_xyxy is not None,
        reported,
        score,
        box_iou(box_xyxy, truth_xyxy) if box_xyxy and truth_xyxy else 0.0,
        hits_centre(box_xyxy, truth_xyxy) if box_xyxy and truth_xyxy else False,
        mean_side(truth_xyxy) if truth_xyxy is not None else 0.0,
        *(box_xyxy or (None,) * 4),
        *(truth_xyxy or (None,) * 4),
    )
    return dict(zip(PREDICTION_COLUMNS, values, strict=True))
