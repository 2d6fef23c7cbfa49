"""Processor time of a pass over a frame; unlike wall time it is the same on a busy machine."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from benchmarks.search_scale.looks import SCALES, name_of, whole_frame
from refdet_core.detector import Detector
from refdet_core.frame_inference import NetworkSearchFrame
from refdet_training.datasets.instance import Instance

_OBJECTS = 3


def ms_per_megapixel(
    detector: Detector, instances: Sequence[Instance], file: Path
) -> Mapping[float, float]:
    """Milliseconds of one thread for a million network pixels, at each scale, for one object.

    Args:
        detector: of :func:`~benchmarks.search_scale.looks.open_detector`.
        file: where it is kept; read if it is there.
    """
    if file.is_file():
        return {float(scale): ms for scale, ms in json.loads(file.read_text()).items()}
    measured: dict[float, list[float]] = {scale: [] for scale in SCALES}
    for item in instances[:_OBJECTS]:
        frame_bgr = item.read(item.present[0])
        size = (frame_bgr.shape[1], frame_bgr.shape[0])
        for scale in SCALES:
            crops = whole_frame(size, scale, detector.bundle)
            seen = NetworkSearchFrame(
                detector.backend, detector.bundle, detector.bank, frame_bgr, 0.0
            )
            started = time.process_time()
            seen.infer(crops, [name_of(item)])
            passed_ms = (time.process_time() - started) * 1e3
            measured[scale].append(passed_ms / (scale**2 * size[0] * size[1] / 1e6))
    times = {scale: float(np.median(some)) for scale, some in measured.items()}
    file.write_text(json.dumps(times, indent=1))
    return times
