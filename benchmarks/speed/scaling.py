"""The cost of more templates, more tracked targets, larger frames, and more tiles."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from benchmarks.speed.graph_cost import open_session
from benchmarks.speed.scene import (
    TILES,
    TRACK,
    follow,
    object_boxes,
    set_templates,
    textured_frame,
    tiles_of,
)
from benchmarks.speed.section import Chart, Section
from benchmarks.speed.settings import Settings
from benchmarks.speed.timing import interleaved
from refdet_core.backends import open_backend
from refdet_core.detector import Detector
from refdet_core.detector_config import DetectorConfig
from refdet_core.imaging import Crop
from refdet_core.templates import encode_references
from refdet_core.types import TRACKING, Reference

COUNTS = (1, 2, 5, 10, 20)
FRAME_SIZES = ((640, 480), (1280, 720), (1920, 1080), (2560, 1440), (3840, 2160))
TILE_COUNTS = (1, 2, 5, 10, 20, 40)
TILE_PX = 320


def templates(settings: Settings) -> Section:
    """Templates encoded once against templates encoded for every frame; tracked targets."""
    frame_bgr = textured_frame(settings.frame_size)
    cases: dict[str, Callable[[], object]] = {}
    with ExitStack() as opened:

        def ready(config: DetectorConfig) -> Detector:
            return opened.enter_context(settings.open(config))

        for count in COUNTS:
            cached, following = ready(TILES), ready(TRACK)
            boxes = set_templates(cached, frame_bgr, count)
            references = [Reference(frame_bgr, box_xyxy) for box_xyxy in boxes]
            follow(following, frame_bgr, count)
            cases[f"cached {count}"] = partial(cached.detect, frame_bgr)
            cases[f"encoded {count}"] = partial(_encode_and_detect, cached, frame_bgr, references)
            cases[f"followed {count}"] = partial(following.detect, frame_bgr)
        best_view = ready(replace(TILES, reference_pooling="best_view"))
        set_templates(best_view, frame_bgr, 1, references=5)
        with_heatmap = ready(TILES)
        set_templates(with_heatmap, frame_bgr, 1)
        cases["five references"] = partial(best_view.detect, frame_bgr)
        cases["heatmap"] = partial(with_heatmap.detect, frame_bgr, heatmaps=True)
        timings = interleaved(cases, settings.rounds, settings.budget_s, warm_up=2)
        states = {target.state for target in following.detect(frame_bgr).targets.values()}
    ms = {name: timing.median_ms for name, timing in timings.items()}
    one = ms["cached 1"]
    rows: list[list[Any]] = [
        [
            count,
            ms[f"cached {count}"],
            ms[f"cached {count}"] / one,
            ms[f"encoded {count}"],
            ms[f"encoded {count}"] / ms[f"cached {count}"],
            ms[f"followed {count}"],
        ]
        for count in COUNTS
    ]
    notes = [
        "One template with the best of five references instead of one: {:.2f} times the time; with "
        "its heatmap: "
        "{:.2f} times.".format(ms["five references"] / one, ms["heatmap"] / one)
    ]
    if states != {TRACKING}:
        notes.append("Not all targets were followed to the end: the last column is too low.")
    series = {
        "cached": [(count, ms[f"cached {count}"]) for count in COUNTS],
        "encoded for every frame": [(count, ms[f"encoded {count}"]) for count in COUNTS],
        "followed": [(count, ms[f"followed {count}"]) for count in COUNTS],
    }
    return Section(
        "Templates: encoded once, encoded for every frame, followed in windows",
        ("templates", "cached ms", "to one", "encoded ms", "to cached", "followed ms"),
        rows,
        notes,
        Chart("lines", "ms a frame", series, "templates"),
    )


def frame_sizes(settings: Settings) -> Section:
    """The search ``tiles`` on increasingly large frames."""
    sizes = [size for size in FRAME_SIZES if _pixels(size) <= _pixels(settings.largest_frame)]
    cases: dict[str, Callable[[], object]] = {}
    rows: list[list[Any]] = []
    bundle = settings.bundle
    with ExitStack() as opened:
        for size in sizes:
            frame_bgr = textured_frame(size)
            detector = opened.enter_context(settings.open(TILES))
            set_templates(detector, frame_bgr, 1)
            cases[_text(size)] = partial(detector.detect, frame_bgr)
            crops = tiles_of(size, bundle)
            rows.append([_text(size), len(crops), _text((crops[0].out_width, crops[0].out_height))])
        timings = interleaved(cases, settings.rounds, settings.budget_s)
    for size, row in zip(sizes, rows):
        ms = timings[row[0]].median_ms
        row += [ms, ms / _pixels(size) * 1e6, 1e3 / ms]
    return Section(
        "Frame sizes, searched whole in tiles, one template",
        ("frame", "tiles", "tile in the network", "ms", "ms a megapixel", "frames a second"),
        rows,
        chart=Chart(
            "lines",
            "ms a frame",
            {"tiles": [(_pixels(size) / 1e6, row[3]) for size, row in zip(sizes, rows)]},
            "megapixels",
        ),
    )


def tiles(settings: Settings) -> Section:
    """Many tiles: in one run of the graph, in the backend's batches, and one by one."""
    bundle = settings.bundle
    side = bundle.frame_side(TILE_PX)
    frame_bgr = textured_frame((side, side))
    crop = Crop(0, 0, side, side, side, side)
    cases: dict[str, Callable[[], object]] = {}
    counts = [count for count in TILE_COUNTS if count <= settings.most_tiles]
    with open_backend(settings.backend, bundle, settings.backend_config) as backend:
        reference = Reference(frame_bgr, object_boxes((side, side), 1)[0])
        features = encode_references(backend, bundle, [reference])[0]

        def together(count: int) -> None:
            backend.infer(backend.preprocess(frame_bgr, [crop] * count), features)

        def one_by_one(count: int) -> None:
            for _ in range(count):
                together(1)

        for count in counts:
            cases[f"backend {count}"] = partial(together, count)
            cases[f"single {count}"] = partial(one_by_one, count)
        if backend.info.name == "onnxruntime":
            session = open_session(bundle.detector_graph, settings.threads)
            kernels = dict(zip(bundle.kernel_names, features))

            def one_run(count: int) -> None:
                frames = backend.preprocess(frame_bgr, [crop] * count)
                session.run(None, dict(kernels, frame=frames))

            for count in counts:
                cases[f"graph {count}"] = partial(one_run, count)
        timings = interleaved(cases, settings.rounds, settings.budget_s)
    ms = {name: timing.median_ms for name, timing in timings.items()}
    ways = {"backend": "as the backend does", "single": "one by one", "graph": "all in one run"}
    return Section(
        f"Tiles of {side}x{side} at once",
        ("tiles", *(f"ms a tile, {way}" for way in ways.values())),
        [
            [
                count,
                *(ms[f"{way} {count}"] / count if f"{way} {count}" in ms else None for way in ways),
            ]
            for count in counts
        ],
        chart=Chart(
            "lines",
            "ms a tile",
            {
                name: [
                    (count, ms[f"{way} {count}"] / count)
                    for count in counts
                    if f"{way} {count}" in ms
                ]
                for way, name in ways.items()
            },
            "tiles",
        ),
    )


def _encode_and_detect(
    detector: Detector, frame_bgr: np.ndarray, references: Sequence[Reference]
) -> None:
    encode_references(detector.backend, detector.bundle, references)
    detector.detect(frame_bgr)


def _pixels(size: tuple[int, int]) -> int:
    return size[0] * size[1]


def _text(size: tuple[int, int]) -> str:
    return f"{size[0]}x{size[1]}"
