"""refdet in three ways: with the first box, with photos only, and frame by frame."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from benchmarks.tracking.methods import (
    Answer,
    BoxMethod,
    PhotoMethod,
    TrackerMethod,
    TrackingMethod,
)
from refdet_core.bundle import load_bundle
from refdet_core.detector import DEFAULT_TEMPLATE_ID, Detector
from refdet_core.detector_config import DetectorConfig
from refdet_core.following_speed import LONGEST_S, follow_in_time
from refdet_core.refinement_rule import SEPARATOR
from refdet_core.tracking_bundles import AUTO
from refdet_core.types import BoxXYXY, Reference
from refdet_training.evaluation.bundle_detector import BundleDetector
from refdet_training.evaluation.following import begin_anew, trackers_alone
from refdet_training.evaluation.tracking_protocol import TrackingByDetection

IN_TIME = "in-time"


class RefdetTrack(BoxMethod):
    """The detector with the search plan ``track``, locked to the first box.

    Args:
        bundle: folder; None: the released one.
        config: all settings but the search plan.
        tracking_bundle: what follows in the window, see :meth:`Detector.open`.
        name: in the tables.

    Raises:
        RefdetError: the bundle or a setting cannot be used.
    """

    def __init__(
        self,
        bundle: Path | None,
        config: DetectorConfig,
        tracking_bundle: str = AUTO,
        name: str = "refdet track",
    ) -> None:
        self.name = name
        self.detector = Detector.open(
            bundle, config=replace(config, search="track"), tracking_bundle=tracking_bundle
        )

    def start(self, frame_bgr: np.ndarray, box_xyxy: BoxXYXY) -> None:
        begin_anew(self.detector, [Reference(frame_bgr, box_xyxy, same_camera=True)])
        self.detector.lock(DEFAULT_TEMPLATE_ID, box_xyxy)
        self.detector.detect(frame_bgr, time_s=0.0)

    def update(self, frame_bgr: np.ndarray, time_s: float) -> Answer:
        return _detect(self.detector, frame_bgr, time_s)

    def close(self) -> None:
        self.detector.close()


class RefdetAuto(PhotoMethod):
    """The detector with the search plan ``auto``; arguments as :class:`RefdetTrack`."""

    name = "refdet auto"

    def __init__(
        self, bundle: Path | None, config: DetectorConfig, tracking_bundle: str = AUTO
    ) -> None:
        self.detector = Detector.open(
            bundle, config=replace(config, search="auto"), tracking_bundle=tracking_bundle
        )

    def start(self, photos: Sequence[Reference]) -> None:
        begin_anew(self.detector, photos)

    def update(self, frame_bgr: np.ndarray, time_s: float) -> Answer:
        return _detect(self.detector, frame_bgr, time_s)

    def close(self) -> None:
        self.detector.close()


def with_followers(
    method: RefdetTrack | RefdetAuto, followers: str, slowness: float
) -> RefdetTrack | RefdetAuto:
    """The method with only some of its networks following; the others compare.

    Args:
        followers: their names, joined by ``+``; :data:`IN_TIME`: as many as the node would take on
            a computer that is so many times slower; empty: all.

    Raises:
        ConfigError: there is no such network.
    """
    if followers == IN_TIME:
        follow_in_time(method.detector, LONGEST_S / slowness)
    elif followers:
        method.detector.follow_with(followers.split(SEPARATOR))
    return method


def published(names: str) -> TrackingMethod:
    """Published trackers alone, as their authors publish them: a box in every frame.

    Args:
        names: their bundles, joined by ``+``.

    Raises:
        RefdetError: there is no such bundle.
    """
    return RefdetTrack(*trackers_alone(names), names)


def refdet_tiles(bundle: Path | None, config: DetectorConfig) -> TrackingMethod:
    """Every frame searched on its own with the plan ``tiles``, the first box as reference.

    Raises:
        RefdetError: the bundle or a setting cannot be used.
    """
    detector = BundleDetector(load_bundle(bundle), replace(config, search="tiles"))
    tracker = TrackingByDetection(detector, detector.threshold)
    return TrackerMethod("refdet tiles", tracker, detector.close)


def _detect(detector: Detector, frame_bgr: np.ndarray, time_s: float) -> Answer:
    result = detector.detect(frame_bgr, time_s=time_s)
    target = result.targets.get(DEFAULT_TEMPLATE_ID)
    state = target.state if target is not None else ""
    if not result.detections:
        return Answer(None, result.presence.get(DEFAULT_TEMPLATE_ID), state)
    best = result.detections[0]
    return Answer(best.bbox_xyxy, best.score, state)
