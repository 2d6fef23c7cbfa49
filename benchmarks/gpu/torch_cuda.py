"""Step "torch": the torch backend on CUDA against ONNX Runtime, and what makes it fast."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from benchmarks.gpu.footage import Footage, read_footage
from benchmarks.gpu.looks import crops_of, differences, look, template_images, worst
from benchmarks.gpu.settings import Settings
from benchmarks.speed.section import Section
from benchmarks.speed.timing import interleaved
from refdet_core.backends import open_backend
from refdet_core.backends.base import Backend
from refdet_core.backends.config import BackendConfig
from refdet_core.bundle import SEARCH, Bundle

_PARITY_FRAMES = 6
_WINDOW, _TILE = "window", "tile"


def measure(settings: Settings) -> list[Section]:
    """Parity of fp32 and fp16, then the speed of templates and of each trick."""
    footage = read_footage(settings.footage)
    bundles = [item for item in settings.loaded(SEARCH) if item.torch_weights.is_file()]
    sections = [parity(bundles, footage)]
    for bundle in bundles:
        sections.append(templates(settings, bundle, footage))
        sections.append(tricks(settings, bundle, footage))
    return sections


def parity(bundles: list[Bundle], footage: Footage) -> Section:
    """The largest differences from ONNX Runtime on real frames."""
    rows: list[list[Any]] = []
    device = ""
    for bundle in bundles:
        images = template_images(bundle, footage.targets[0].references)
        for precision in _precisions():
            with (
                open_backend("torch", bundle, BackendConfig(precision)) as backend,
                open_backend("onnxruntime", bundle) as reference,
            ):
                device = backend.info.device
                found: dict[str, list[dict[str, float]]] = {}
                views = backend.encode_templates(images), reference.encode_templates(images)
                for frame_bgr in footage.frames[:_PARITY_FRAMES]:
                    for name, crops in crops_of(frame_bgr, bundle).items():
                        maps = look(backend, frame_bgr, crops, views[0])
                        expected = look(reference, frame_bgr, crops, views[1])
                        found.setdefault(name, []).append(differences(maps, expected))
            for name, items in found.items():
                most = worst(items)
                rows.append(
                    [bundle.name, precision, name, most["score"], most["presence"], most["box"]]
                )
    return Section(
        f"PyTorch on {device}: largest differences from ONNX Runtime, {footage.source}",
        ("bundle", "precision", "crops", "score", "presence", "box, share of side"),
        _small(rows),
        (f"{min(_PARITY_FRAMES, len(footage.frames))} frames; boxes where something is found.",),
    )


def templates(settings: Settings, bundle: Bundle, footage: Footage) -> Section:
    """The time of a tile and a window for some numbers of templates, kept or encoded again."""
    frame_bgr = footage.frames[0]
    crops = crops_of(frame_bgr, bundle)
    images = template_images(bundle, footage.targets[0].references[:1])
    precision = _precisions()[-1]
    cases: dict[str, Callable[[], object]] = {}
    with open_backend("torch", bundle, BackendConfig(precision)) as backend:

        def again(name: str, count: int) -> object:
            views = backend.encode_templates(np.repeat(images, count, axis=0))
            return look(backend, frame_bgr, crops[name], views)

        for count in settings.template_counts:
            kept = backend.encode_templates(np.repeat(images, count, axis=0))
            for name in (_TILE, _WINDOW):
                cases[f"{name} {count} kept"] = partial(look, backend, frame_bgr, crops[name], kept)
                cases[f"{name} {count} again"] = partial(again, name, count)
        timings = interleaved(cases, settings.rounds, max(10.0, settings.left_s / 8), warm_up=4)
    rows = [
        [count, *(timings[f"{name} {count} {how}"].median_ms for name, how in _COLUMNS)]
        for count in settings.template_counts
    ]
    return Section(
        f"PyTorch, {precision}, {bundle.name}: templates, kept on the device or encoded again",
        ("templates", *(f"{name} {how} ms" for name, how in _COLUMNS)),
        rows,
    )


_COLUMNS = [(name, how) for name in (_TILE, _WINDOW) for how in ("kept", "again")]


def tricks(settings: Settings, bundle: Bundle, footage: Footage) -> Section:
    """The same look with and without channels-last weights and CUDA graphs."""
    frame_bgr = footage.frames[0]
    crops = crops_of(frame_bgr, bundle)
    images = template_images(bundle, footage.targets[0].references[:1])
    cases: dict[str, Callable[[], object]] = {}
    opened: list[Backend[Any]] = []
    try:
        for precision in _precisions():
            for layout in ("channels-last", "as it comes"):
                for graphs in ("graphs", "no graphs"):
                    backend = _variant(bundle, precision, layout, graphs == "graphs")
                    opened.append(backend)
                    kept = backend.encode_templates(images)
                    for name in (_TILE, _WINDOW):
                        key = f"{precision}|{layout}|{graphs}|{name}"
                        cases[key] = partial(look, backend, frame_bgr, crops[name], kept)
        timings = interleaved(cases, settings.rounds, max(10.0, settings.left_s / 8), warm_up=4)
    finally:
        for backend in opened:
            backend.close()
    keys = dict.fromkeys(key.rpartition("|")[0] for key in cases)
    rows = [
        [*key.split("|"), *(timings[f"{key}|{name}"].median_ms for name in (_TILE, _WINDOW))]
        for key in keys
    ]
    return Section(
        f"PyTorch, {bundle.name}: memory layout and CUDA graphs",
        ("precision", "layout", "launches", "tile ms", "window ms"),
        rows,
        ("As it ships: channels-last, graphs.",),
    )


def _variant(bundle: Bundle, precision: str, layout: str, graphs: bool) -> Backend[Any]:
    """The backend without one of its optimisations; its settings do not offer that."""
    import torch

    from refdet_core.backends.torch import DEVICE, TorchBackend, load_network

    class AsItComes(TorchBackend):
        def _laid_out(self, images: torch.Tensor) -> torch.Tensor:
            return images.contiguous()

    plain = layout == "as it comes"
    backend = (AsItComes if plain else TorchBackend)(load_network(bundle), DEVICE, precision)
    if plain:
        backend._model = backend._model.to(memory_format=torch.contiguous_format)
    if not graphs:
        backend._replayed = None
    return backend


def on_gpu() -> bool:
    """Whether the backend would take a GPU."""
    from refdet_core.backends.torch import DEVICE

    return DEVICE.type == "cuda"


def _precisions() -> tuple[str, ...]:
    """The most precise one first."""
    from refdet_core.backends.torch import TorchBackend

    return tuple(sorted(TorchBackend.precisions, reverse=True))


def _small(rows: list[list[Any]]) -> list[list[Any]]:
    return [[f"{cell:.1e}" if isinstance(cell, float) else cell for cell in row] for row in rows]
