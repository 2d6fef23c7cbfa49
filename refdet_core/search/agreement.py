"""Combines the answers of several networks that look for one target from a shared position."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Sequence

import numpy as np

from refdet_core.boxes import as_boxes, as_tuple, iou_matrix
from refdet_core.decoding import NOTHING, Candidates
from refdet_core.types import BoxXYXY

_LEAST_IOU = 0.3


@dataclass(frozen=True)
class Answer:
    """Where one network sees the target.

    Attributes:
        box_xyxy: in frame pixels.
        score: its probability, as this network says.
        template_score: the same without the help of a recent view.
        rate: how fast the size follows this box, in [0, 1].
        rivals: what else it sees there that may be the target.
    """

    box_xyxy: BoxXYXY
    score: float
    template_score: float
    rate: float
    rivals: Candidates = NOTHING


def combined(answers: Sequence[Answer]) -> Answer:
    """The mean of the boxes that agree with the surest one (IoU of 0.3 or more), weighted by their
    scores. Networks fail on different targets: where they disagree, the surer one is right more
    often than not.
    """
    best = max(answers, key=lambda answer: answer.score)
    if len(answers) == 1 or best.score <= 0:
        return best
    boxes_xyxy = np.array([answer.box_xyxy for answer in answers])
    agree = iou_matrix(boxes_xyxy, as_boxes(best.box_xyxy))[:, 0] >= _LEAST_IOU
    weights = agree * np.array([answer.score for answer in answers])
    weights = weights / weights.sum()
    return Answer(
        as_tuple(weights @ boxes_xyxy),
        best.score,
        best.template_score,
        float(weights @ [answer.rate for answer in answers]),
        Candidates.joined([answer.rivals for answer in answers]),
    )
