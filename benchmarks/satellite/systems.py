"""What is compared: networks of bundles, and the pixels themselves."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from refdet_core.backends import open_backend
from refdet_core.backends.config import BackendConfig
from refdet_core.bundle import load_bundle
from refdet_core.satellite.exemplars import Exemplar
from refdet_core.satellite.image_search import Hits, ImageSearch, SearchSettings, suppress
from refdet_core.satellite.raster import Raster
from refdet_core.satellite.windows import WindowPlan

EVERYTHING = SearchSettings(score_threshold=0.0)
Found = list[dict[str, Hits]]
"""For each draw of exemplars what was found, by image."""


def by_network(folder: Path, draws: Sequence[Sequence[Exemplar]], images: Sequence[Path]) -> Found:
    """All windows after non-maximum suppression, ranked by the bundle's network."""
    bundle = load_bundle(folder)
    found: Found = [{} for _ in draws]
    with open_backend("onnxruntime", bundle, BackendConfig(threads=1)) as backend:
        search = ImageSearch(backend, bundle, draws, EVERYTHING)
        for path in images:
            with Raster(path, bundle.bands) as raster:
                for own, hits in zip(found, search.search(raster), strict=True):
                    own[path.stem] = hits
    return found


def by_pixels(
    draws: Sequence[Sequence[Exemplar]], images: Sequence[Path], bands: Sequence[str], stride: int
) -> Found:
    """The same windows ranked by the cosine of their standardised pixels with the mean of the
    exemplars'."""
    chips = np.stack([item.chip for exemplars in draws for item in exemplars])
    window = chips.shape[-1]
    mean = chips.mean(axis=(0, 2, 3), keepdims=True)
    deviation = chips.std(axis=(0, 2, 3), keepdims=True)

    def embed(values: np.ndarray) -> np.ndarray:
        flat = ((values - mean) / deviation).reshape(len(values), -1)
        return flat / np.maximum(np.linalg.norm(flat, axis=1, keepdims=True), 1e-6)

    prototypes = [embed(np.stack([item.chip for item in own])).mean(axis=0) for own in draws]
    sides = np.array([item.side_px for exemplars in draws for item in exemplars])
    scale = window / float(np.exp(np.log(sides).mean()))
    found: Found = [{} for _ in draws]
    for path in images:
        with Raster(path, bands) as raster:
            plan = WindowPlan(raster.width, raster.height, scale, window, stride)
            parts: list[list[Hits]] = [[] for _ in draws]
            for block in plan.blocks():
                size = block.width_px, block.height_px
                values, _ = raster.read(block.left, block.top, block.width, block.height, size)
                pieces = np.stack(
                    [
                        values[:, y : y + window, x : x + window]
                        for y in range(0, block.rows * stride, stride)
                        for x in range(0, block.columns * stride, stride)
                    ]
                )
                scores = embed(pieces) @ np.stack(prototypes).T
                for own, column in zip(parts, scores.T, strict=True):
                    own.append(Hits(plan.boxes(block), column))
        for own, hits in zip(found, parts, strict=True):
            own[path.stem] = suppress(Hits.joined(hits), EVERYTHING.nms_iou)
    return found
