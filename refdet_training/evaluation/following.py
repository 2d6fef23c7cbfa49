"""The detector as a tracker under evaluation: it follows a target from frame to frame."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from refdet_core.bundle import BUNDLES_FOLDER
from refdet_core.detector import DEFAULT_TEMPLATE_ID, Detector
from refdet_core.detector_config import DetectorConfig
from refdet_core.refinement_rule import SEPARATOR
from refdet_core.search.track_state import LONGEST_S
from refdet_core.tracking_bundles import AUTO, NONE
from refdet_core.types import BoxXYXY, Reference
from refdet_training.evaluation.tracking_protocol import Tracker

TRACK, AUTOMATIC = "track", "auto"
_STUBBORN = DetectorConfig(track_persistence="stubborn", track_verify_s=LONGEST_S)


class FollowingDetector(Tracker):
    """The detector with one of the searches that follow.

    Args:
        bundle: the search network; None: the released one.
        search: ``track`` starts from the first box; ``auto`` gets the first frame's object as a
            photo, and has to find it.
        fps: of the videos, frames a second.
        config: all other settings.
        tracking_bundle: what follows in the window, see :meth:`Detector.open`.

    Raises:
        RefdetError: a bundle or a setting cannot be used.
    """

    def __init__(
        self,
        bundle: Path | None,
        search: str,
        fps: float,
        config: DetectorConfig,
        tracking_bundle: str = AUTO,
    ) -> None:
        self._from_box = search == TRACK
        self._fps, self._number = fps, 0
        self._detector = Detector.open(
            bundle, config=replace(config, search=search), tracking_bundle=tracking_bundle
        )

    def start(self, frame_bgr: np.ndarray, box_xyxy: BoxXYXY) -> None:
        photo = Reference(frame_bgr, box_xyxy, same_camera=self._from_box)
        begin_anew(self._detector, [photo])
        if self._from_box:
            self._detector.lock(DEFAULT_TEMPLATE_ID, box_xyxy)
        self._number = 0
        self._detector.detect(frame_bgr, time_s=0.0)

    def update(self, frame_bgr: np.ndarray) -> tuple[BoxXYXY | None, float | None]:
        self._number += 1
        result = self._detector.detect(frame_bgr, time_s=self._number / self._fps)
        if not result.detections:
            return None, result.presence.get(DEFAULT_TEMPLATE_ID)
        best = result.detections[0]
        return best.bbox_xyxy, best.score

    def close(self) -> None:
        """Release the backends."""
        self._detector.close()


def begin_anew(detector: Detector, references: Sequence[Reference]) -> None:
    """Give the detector a new object; nothing is left of the previous one."""
    # Clearing first drops the track of the previous object; replacing could keep it.
    if detector.bank.templates:
        detector.clear_template()
    detector.set_template(references)


def trackers_alone(names: str) -> tuple[Path, DetectorConfig, str]:
    """Search bundle, settings and tracking bundle of published trackers alone, as their authors
    publish them: a box in every frame.

    Args:
        names: of their bundles, joined by ``+``; the first one also stands for the search network,
            which is not asked.
    """
    first = BUNDLES_FOLDER / names.split(SEPARATOR)[0]
    return first, _STUBBORN, names if SEPARATOR in names else NONE
