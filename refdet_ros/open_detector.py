"""Opens the configured detector, ready for its first frame."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from refdet_core.detector import DEFAULT_TEMPLATE_ID, Detector
from refdet_core.following_speed import follow_in_time
from refdet_core.search_bundle import AUTO
from refdet_core.search_plans import TRACKING_SEARCHES
from refdet_core.tracking_bundles import AUTO as AUTO_TRACKING
from refdet_core.types import Reference
from refdet_ros.parameters import Settings


def open_detector(settings: Settings) -> Detector:
    """Load the model, run it once, and choose how many networks follow. Building a TensorRT engine
    may take minutes.

    Raises:
        RefdetError: the model or the backend cannot be used.
    """
    detector = Detector.open(
        Path(settings.bundle or AUTO),
        settings.backend,
        settings.detector,
        settings.backend_config,
        settings.tracking_bundle,
    )
    try:
        warm_up(detector)
        if settings.tracking_bundle == AUTO_TRACKING:
            follow_in_time(detector)
    except Exception:
        detector.close()
        raise
    return detector


def warm_up(detector: Detector) -> None:
    """Run the network once on each kind of crop, because the first run is slower.

    Raises:
        RefdetError: the backend refuses one of them.
    """
    # With a separate detector, so that the first target of the real one gets the id 1.
    trial = Detector(detector.bundle, detector.backend, detector.config, others=detector.others)
    height, width = detector.config.tile_height, detector.config.tile_width
    frame = np.full((height, width, 3), 114, np.uint8)
    trial.set_template([Reference(frame[:64, :64])])
    trial.detect(frame)
    if detector.config.search in TRACKING_SEARCHES:
        trial.lock(DEFAULT_TEMPLATE_ID, (0, 0, 64, 64))
        trial.detect(frame, time_s=1.0)
        trial.detect(frame, time_s=10.0)  # unseen for long: the widest window
