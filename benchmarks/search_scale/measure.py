"""One way of searching, measured with the detection protocol and a clock."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from benchmarks.search_scale.settings import Setting
from refdet_core.bundle import Bundle
from refdet_core.types import BoxXYXY, Reference
from refdet_training.datasets.instance import Instance
from refdet_training.evaluation.bundle_detector import BundleDetector
from refdet_training.evaluation.detection_numbers import summarise
from refdet_training.evaluation.detection_protocol import (
    DetectionProtocol,
    FrameDetector,
    Prediction,
    run_protocol,
)

SIZE_BINS = ((0.0, 24.0), (24.0, 48.0), (48.0, 96.0), (96.0, float("inf")))
"""Object sizes that get a figure of their own, pixels."""


@dataclass(frozen=True)
class Result:
    """What a way of searching achieved on one data set.

    Attributes:
        numbers: see :func:`~refdet_training.evaluation.detection_numbers.summarise`.
        cpu_ms: processor time a frame, median.
        recall_by_size: IoU 0.5, for each of :data:`SIZE_BINS` with its number of frames.
    """

    setting: str
    source: str
    numbers: dict[str, Any]
    cpu_ms: float
    recall_by_size: tuple[tuple[float | None, int], ...]


class _TimedDetector(FrameDetector):
    """A detector whose processor time is taken: unlike the clock's it is the same on a busy
    machine."""

    def __init__(self, detector: FrameDetector) -> None:
        self._detector = detector
        self.times_ms: list[float] = []

    def set_references(self, references: Sequence[Reference]) -> None:
        self._detector.set_references(references)

    def detect(self, frame_bgr: np.ndarray) -> tuple[BoxXYXY, float]:
        started = time.process_time()
        answer = self._detector.detect(frame_bgr)
        self.times_ms.append((time.process_time() - started) * 1e3)
        return answer

    def close(self) -> None:
        self._detector.close()


def measure(
    bundle: Bundle, setting: Setting, instances: Sequence[Instance], protocol: DetectionProtocol
) -> Result:
    """Run the protocol on the instances of one source."""
    detector = BundleDetector(bundle, setting.config)
    timed = _TimedDetector(detector)
    protocol = replace(protocol, same_camera=setting.same_camera)
    try:
        predictions, _ = run_protocol(timed, instances, protocol, setting.name)
    finally:
        timed.close()
    return Result(
        setting.name,
        instances[0].source,
        summarise(predictions, detector.threshold),
        float(np.median(timed.times_ms)),
        tuple(_recall(predictions, *edges) for edges in SIZE_BINS),
    )


def _recall(
    predictions: Sequence[Prediction], least_px: float, most_px: float
) -> tuple[float | None, int]:
    inside = [item for item in predictions if item.present and least_px <= item.object_px < most_px]
    if not inside:
        return None, 0
    return float(np.mean([item.iou >= 0.5 for item in inside])), len(inside)
