"""The worst cases as pictures: reference, frame, truth and answer."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import cv2
import numpy as np

from refdet_core.drawing import PALETTE_BGR, TRUTH_COLOUR, draw_box, draw_text, fit
from refdet_core.imaging import extract, square_around
from refdet_core.types import BoxXYXY
from refdet_training.datasets.instance import Instance
from refdet_training.evaluation.detection_numbers import LOOSE_IOU
from refdet_training.evaluation.detection_protocol import (
    DetectionProtocol,
    Prediction,
    reference_frames,
)
from refdet_training.evaluation.measure import Evaluation

_PER_KIND, _PER_OBJECT = 6, 2
_CLOSE_UP_PX = 180
_FRAME_SIZE = (960, 3 * _CLOSE_UP_PX)
_CONTEXT = 1.0
"""Context around the box in close-ups, as a share of its mean side (SiamFC)."""
_ANSWER_COLOUR = PALETTE_BGR[1]
KINDS = {
    "false_alarm": "Reported although absent, most confident first",
    "wrong_place": "Reported at the wrong place, most confident first",
    "missed": "Not reported although present, largest objects first",
}


@dataclass(frozen=True)
class WorstCase:
    """One wrong prediction as a picture: close-ups of reference, answer and truth beside the frame.

    Attributes:
        kind: one of :data:`KINDS`.
        caption: object, frame, score and overlap in words.
        image_bgr: ``(H, W, 3)`` uint8; the truth is white, the answer orange.
    """

    kind: str
    prediction: Prediction
    caption: str
    image_bgr: np.ndarray


def worst_cases(evaluation: Evaluation) -> list[WorstCase]:
    """The bundle's worst predictions of each kind, at most two per object; none without the
    detection protocol.
    """
    if evaluation.detection is None:
        return []
    bundle = evaluation.methods[0]
    instances = {
        (item.source, item.video_id, item.object_id): item for item in evaluation.instances
    }
    found = []
    for kind in KINDS:
        for prediction in worst_predictions(kind, bundle.predictions, bundle.threshold):
            instance = instances[prediction.source, prediction.object_video, prediction.object_id]
            image = _draw(prediction, instance, evaluation.detection)
            found.append(WorstCase(kind, prediction, _caption(prediction), image))
    return found


def worst_predictions(
    kind: str, predictions: Iterable[Prediction], threshold: float
) -> list[Prediction]:
    """The worst predictions of one of :data:`KINDS`, worst first, at most two per object."""
    belongs, badness = _RULES[kind]
    candidates = [item for item in predictions if belongs(item, item.score >= threshold)]
    chosen: list[Prediction] = []
    taken: Counter[tuple[str, str, str]] = Counter()
    for item in sorted(candidates, key=badness, reverse=True):
        name = (item.source, item.object_video, item.object_id)
        if taken[name] < _PER_OBJECT and len(chosen) < _PER_KIND:
            taken[name] += 1
            chosen.append(item)
    return chosen


_Rule = tuple[Callable[[Prediction, bool], bool], Callable[[Prediction], float]]
_RULES: dict[str, _Rule] = {
    "false_alarm": (lambda item, reported: reported and not item.present, lambda item: item.score),
    "wrong_place": (
        lambda item, reported: reported and item.present and item.iou < LOOSE_IOU,
        lambda item: item.score,
    ),
    "missed": (lambda item, reported: not reported and item.present, lambda item: item.object_px),
}


def _draw(prediction: Prediction, instance: Instance, protocol: DetectionProtocol) -> np.ndarray:
    frame = prediction.picture.read().copy()  # a copy to draw on; the original may be read-only
    first = reference_frames(instance, protocol)[0]
    wanted = _close_up(instance.read(first), instance.boxes_xyxy[first], "reference")
    answer = _close_up(frame, prediction.box_xyxy, "answer")
    if prediction.truth_xyxy is not None:
        truth = _close_up(frame, prediction.truth_xyxy, "truth")
    else:
        truth = draw_text(np.full_like(wanted, 60), "not in this frame", (0, 0))
    draw_box(frame, prediction.box_xyxy, _ANSWER_COLOUR, f"{prediction.score:.2f}")
    if prediction.truth_xyxy is not None:
        draw_box(frame, prediction.truth_xyxy, TRUTH_COLOUR)
    fitted = fit(frame, _FRAME_SIZE)
    canvas = np.full((3 * _CLOSE_UP_PX, fitted.shape[1], 3), 24, np.uint8)
    top = (canvas.shape[0] - fitted.shape[0]) // 2
    canvas[top : top + fitted.shape[0]] = fitted
    return cv2.hconcat([cv2.vconcat([wanted, answer, truth]), canvas])


def _close_up(image_bgr: np.ndarray, box_xyxy: BoxXYXY, name: str) -> np.ndarray:
    """A square around the box, enlarged."""
    crop = square_around(box_xyxy, _CONTEXT, _CLOSE_UP_PX)
    return draw_text(np.array(extract(image_bgr, crop)), name, (0, 0))


def _caption(prediction: Prediction) -> str:
    where = f"{prediction.video_id}, frame {prediction.frame}"
    answer = f"score {prediction.score:.3f}"
    if prediction.present:
        answer += f", IoU {prediction.iou:.2f}, object {prediction.object_px:.0f} px"
    return f"{prediction.object_id} in {where}: {answer}"
