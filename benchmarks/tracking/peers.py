"""Common trackers: those of OpenCV, and template matching."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from benchmarks.tracking.methods import TrackerMethod, TrackingMethod
from refdet_core.errors import BackendError, SourceError
from refdet_core.types import BoxXYXY
from refdet_training.evaluation.baselines import MatchTemplate
from refdet_training.evaluation.evaluate_bundle import BASELINE_THRESHOLD
from refdet_training.evaluation.tracking_protocol import Tracker, TrackingByDetection

NANO_FILES = ("nanotrackv2_backbone.onnx", "nanotrackv2_head.onnx")


class OpenCVTracker(Tracker):
    """A tracker of ``cv2``; a box is reported whenever ``update`` answers ``ok``.

    Args:
        create: makes a new tracker for every object.
    """

    def __init__(self, create: Callable[[], Any]) -> None:
        self._create = create
        self._tracker: Any = None

    def start(self, frame_bgr: np.ndarray, box_xyxy: BoxXYXY) -> None:
        x1, y1, x2, y2 = box_xyxy
        left, top = round(x1), round(y1)
        width, height = max(1, round(x2 - x1)), max(1, round(y2 - y1))
        self._tracker = self._create()
        self._tracker.init(np.ascontiguousarray(frame_bgr), (left, top, width, height))

    def update(self, frame_bgr: np.ndarray) -> tuple[BoxXYXY | None, float | None]:
        found, (x, y, width, height) = self._tracker.update(np.ascontiguousarray(frame_bgr))
        # Only trackers with a network have a score.
        score = getattr(self._tracker, "getTrackingScore", lambda: None)()
        if not found:
            return None, score
        return (float(x), float(y), float(x + width), float(y + height)), score


def nano(weights: Path) -> TrackingMethod:
    """``cv2.TrackerNano`` with the networks of NanoTrack v2.

    Raises:
        SourceError: the networks are not in the folder.
    """
    backbone, head = (weights / name for name in NANO_FILES)
    missing = [path.name for path in (backbone, head) if not path.exists()]
    if missing:
        raise SourceError(
            f"{' and '.join(missing)} not in {weights}; say where with --weights (they are in the "
            "repository HonglinChu/SiamTrackers, NanoTrack, models/nanotrackv2)."
        )
    parameters = cv2.TrackerNano.Params()
    parameters.backbone, parameters.neckhead = str(backbone), str(head)
    return TrackerMethod("TrackerNano", OpenCVTracker(lambda: cv2.TrackerNano.create(parameters)))


def mil() -> TrackingMethod:
    """``cv2.TrackerMIL`` (Babenko, Yang, Belongie: multiple instance learning, CVPR 2009)."""
    return TrackerMethod("TrackerMIL", OpenCVTracker(cv2.TrackerMIL.create))


def csrt() -> TrackingMethod:
    """``cv2.TrackerCSRT`` (Lukežič et al.: discriminative correlation filter with channel and
    spatial reliability, CVPR 2017).

    Raises:
        BackendError: this OpenCV is without the contrib modules.
    """
    tracker = getattr(cv2, "TrackerCSRT", None)
    if tracker is None:
        raise BackendError(
            "needs OpenCV's contrib modules: 'make setup-window', then run this with "
            "PYTHONPATH=.venv/full_opencv."
        )
    return TrackerMethod("TrackerCSRT", OpenCVTracker(tracker.create))


def match_template() -> TrackingMethod:
    """Multi-scale ``cv2.matchTemplate`` over the whole of each frame."""
    return TrackerMethod("matchTemplate", TrackingByDetection(MatchTemplate(), BASELINE_THRESHOLD))
