"""The metrics of the tracking protocol.

Their conventions, for 0-based boxes whose right and bottom edges are exclusive
(the got10k toolkit's 1-based inclusive centres differ by the same half pixel in truth and answer,
so distances agree):

* OTB (Wu, Lim, Yang, CVPR 2013) as the got10k toolkit's ``ExperimentOTB``: every frame with the
  object counts, *the first one included*, boxes are not cut at the image border; success is the
  share of frames with IoU *above* each of 21 thresholds, precision the share with a centre error
  of *at most* 0, 1 ... 50 px; overall is the mean of the sequences' curves.
* Normalised precision (Müller et al., "TrackingNet", ECCV 2018): the centre error in units of the
  true box's width and height, at most 0, 0.01 ... 0.5; AUC is the curve's mean; frames and overall
  as OTB.
* GOT-10k (Huang, Zhao, Huang, TPAMI 2019) as the toolkit's ``ExperimentGOT10k``: *without the first
  frame*, both boxes brought into the image as the toolkit does it (a box beyond the left or top
  border is moved in, one beyond the right or bottom border is cut); AO is the mean IoU, SR the
  share with IoU *above* 0.5 or 0.75; overall pools the frames of all sequences.
* ST-IoU: :mod:`refdet_core.metrics`, without the first frame; overall is the mean of the sequences.
* Presence F1: "a box is reported" against "the object is in the frame", wherever the box is;
  without the first frame; overall pools the frames.

Where the object is present and nothing is reported, IoU is 0 and the distance infinite. Frames
without the object count only for ST-IoU and presence. A ratio without data is None.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from refdet_core.metrics import (
    PRECISION_PX,
    SUCCESS_THRESHOLDS,
    GroundTruth,
    box_iou,
    evaluate,
)
from refdet_core.types import BoxXYXY
from refdet_training.evaluation.tracking_protocol import Track, TrackedFrame

PRECISION_THRESHOLDS_PX = np.arange(51.0)
NORMALISED_THRESHOLDS = np.arange(51) / 100


@dataclass(frozen=True)
class Curves:
    """OTB's curves: shares of frames over :data:`SUCCESS_THRESHOLDS` (IoU),
    :data:`PRECISION_THRESHOLDS_PX` and :data:`NORMALISED_THRESHOLDS`.
    """

    success: np.ndarray
    precision: np.ndarray
    normalised: np.ndarray


def curves(track: Track) -> Curves:
    """One sequence's curves; its first frame shows the object, so they always exist."""
    frames = [frame for frame in track.frames if frame.truth_xyxy is not None]
    ious = np.array([_iou(frame) for frame in frames])
    offsets = np.array([_offset(frame) for frame in frames])  # (N, 2)
    sides = np.array([_sides(frame) for frame in frames])
    distances = np.linalg.norm(offsets, axis=1)
    normalised = np.linalg.norm(offsets / np.maximum(sides, 1e-9), axis=1)
    return Curves(
        (ious[:, None] > SUCCESS_THRESHOLDS).mean(axis=0),
        (distances[:, None] <= PRECISION_THRESHOLDS_PX).mean(axis=0),
        (normalised[:, None] <= NORMALISED_THRESHOLDS).mean(axis=0),
    )


def mean_curves(tracks: Sequence[Track]) -> Curves | None:
    """The mean of the sequences' curves; None without a sequence."""
    if not tracks:
        return None
    parts = [curves(track) for track in tracks]
    return Curves(
        np.mean([item.success for item in parts], axis=0),
        np.mean([item.precision for item in parts], axis=0),
        np.mean([item.normalised for item in parts], axis=0),
    )


def summarise(tracks: Sequence[Track]) -> dict[str, Any]:
    """The protocol's metrics over any number of sequences; see the module for conventions.

    Returns:
        ``sequences``; ``frames``: tracked ones, without the first of each; ``present``: of these,
        with the object; then the numbers.
    """
    later = [frame for track in tracks for frame in track.frames[1:]]
    present = [frame for frame in later if frame.truth_xyxy is not None]
    reported = sum(frame.box_xyxy is not None for frame in later)
    right = sum(frame.box_xyxy is not None for frame in present)
    overlaps = np.concatenate([np.zeros(0), *(bounded_ious(track) for track in tracks)])
    st_ious = [value for value in map(st_iou, tracks) if value is not None]
    mean = mean_curves(tracks)
    at_20px = int(PRECISION_PX)
    return {
        "sequences": len(tracks),
        "frames": len(later),
        "present": len(present),
        "success_auc": _round(mean.success.mean()) if mean else None,
        "precision_20px": _round(mean.precision[at_20px]) if mean else None,
        "normalised_precision_auc": _round(mean.normalised.mean()) if mean else None,
        "ao": _mean(overlaps),
        "sr50": _mean(overlaps > 0.5),
        "sr75": _mean(overlaps > 0.75),
        "st_iou": _mean(np.array(st_ious)),
        "presence_f1": _round(2 * right / (reported + len(present)))
        if reported + len(present)
        else None,
    }


def bounded_ious(track: Track) -> np.ndarray:
    """GOT-10k's overlaps ``(N,)``: frames with the object after the first, in the image."""
    return np.array(
        [
            _iou(frame, track.frame_size)
            for frame in track.frames[1:]
            if frame.truth_xyxy is not None
        ]
    )


def st_iou(track: Track) -> float | None:
    """ST-IoU of one sequence without its first frame; None without a box in either."""
    numbers = [frame.number for frame in track.frames]
    truth = {f.number: f.truth_xyxy for f in track.frames if f.truth_xyxy is not None}
    answers = {f.number: f.box_xyxy for f in track.frames if f.box_xyxy is not None}
    labelled = GroundTruth(track.object_id, (numbers[0], numbers[-1]), truth)
    return evaluate(labelled, answers, numbers[1:]).st_iou


def _iou(frame: TrackedFrame, frame_size: tuple[int, int] | None = None) -> float:
    if frame.box_xyxy is None or frame.truth_xyxy is None:
        return 0.0
    if frame_size is None:
        return box_iou(frame.box_xyxy, frame.truth_xyxy)
    return box_iou(_bounded(frame.box_xyxy, frame_size), _bounded(frame.truth_xyxy, frame_size))


def _bounded(box_xyxy: BoxXYXY, frame_size: tuple[int, int]) -> BoxXYXY:
    """Clip a box as the toolkit does: the corner first, then the sides."""
    width, height = frame_size
    x1, y1, x2, y2 = box_xyxy
    left, top = min(max(x1, 0.0), width), min(max(y1, 0.0), height)
    return left, top, min(left + x2 - x1, width), min(top + y2 - y1, height)


def _offset(frame: TrackedFrame) -> tuple[float, float]:
    """Distance of the centres of truth and answer, pixels."""
    if frame.box_xyxy is None or frame.truth_xyxy is None:
        return np.inf, np.inf
    answer, truth = frame.box_xyxy, frame.truth_xyxy
    return (
        (answer[0] + answer[2] - truth[0] - truth[2]) / 2,
        (answer[1] + answer[3] - truth[1] - truth[3]) / 2,
    )


def _sides(frame: TrackedFrame) -> tuple[float, float]:
    x1, y1, x2, y2 = frame.truth_xyxy or (0.0, 0.0, 0.0, 0.0)
    return x2 - x1, y2 - y1


def _mean(values: np.ndarray) -> float | None:
    return _round(values.mean()) if len(values) else None


def _round(value: float) -> float:
    return round(float(value), 4)
