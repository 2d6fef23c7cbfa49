"""How often a bundle finds an object in single frames, searched whole."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from benchmarks.recipes.tracked import RECALL_IOU
from refdet_core.bundle import load_bundle
from refdet_core.detector_config import DetectorConfig
from refdet_training.datasets.instance import Instance
from refdet_training.evaluation.bundle_detector import BundleDetector
from refdet_training.evaluation.detection_protocol import (
    DetectionProtocol,
    long_enough,
    run_protocol,
)


def found_share(
    bundle: Path, instances: Sequence[Instance], frames: int, config: DetectorConfig, label: str
) -> float | None:
    """Share of later frames in which the best answer has an IoU above
    :data:`~benchmarks.recipes.tracked.RECALL_IOU`; None if no instance has enough frames.

    Args:
        frames: of each instance, spread over its later ones.
    """
    protocol = DetectionProtocol(frames=frames, absent=0)
    kept, _ = long_enough(instances, protocol)
    detector = BundleDetector(load_bundle(bundle), replace(config, search="tiles"))
    try:
        found, _ = run_protocol(detector, kept, protocol, label)
    finally:
        detector.close()
    if not found:
        return None
    return sum(item.iou >= RECALL_IOU for item in found) / len(found)
