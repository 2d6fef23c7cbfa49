"""Step "tensorrt": engines of the released bundles: built, compared, timed."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from typing import Any

from benchmarks.gpu.footage import Footage, read_footage
from benchmarks.gpu.looks import crops_of, differences, look, template_images, worst
from benchmarks.gpu.settings import Settings
from benchmarks.speed.section import Section
from benchmarks.speed.timing import interleaved
from refdet_core.backends import open_backend
from refdet_core.backends.base import Backend
from refdet_core.backends.config import BackendConfig
from refdet_core.bundle import Bundle
from refdet_core.errors import RefdetError

PRECISIONS = ("fp16", "fp32", "int8")
_PARITY_FRAMES = 6
_LEAST_S = 120.0  # with less time left no engine is started: other steps follow
_WORKSPACE_MB = 4096  # RTX needs more than a Jetson has to spare


def config_for(settings: Settings, precision: str) -> BackendConfig:
    """The settings of all engines of a run, which share one folder."""
    return BackendConfig(
        precision,
        engine_folder=str(settings.work / "engines"),
        engine_workspace_mb=_WORKSPACE_MB,
        engine_calibration=str(settings.footage) if precision == "int8" else "",
    )


def measure(settings: Settings) -> list[Section]:
    """Every bundle in every precision as long as there is time, then their speed."""
    footage = read_footage(settings.footage)
    rows: list[list[Any]] = []
    notes: list[str] = []
    kept: dict[str, Any] = {}
    speeds: list[list[Any]] = []
    for precision in PRECISIONS:
        for bundle in settings.loaded():
            label = f"{bundle.name} {precision}"
            if settings.left_s < _LEAST_S:
                notes.append(f"{label}: not built, there was no time left.")
                continue
            try:
                facts, parity = built(settings, bundle, precision, footage)
            except RefdetError as error:
                notes.append(f"{label}: {error}")
                continue
            except Exception as error:  # the other engines count, too
                notes.append(f"{label}: {type(error).__name__}: {error}")
                continue
            kept[label] = facts.pop("kept_operators")
            rows.append([bundle.name, precision, *facts.values(), *_scientific(parity)])
    for bundle in settings.loaded():
        speeds += speed(settings, bundle, footage, notes)
    return [
        Section(
            f"TensorRT engines, against ONNX Runtime on {footage.source}",
            (
                *("bundle", "precision", "TensorRT", "template build s", "detector build s"),
                *("MB", "operators kept in fp32", "opened again s", "GPU memory MB"),
                *("score", "presence", "box, share of side"),
            ),
            rows,
            notes,
            numbers={"kept_operators": kept},
        ),
        Section(
            "TensorRT: one look, crops cut on the GPU, the template kept there",
            ("bundle", "precision", "crops", "ms", "95 % ms"),
            speeds,
        ),
    ]


def built(
    settings: Settings, bundle: Bundle, precision: str, footage: Footage
) -> tuple[dict[str, Any], dict[str, float]]:
    """Build a bundle's engines; returns facts about them, and the worst differences."""
    from refdet_core.backends.cuda import Gpu
    from refdet_core.backends.engines.cache import ready_engines

    config = config_for(settings, precision)
    engines = ready_engines(bundle, config, precision)
    with Gpu() as gpu, gpu.active():
        free = gpu.memory.free
        began = time.monotonic()
        with ExitStack() as opened:
            backend = opened.enter_context(open_backend("tensorrt", bundle, config))
            open_s = time.monotonic() - began
            reference = opened.enter_context(open_backend("onnxruntime", bundle))
            images = template_images(bundle, footage.targets[0].references)
            views = backend.encode_templates(images), reference.encode_templates(images)
            found = [
                differences(
                    look(backend, frame_bgr, crops, views[0]),
                    look(reference, frame_bgr, crops, views[1]),
                )
                for frame_bgr in footage.frames[:_PARITY_FRAMES]
                for crops in crops_of(frame_bgr, bundle).values()
            ]
            memory_mb = (free - gpu.memory.free) / 1e6
            version = backend.info.version
    operators = engines.sidecars[1]["kept_operators"]
    facts = {
        "version": version,
        "template_build_s": engines.sidecars[0]["build_s"],
        "detector_build_s": engines.sidecars[1]["build_s"],
        "mb": (len(engines.template_encoder) + len(engines.detector)) / 1e6,
        "kept": sum(item["precision"] == "fp32" for item in operators),
        "open_s": open_s,
        "memory_mb": memory_mb,
        "kept_operators": operators,
    }
    return facts, worst(found)


def speed(
    settings: Settings, bundle: Bundle, footage: Footage, notes: list[str]
) -> list[list[Any]]:
    """A tile, tiles and a window in every precision that was built, in turns."""
    frame_bgr = footage.frames[0]
    cases: dict[str, Callable[[], object]] = {}
    with ExitStack() as opened:
        for precision in PRECISIONS:
            config = config_for(settings, precision)
            if not _is_there(settings, bundle, precision):
                continue
            try:
                backend: Backend[Any] = opened.enter_context(
                    open_backend("tensorrt", bundle, config)
                )
                images = template_images(bundle, footage.targets[0].references[:1])
                views = backend.encode_templates(images)
            except RefdetError as error:
                notes.append(f"{bundle.name} {precision}, speed: {error}")
                continue
            for name, crops in crops_of(frame_bgr, bundle).items():
                cases[f"{precision}|{name}"] = partial(look, backend, frame_bgr, crops, views)
        if not cases:
            return []
        timings = interleaved(cases, settings.rounds, max(5.0, settings.left_s / 16), warm_up=3)
    return [
        [bundle.name, *key.split("|"), timing.median_ms, timing.p95_ms]
        for key, timing in timings.items()
    ]


def _is_there(settings: Settings, bundle: Bundle, precision: str) -> bool:
    from refdet_core.backends.engines.cache import engines_there

    try:
        return engines_there(bundle, config_for(settings, precision), precision)
    except RefdetError:
        return False


def _scientific(parity: dict[str, float]) -> list[str]:
    return [f"{value:.1e}" for value in parity.values()]
