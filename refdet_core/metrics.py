"""Agreement of predicted boxes with ground truth, for one object in one sequence.

Only frames inside the labelled span count; a labelled frame without a box means that the object is
absent. Outside the span the object's state is unknown.

Success and precision follow OTB (Wu, Lim, Yang: "Online Object Tracking: A Benchmark", CVPR
2013), ST-IoU follows drone reference-detection contests: the sum of IoU over the frames that
are in both ground truth and prediction, divided by the frames that are in either.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Iterable, Mapping, Sequence

import numpy as np

from refdet_core.boxes import as_boxes, iou_matrix
from refdet_core.types import BoxXYXY

SUCCESS_THRESHOLDS = np.linspace(0.0, 1.0, 21)
PRECISION_PX = 20.0


@dataclass(frozen=True)
class GroundTruth:
    """One annotated object.

    Attributes:
        object_id: its name.
        labelled_frames: first and last labelled frame, both inclusive.
        boxes_xyxy: box by frame; a labelled frame without an entry does not show the object.
    """

    object_id: str
    labelled_frames: tuple[int, int]
    boxes_xyxy: Mapping[int, BoxXYXY]

    def labelled(self, seen: Iterable[int] | None = None) -> list[int]:
        """The labelled frames in order; with ``seen``, only those."""
        first, last = self.labelled_frames
        if seen is None:
            return list(range(first, last + 1))
        return sorted({frame for frame in seen if first <= frame <= last})


@dataclass(frozen=True)
class Scores:
    """Agreement of predictions with one object's ground truth. All shares are in [0, 1].

    A share whose denominator is zero (no frame with the object, no frame without) is None.

    Attributes:
        frames: labelled frames that were evaluated.
        present, absent: number of frames with and without the object.
        iou_threshold: what ``recall`` and ``detection_precision`` require.
        recall: frames found with at least that IoU, of the frames that show the object.
        detection_precision: frames found with at least that IoU, of the frames with a prediction.
        mean_iou: over the frames that show the object; a miss counts 0.
        success_auc: mean over 21 thresholds of the share of those frames with IoU above it.
        precision_20px: share of those frames with the centre at most 20 px off.
        st_iou: sum of IoU over frames in both, divided by the frames in either.
        false_alarm_rate: frames with a prediction, of the frames without the object.
    """

    frames: int
    present: int
    absent: int
    iou_threshold: float
    recall: float | None
    detection_precision: float | None
    mean_iou: float | None
    success_auc: float | None
    precision_20px: float | None
    st_iou: float | None
    false_alarm_rate: float | None

    def as_dict(self) -> dict[str, object]:
        """Plain values for JSON."""
        return asdict(self)


def evaluate(
    truth: GroundTruth,
    predictions: Mapping[int, BoxXYXY],
    frames: Iterable[int] | None = None,
    iou_threshold: float = 0.5,
) -> Scores:
    """Compare one object's best box per frame with its ground truth.

    Args:
        truth: the object's annotation.
        predictions: best box by frame, xyxy pixels; a frame without an entry has none.
        frames: the frames that the detector was shown; None means all labelled ones.
        iou_threshold: minimum IoU that counts as found.
    """
    labelled = truth.labelled(frames)
    present = [frame for frame in labelled if frame in truth.boxes_xyxy]
    absent = [frame for frame in labelled if frame not in truth.boxes_xyxy]
    overlaps = np.zeros(len(present))
    distances = np.full(len(present), np.inf)
    for index, frame in enumerate(present):
        if frame in predictions:
            overlaps[index] = box_iou(predictions[frame], truth.boxes_xyxy[frame])
            distances[index] = centre_distance(predictions[frame], truth.boxes_xyxy[frame])
    predicted = sum(frame in predictions for frame in labelled)
    alarms = sum(frame in predictions for frame in absent)
    hits = int((overlaps >= iou_threshold).sum())
    return Scores(
        frames=len(labelled),
        present=len(present),
        absent=len(absent),
        iou_threshold=iou_threshold,
        recall=_share(hits, len(present)),
        detection_precision=_share(hits, predicted),
        mean_iou=_share(float(overlaps.sum()), len(present)),
        success_auc=success_auc(overlaps) if present else None,
        precision_20px=_share(int((distances <= PRECISION_PX).sum()), len(present)),
        st_iou=_share(float(overlaps.sum()), len(present) + alarms),
        false_alarm_rate=_share(alarms, len(absent)),
    )


def success_auc(overlaps: Sequence[float] | np.ndarray) -> float:
    """Area under OTB's success curve: mean share of frames with IoU > t, t = 0, 0.05 ... 1."""
    values = np.asarray(overlaps, dtype=np.float64)
    return float((values[None, :] > SUCCESS_THRESHOLDS[:, None]).mean())


def box_iou(first_xyxy: BoxXYXY, second_xyxy: BoxXYXY) -> float:
    """Intersection over union of two boxes."""
    return float(iou_matrix(as_boxes(first_xyxy), as_boxes(second_xyxy))[0, 0])


def centre_distance(first_xyxy: BoxXYXY, second_xyxy: BoxXYXY) -> float:
    """Distance of the centres in pixels."""
    first, second = np.asarray(first_xyxy), np.asarray(second_xyxy)
    return float(np.linalg.norm((first[:2] + first[2:] - second[:2] - second[2:]) / 2))


def percentile(values: Sequence[float], share: float) -> float | None:
    """The ``share`` (0-100) percentile, None of no values."""
    return (
        float(np.percentile(np.asarray(values, dtype=np.float64), share)) if len(values) else None
    )


def _share(part: float, whole: int) -> float | None:
    return float(part) / whole if whole else None
