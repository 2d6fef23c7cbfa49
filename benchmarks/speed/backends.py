"""The backends side by side: the same crops and templates through each available one."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from typing import Any

import numpy as np

from benchmarks.speed.scene import object_boxes, textured_frame, tiles_of
from benchmarks.speed.section import Chart, Section
from benchmarks.speed.settings import Settings
from benchmarks.speed.timing import interleaved
from refdet_core.backends import BACKEND_NAMES, open_backend
from refdet_core.backends.base import Backend
from refdet_core.errors import RefdetError
from refdet_core.imaging import Crop
from refdet_core.templates import encode_references
from refdet_core.types import Reference

WINDOW_PX = 192
_WORKS = ("tile", "window", "template")


def measure(settings: Settings) -> Section:
    """Cutting and running a tile, a search window, and encoding a template."""
    bundle = settings.bundle
    frame_bgr = textured_frame(settings.frame_size)
    reference = Reference(frame_bgr, object_boxes(settings.frame_size, 1)[0])
    side = bundle.frame_side(WINDOW_PX)
    crops = {
        "tile": tiles_of(settings.frame_size, bundle)[0],
        "window": Crop(0, 0, side, side, side, side),
    }
    notes: list[str] = []
    cases: dict[str, Callable[[], object]] = {}
    scores: dict[str, np.ndarray] = {}
    titles: dict[str, tuple[str, str, str]] = {}
    with ExitStack() as opened:
        for name in BACKEND_NAMES[1:]:  # the first is "auto"
            try:
                backend: Backend[Any] = opened.enter_context(
                    open_backend(name, bundle, settings.backend_config)
                )
                features = encode_references(backend, bundle, [reference])[0]
                for work, crop in crops.items():
                    query = partial(_look, backend, frame_bgr, crop, features)
                    cases[f"{name} {work}"] = query
                    if work == "tile":
                        scores[name] = np.array(query().score)
            except RefdetError as error:
                notes.append(f"{name} is not measured: {error}")
                continue
            cases[f"{name} template"] = partial(encode_references, backend, bundle, [reference])
            info = backend.info
            titles[name] = (info.version, info.device, info.precision)
        timings = interleaved(
            {key: case for key, case in cases.items() if key.split()[0] in titles},
            settings.rounds,
            settings.budget_s,
            warm_up=2,
        )
    first = next(iter(titles))
    rows: list[list[Any]] = []
    for name, title in titles.items():
        ms = [timings[f"{name} {work}"].median_ms for work in _WORKS]
        ratio = ms[0] / timings[f"{first} tile"].median_ms
        differs = float(np.abs(scores[name] - scores[first]).max())
        rows.append([name, *title, *ms, ratio, differs])
    tile = crops["tile"]
    return Section(
        f"Backends: a {tile.out_width}x{tile.out_height} tile, a {side}x{side} window, a template",
        (
            *("backend", "version", "device", "precision", "tile ms", "window ms", "template ms"),
            *(f"tile to {first}", f"largest difference of scores to {first}"),
        ),
        rows,
        notes,
        Chart(
            "bars",
            "ms",
            {
                name: [(work, timings[f"{name} {work}"].median_ms) for work in _WORKS]
                for name in titles
            },
        ),
    )


def _look(backend: Backend[Any], frame_bgr: np.ndarray, crop: Crop, features: Any) -> Any:
    return backend.infer(backend.preprocess(frame_bgr, [crop]), features)
