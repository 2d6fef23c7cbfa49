"""The moments of a replay that a person should look at."""

from __future__ import annotations

from dataclasses import dataclass
from typing import List, Sequence

from refdet_core.metrics import box_iou
from refdet_ros.bags.replay import Replay
from refdet_ros.bags.targets import Target

PER_KIND = 4
KINDS = {
    "false_alarm": "Reported although absent, most confident first",
    "wrong_place": "Reported at the wrong place, most confident first",
    "missed": "Not reported although present, longest first",
    "weakest": "Reported with the least probability",
}


@dataclass(frozen=True)
class Moment:
    """One frame of one target.

    Attributes:
        kind: one of :data:`KINDS`.
        severity: larger is worse, within a kind.
    """

    kind: str
    template_id: str
    frame: int
    severity: float


def worst_moments(
    replay: Replay, targets: Sequence[Target], iou_threshold: float, apart: int
) -> List[Moment]:
    """At most :data:`PER_KIND` moments of each kind and target, the worst first.

    Args:
        iou_threshold: less overlap is the wrong place.
        apart: frames between two moments of a kind; neighbours look the same.
    """
    chosen: List[Moment] = []
    for target in targets:
        moments = (
            _weakest(replay, target)
            if target.truth is None
            else _against_truth(replay, target, iou_threshold)
        )
        for kind in KINDS:
            own = [moment for moment in moments if moment.kind == kind]
            chosen += _spread(sorted(own, key=lambda one: -one.severity), apart)
    return chosen


def _spread(moments: Sequence[Moment], apart: int) -> List[Moment]:
    kept: List[Moment] = []
    for moment in moments:
        if all(abs(moment.frame - other.frame) >= apart for other in kept):
            kept.append(moment)
        if len(kept) == PER_KIND:
            break
    return kept


def _weakest(replay: Replay, target: Target) -> List[Moment]:
    found = replay.best(target.template_id)
    return [
        Moment("weakest", target.template_id, number, -item.score) for number, item in found.items()
    ]


def _against_truth(replay: Replay, target: Target, iou_threshold: float) -> List[Moment]:
    assert target.truth is not None
    found = replay.best(target.template_id)
    moments: List[Moment] = []
    missed: List[int] = []
    counted = set(replay.answers) - target.reference_frames
    for number in sorted(target.truth.labelled(counted)):
        truth, answer = target.truth.boxes_xyxy.get(number), found.get(number)
        if truth is not None and answer is None:
            missed.append(number)
            continue
        moments += _run(missed, target.template_id)
        missed = []
        if answer is None:
            continue
        if truth is None:
            moments.append(Moment("false_alarm", target.template_id, number, answer.score))
        elif box_iou(answer.bbox_xyxy, truth) < iou_threshold:
            moments.append(Moment("wrong_place", target.template_id, number, answer.score))
    return moments + _run(missed, target.template_id)


def _run(missed: Sequence[int], template_id: str) -> List[Moment]:
    """The middle of frames in a row in which the target was missed."""
    if not missed:
        return []
    return [Moment("missed", template_id, missed[len(missed) // 2], len(missed))]
