"""A box is a label where two trackers agree on it, forwards and backwards in time.

Each tracker fails in its own way, and a track that has slipped does not lead back to where it
began (Kalal, Mikolajczyk, Matas: "Forward-Backward Error", ICPR 2010).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from refdet_core.metrics import box_iou
from refdet_core.types import BoxXYXY
from refdet_training.evaluation.tracking_protocol import Tracker

AGREE_IOU = 0.6


def agreed_boxes(
    trackers: Sequence[Tracker], frames_bgr: Sequence[np.ndarray], box_xyxy: BoxXYXY
) -> list[BoxXYXY]:
    """The boxes of one thing in the first of these frames, as far as they can be trusted.

    Every tracker follows it forwards until they part, and from there backwards to where it began.
    Where one does not come back, nothing is trusted.

    Args:
        trackers: two or more.
        frames_bgr: in their order, without gaps.
        box_xyxy: in the first frame.
    """
    forwards = _together(trackers, frames_bgr, box_xyxy)
    if len(forwards) < 2:
        return []
    last = len(forwards) - 1
    backwards = _together(trackers, frames_bgr[last::-1], forwards[last])[::-1]
    if len(backwards) < len(forwards) or box_iou(backwards[0], box_xyxy) < AGREE_IOU:
        return []
    trusted: list[BoxXYXY] = []
    for there, back in zip(forwards, backwards, strict=True):
        if box_iou(there, back) < AGREE_IOU:
            break
        trusted.append(_mean([there, back]))
    return trusted


def _together(
    trackers: Sequence[Tracker], frames_bgr: Sequence[np.ndarray], box_xyxy: BoxXYXY
) -> list[BoxXYXY]:
    """The mean of the trackers' boxes, up to the frame in which they part or one leaves it."""
    for tracker in trackers:
        tracker.start(frames_bgr[0], box_xyxy)
    found = [box_xyxy]
    for frame_bgr in frames_bgr[1:]:
        answers = [tracker.update(frame_bgr)[0] for tracker in trackers]
        boxes = [box for box in answers if box is not None]
        if len(boxes) < len(trackers) or _cut_off(boxes, frame_bgr.shape):
            break
        if min(box_iou(boxes[0], other) for other in boxes[1:]) < AGREE_IOU:
            break
        found.append(_mean(boxes))
    return found


def _cut_off(boxes: Sequence[BoxXYXY], shape: Sequence[int]) -> bool:
    """Whether one of them touches the frame's border."""
    x1, y1, x2, y2 = np.array(boxes).T
    return bool(
        (x1 <= 0).any() or (y1 <= 0).any() or (x2 >= shape[1]).any() or (y2 >= shape[0]).any()
    )


def _mean(boxes: Sequence[BoxXYXY]) -> BoxXYXY:
    x1, y1, x2, y2 = (float(value) for value in np.mean(boxes, axis=0))
    return x1, y1, x2, y2
