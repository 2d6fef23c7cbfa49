"""How much faster a large image is searched in one pass than window by window."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from refdet_core.backends import open_backend
from refdet_core.backends.config import BackendConfig
from refdet_core.bundle import load_bundle
from refdet_core.satellite.exemplars import Exemplar
from refdet_core.satellite.image_search import CHIPS, DENSE, ImageSearch, SearchSettings
from refdet_core.satellite.windows import WindowPlan

_SIDE_PX = 512
_ROUNDS = 3


@dataclass(frozen=True)
class EvaluationSpeed:
    """Both ways on the same block.

    Attributes:
        windows: how many it has.
        chips_ms, dense_ms: least time of all windows.
        difference: largest between their probabilities.
    """

    windows: int
    chips_ms: float
    dense_ms: float
    difference: float


def evaluation_speed(folder: Path) -> EvaluationSpeed | None:
    """Measure a bundle in ONNX Runtime on one thread; None: its network allows no dense pass."""
    bundle = load_bundle(folder)
    if not bundle.dense:
        return None
    generator = np.random.default_rng(0)
    bands, window = len(bundle.bands), bundle.template_size
    values = generator.uniform(0, 255, (bands, _SIDE_PX, _SIDE_PX)).astype(np.float32)
    exemplar = Exemplar("random", values[:, :window, :window], float(window))
    plan = WindowPlan(_SIDE_PX, _SIDE_PX, 1.0, window, round(bundle.stride))
    (block,) = plan.blocks()
    times: dict[str, float] = {}
    scores: dict[str, np.ndarray] = {}
    with open_backend("onnxruntime", bundle, BackendConfig(threads=1)) as backend:
        for way in (CHIPS, DENSE):
            search = ImageSearch(backend, bundle, [[exemplar]], SearchSettings(0.0, evaluation=way))
            times[way] = np.inf
            for _ in range(_ROUNDS):
                started = time.perf_counter()
                scores[way] = search.scores(values, block)
                times[way] = min(times[way], (time.perf_counter() - started) * 1e3)
    difference = float(np.abs(scores[CHIPS] - scores[DENSE]).max())
    return EvaluationSpeed(plan.window_count, times[CHIPS], times[DENSE], difference)
