"""The released networks follow what changes quickly."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from refdet_core.detector import DEFAULT_TEMPLATE_ID, Detector
from refdet_core.detector_config import DetectorConfig
from refdet_core.metrics import box_iou
from refdet_core.types import Reference

FPS = 10


def thing() -> np.ndarray:
    """A painted car from above, 96 x 64 px."""
    car = np.full((64, 96, 3), (40, 40, 190), np.uint8)
    cv2.rectangle(car, (22, 8), (36, 55), (60, 50, 40), -1)
    cv2.rectangle(car, (66, 10), (76, 53), (60, 50, 40), -1)
    cv2.circle(car, (91, 12), 4, (230, 240, 240), -1)
    cv2.circle(car, (91, 51), 4, (230, 240, 240), -1)
    return car


def ground() -> np.ndarray:
    rng = np.random.default_rng(1)
    coarse = rng.integers(90, 150, (90, 160, 3)).astype(np.uint8)
    return cv2.resize(coarse, (640, 360), interpolation=cv2.INTER_CUBIC)


@pytest.mark.parametrize(
    ("width_a_second", "height_a_second"),
    [(1.5, 1.5), (1 / 1.5, 1 / 1.5), (1.5, 1.0), (1.0, 1.5)],
    ids=["grows", "shrinks", "wider", "taller"],
)
def test_changes_of_size_and_shape_by_half_a_second_are_followed(
    width_a_second, height_a_second
) -> None:
    """For two seconds; the last box still fits."""
    car, scene = thing(), ground()
    shrinks = width_a_second < 1
    start = (72, 48) if shrinks else (42, 28)
    with Detector.open(config=DetectorConfig(search="track")) as detector:
        overlaps = []
        for number in range(2 * FPS + 1):
            width = round(start[0] * width_a_second ** (number / FPS))
            height = round(start[1] * height_a_second ** (number / FPS))
            x, y = 200 + 4 * number - width // 2, 180 - height // 2
            frame = scene.copy()
            frame[y : y + height, x : x + width] = cv2.resize(
                car, (width, height), interpolation=cv2.INTER_AREA
            )
            box = (float(x), float(y), float(x + width), float(y + height))
            if number == 0:
                detector.set_template([Reference(frame, box, same_camera=True)])
                detector.lock(DEFAULT_TEMPLATE_ID, box)
            found = detector.detect(frame, time_s=number / FPS).detections
            overlaps.append(box_iou(found[0].bbox_xyxy, box) if found else 0.0)
    assert min(overlaps) > 0.5, np.round(overlaps, 2)
    assert np.mean(overlaps) > 0.7, np.round(overlaps, 2)
