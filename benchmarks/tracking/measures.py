"""Metrics beyond the tracking protocol: false boxes, re-detection, identity switches.

All are pure functions of true and reported boxes (None: no box).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.tracking.runs import Run
from refdet_core.metrics import box_iou
from refdet_core.types import BoxXYXY
from refdet_training.evaluation.detection_protocol import hits_centre

ON_TARGET_IOU = 0.3
SWITCH_FRAMES = 5
FAILURE_FRAMES = 10

Boxes = Sequence[BoxXYXY | None]


@dataclass(frozen=True)
class Absence:
    """Frames of other videos, and the number of them with a reported box."""

    frames: int
    reported: int


@dataclass(frozen=True)
class Return:
    """Seconds from the first frame with the object after an absence until it was found again.

    Attributes:
        overlap_s: by a box with an IoU of at least :data:`ON_TARGET_IOU`; None: not in time.
        centre_s: by a box whose centre lies in the true one; None: not in time.
    """

    overlap_s: float | None
    centre_s: float | None


@dataclass(frozen=True)
class Switches:
    """How often and how long a tracker was on another object while the target was in view.

    Attributes:
        count: identity switches, see :func:`identity_switches`.
        frames_on_other: frames with the object in which the box does not touch it.
        frames: frames with the object.
    """

    count: int
    frames_on_other: int
    frames: int


def absence(run: Run) -> Absence:
    """Boxes reported in the frames of other videos."""
    pairs = zip(run.sequence.frames, run.answers, strict=True)
    answers = [answer for frame, answer in pairs if frame.elsewhere]
    return Absence(len(answers), sum(answer.box_xyxy is not None for answer in answers))


def found_again(run: Run, within_s: float) -> Return | None:
    """When the object was found after its absence; None: it did not return."""
    returns_at = run.sequence.returns_at
    if returns_at is None:
        return None
    return first_found(
        [frame.truth_xyxy for frame in run.sequence.frames[returns_at:]],
        [answer.box_xyxy for answer in run.answers[returns_at:]],
        run.sequence.footage.fps,
        within_s,
    )


def first_found(truths: Boxes, boxes: Boxes, fps: float, within_s: float) -> Return:
    """The first right box of frames that show the object again; the first frame is at 0 s."""
    overlap_s: float | None = None
    centre_s: float | None = None
    for index, (truth, box) in enumerate(zip(truths, boxes, strict=True)):
        seconds = index / fps
        if seconds > within_s or truth is None or box is None:
            continue
        if overlap_s is None and box_iou(box, truth) >= ON_TARGET_IOU:
            overlap_s = seconds
        if centre_s is None and hits_centre(box, truth):
            centre_s = seconds
    return Return(overlap_s, centre_s)


def time_to_failure(truths: Boxes, boxes: Boxes) -> float | None:
    """How long a tracker manages without help: the share of the frames with the object before its
    first failure, 1 if it never fails; None where the object is never in view.

    A failure begins :data:`FAILURE_FRAMES` consecutive frames with the object in which no box
    touches it. The idea is NT2F's (arXiv 2603.03904), which counts its failures by other rules.
    """
    seen = [(truth, box) for truth, box in zip(truths, boxes, strict=True) if truth is not None]
    missed = 0
    for index, (truth, box) in enumerate(seen):
        missed = missed + 1 if box is None or box_iou(box, truth) == 0 else 0
        if missed == FAILURE_FRAMES:
            return (index + 1 - FAILURE_FRAMES) / len(seen)
    return 1.0 if seen else None


def identity_switches(truths: Boxes, boxes: Boxes) -> Switches:
    """How often the reported box switches to another object.

    A switch is a run of at least :data:`SWITCH_FRAMES` consecutive frames in which the object is in
    view and the reported box does not touch it (IoU 0); frames without the object neither count
    for a run nor end it, a frame without a box ends it. The next switch counts only after a box was
    on the object (IoU at least :data:`ON_TARGET_IOU`) in between, so that one long excursion is one
    switch; a tracker that starts on something else has made its first one.
    """
    count = frames_on_other = run = 0
    counted = False
    for truth, box in zip(truths, boxes, strict=True):
        if truth is None:
            continue
        iou = box_iou(box, truth) if box is not None else None
        if iou == 0:
            frames_on_other += 1
            run += 1
        else:
            run = 0
        if iou is not None and iou >= ON_TARGET_IOU:
            counted = False
        if run >= SWITCH_FRAMES and not counted:
            count += 1
            counted = True
    return Switches(count, frames_on_other, sum(truth is not None for truth in truths))


def switches(run: Run) -> Switches:
    """A run's identity switches; see :func:`identity_switches`."""
    return identity_switches(
        [frame.truth_xyxy for frame in run.sequence.frames],
        [answer.box_xyxy for answer in run.answers],
    )
