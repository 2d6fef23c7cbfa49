"""A bundle under evaluation, which searches as the released detector does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from refdet_core.backends import open_backend
from refdet_core.bundle import Bundle
from refdet_core.detector import Detector
from refdet_core.detector_config import DetectorConfig
from refdet_core.types import BoxXYXY, Reference
from refdet_training.evaluation.detection_protocol import FrameDetector

NO_DETECTION: tuple[BoxXYXY, float] = ((0.0, 0.0, 0.0, 0.0), 0.0)
"""The answer of a detector without any candidate."""


class BundleDetector(FrameDetector):
    """A released or freshly exported bundle.

    Attributes:
        threshold: the released detector reports from this score on.
    """

    def __init__(self, bundle: Bundle, config: DetectorConfig) -> None:
        self._detector = Detector(bundle, open_backend("auto", bundle), config)
        self.threshold = self._detector.score_threshold
        # The protocol ranks the best answer of every frame, however improbable.
        self._detector.configure(replace(config, score_threshold=0.0, max_detections=1))

    def set_references(self, references: Sequence[Reference]) -> None:
        self._detector.set_template(references)

    def detect(self, frame_bgr: np.ndarray) -> tuple[BoxXYXY, float]:
        detections = self._detector.detect(frame_bgr).detections
        return (detections[0].bbox_xyxy, detections[0].score) if detections else NO_DETECTION

    def close(self) -> None:
        self._detector.close()
