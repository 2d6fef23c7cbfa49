"""Crops that searches ask for, and how far the maps of two backends are apart."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from benchmarks.speed.scene import tiles_of
from refdet_core.backends.base import Backend
from refdet_core.bundle import TRACK, Bundle
from refdet_core.imaging import Crop, extract, to_blob
from refdet_core.types import RawMaps, Reference

_FOUND_SHARE, _LEAST_SIDE_PX = 0.5, 8.0


def crops_of(frame_bgr: np.ndarray, bundle: Bundle) -> dict[str, list[Crop]]:
    """By name: the tiles of a native search, one of them, and a search window; a bundle that only
    tracks has windows alone."""
    size = frame_bgr.shape[1], frame_bgr.shape[0]
    side = bundle.tracking.window.size
    x, y = (size[0] - side) // 2, (size[1] - side) // 2
    window = {"window": [Crop(x, y, side, side, side, side)]}
    if bundle.purposes == (TRACK,):
        return window
    tiles = tiles_of(size, bundle)
    half = [  # the same tiles at half the size, so that a batch is looked at
        Crop(tile.x, tile.y, tile.width, tile.height, *_half(tile, bundle.frame_multiple))
        for tile in tiles * 2
    ]
    return {"tile": tiles[:1], "two tiles": half[:2], **window}


def _half(tile: Crop, step: int) -> tuple[int, int]:
    return tile.out_width // 2 // step * step, tile.out_height // 2 // step * step


def template_images(bundle: Bundle, references: Sequence[Reference]) -> np.ndarray:
    """Input of the template encoder, ``(N, 3, Ht, Wt)``."""
    return to_blob(
        [
            extract(item.image_bgr, bundle.template_crop.around(item.roi_xyxy or (0, 0, 1, 1)))
            for item in references
        ]
    )


def look(backend: Backend[Any], frame_bgr: np.ndarray, crops: Sequence[Crop], features: Any) -> Any:
    """One look of a backend: cut, run, fetch."""
    return backend.infer(backend.preprocess(frame_bgr, crops), features)


def differences(found: RawMaps, expected: RawMaps) -> dict[str, float]:
    """The largest difference of scores and presence, and of boxes where something is found, as a
    share of their side."""
    box = expected.box
    side = np.maximum(box[:, :, 2:] - box[:, :, :2], _LEAST_SIDE_PX).mean(axis=2)
    error = np.abs(found.box - box).max(axis=2) / side
    best = expected.score.max(axis=(2, 3), keepdims=True)
    return {
        "score": float(np.abs(found.score - expected.score).max()),
        "presence": float(np.abs(found.presence - expected.presence).max()),
        "box": float(error[expected.score >= _FOUND_SHARE * best].max()),
    }


def worst(items: Sequence[dict[str, float]]) -> dict[str, float]:
    """The largest of each difference; NaN stays."""
    return {name: float(np.max([item[name] for item in items])) for name in items[0]}
