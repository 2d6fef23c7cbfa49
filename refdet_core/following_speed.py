"""Chooses how many networks follow a target, by how long a frame takes on this computer."""

from __future__ import annotations

import logging
import time
from dataclasses import replace

import cv2
import numpy as np

from refdet_core.detector import DEFAULT_TEMPLATE_ID, Detector
from refdet_core.refinement_rule import SEPARATOR
from refdet_core.types import Reference

LONGEST_S = 0.08
"""The shortest of several frames may take this long, so that most take less than 0.1 s. At fewer
than ten frames a second, more frames are worth more than more networks (docs/tracking.md)."""
_FRAMES = 6
_BETWEEN_S = 0.1  # the frames of a camera of 10 Hz: every network looks in each
_FRAME_SIZE = (1280, 720)
_BOX_XYXY = (600.0, 320.0, 664.0, 384.0)
_LOG = logging.getLogger(__name__)


def follow_in_time(detector: Detector, longest_s: float = LONGEST_S) -> None:
    """Let fewer networks follow targets if a followed frame takes longer than this.

    The first-named stops first, because the released ones are named from the slowest to the
    fastest; the last one always follows. Those that stop still compare candidates with the
    references. Templates and tracks stay. It does not matter which search is set: that may change.

    Raises:
        RefdetError: the backend refuses the trial.
    """
    following = [network.bundle.name for network in detector.others if network.follows]
    if len(following) < 2:
        return
    frame_bgr = _landscape()
    # With a separate detector, so that the real one keeps its templates and tracks.
    config = replace(detector.config, search="track")
    trial = Detector(detector.bundle, detector.backend, config, others=detector.others)
    trial.set_template([Reference(frame_bgr, _BOX_XYXY)])
    while len(following) > 1:
        took_s = followed_frame_s(trial, frame_bgr)
        if took_s <= longest_s:
            return
        _LOG.info(
            "A followed frame takes %.0f ms with %s: %s no longer follows, so that fewer frames "
            "are missed. To keep it, set tracking_bundle to %s.",
            took_s * 1e3,
            ", ".join(following),
            following[0],
            SEPARATOR.join(following),
        )
        following = following[1:]
        trial.follow_with(following)
        detector.follow_with(following)


def followed_frame_s(trial: Detector, frame_bgr: np.ndarray) -> float:
    """Seconds that a frame with its one target in sight takes: the shortest of several, because the
    computer may be busy with something else."""
    trial.lock(DEFAULT_TEMPLATE_ID, _BOX_XYXY)
    times_s = []
    for number in range(1 + _FRAMES):
        started = time.perf_counter()
        trial.detect(frame_bgr, time_s=number * _BETWEEN_S)
        times_s.append(time.perf_counter() - started)
    return min(times_s[1:])  # the first run of a network is slower


def _landscape() -> np.ndarray:
    """A frame in which every place looks different, so that all networks find the target again."""
    width, height = _FRAME_SIZE
    patches = np.random.default_rng(0).integers(0, 255, (height // 16, width // 16, 3), np.uint8)
    return cv2.resize(patches, _FRAME_SIZE, interpolation=cv2.INTER_CUBIC)
