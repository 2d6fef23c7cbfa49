"""Step "trials": what must not go wrong with TensorRT: template changes, shapes, memory, damaged
engines."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import numpy as np

from benchmarks.gpu import engines
from benchmarks.gpu.footage import Footage, read_footage
from benchmarks.gpu.looks import crops_of, differences, look, template_images
from benchmarks.gpu.settings import Settings
from benchmarks.speed.section import Section
from refdet_core.backends import open_backend
from refdet_core.backends.config import BackendConfig
from refdet_core.bundle import Bundle
from refdet_core.errors import BackendError, OutOfMemoryError
from refdet_core.imaging import Crop

SWAPS = 1000
_SPARE_MB = 8  # other programs use the GPU, too
_SCORE_TOLERANCE = 0.03
_FILL_LEFT_MB = 24


class Bench:
    """What every trial uses."""

    def __init__(self, settings: Settings, footage: Footage, config: BackendConfig) -> None:
        self.settings, self.footage, self.config = settings, footage, config
        self.bundle: Bundle = settings.loaded()[-1 if len(settings.bundles) == 1 else 1]
        self.frame_bgr = footage.frames[0]
        self.images = template_images(self.bundle, footage.targets[0].references[:1])
        self.window = crops_of(self.frame_bgr, self.bundle)["window"]

    def open(self, opened: ExitStack, config: BackendConfig | None = None) -> Any:
        return opened.enter_context(open_backend("tensorrt", self.bundle, config or self.config))


def measure(settings: Settings) -> list[Section]:
    """Every trial by itself, with its result or what went wrong."""
    rows: list[list[Any]] = []
    config = engines.config_for(settings, engines.PRECISIONS[0])
    bench = Bench(settings, read_footage(settings.footage), config)
    for name, trial in TRIALS.items():
        began = time.monotonic()
        if settings.left_s <= 0:
            rows.append([name, "–", "not started, there was no time left", None])
            continue
        try:
            passed, text = trial(bench)
            verdict = "yes" if passed else "NO"
        except Exception as error:  # the other trials count, too
            verdict, text = "NO", f"{type(error).__name__}: {error}"
        rows.append([name, verdict, text, time.monotonic() - began])
    return [
        Section(
            f"TensorRT: trials with {bench.bundle.name}, {config.precision}",
            ("trial", "passed", "what was seen", "s"),
            rows,
        )
    ]


def free_bytes() -> int:
    """Free memory of the GPU."""
    from refdet_core.backends.cuda import Gpu

    with Gpu() as gpu, gpu.active():
        return gpu.memory.free


def swapping(bench: Bench) -> tuple[bool, str]:
    """A thousand new templates must take no memory."""
    with ExitStack() as opened:
        backend = bench.open(opened)
        for _ in range(10):
            views = backend.encode_templates(bench.images)
            look(backend, bench.frame_bgr, bench.window, views)
        before, began = free_bytes(), time.perf_counter()
        for _ in range(SWAPS):
            views = backend.encode_templates(bench.images)
        each_ms = 1e3 * (time.perf_counter() - began) / SWAPS
        look(backend, bench.frame_bgr, bench.window, views)
        taken_mb = (before - free_bytes()) / 2**20
    return (
        taken_mb <= _SPARE_MB,
        f"{SWAPS} templates: {taken_mb:.1f} MB taken, {each_ms:.2f} ms each",
    )


def replaying(bench: Bench) -> tuple[bool, str]:
    """The third look is replayed; another frame and template must still count."""
    from refdet_core.backends.cuda_driver import Graph

    launched = 0
    launch = Graph.launch

    def counted(graph: Graph, stream: int) -> None:
        nonlocal launched
        launched += 1
        launch(graph, stream)

    Graph.launch = counted  # type: ignore[method-assign]
    worst = 0.0
    try:
        with ExitStack() as opened:
            backend = bench.open(opened)
            reference = opened.enter_context(open_backend("onnxruntime", bench.bundle))
            for turn, frame_bgr in enumerate(bench.footage.frames[:6]):
                target = bench.footage.targets[turn % len(bench.footage.targets)]
                images = template_images(bench.bundle, target.references[:1])
                maps = [
                    look(one, frame_bgr, bench.window, one.encode_templates(images))
                    for one in (backend, reference)
                ]
                worst = max(worst, differences(*maps)["score"])
    finally:
        Graph.launch = launch  # type: ignore[method-assign]
    text = f"{launched} graphs replayed, scores differ by up to {worst:.1e}"
    return launched > 0 and worst <= _SCORE_TOLERANCE, text


def growing(bench: Bench) -> tuple[bool, str]:
    """Windows of every size in turn, as a lost target is looked for."""
    step, worst, sizes, slowest_ms = bench.bundle.frame_multiple, 0.0, [], 0.0
    longest = max(bench.config.engine_max_width, bench.config.engine_max_height)
    largest = min(2 * bench.window[0].out_width, longest)
    with ExitStack() as opened:
        backend = bench.open(opened)
        reference = opened.enter_context(open_backend("onnxruntime", bench.bundle))
        views = [one.encode_templates(bench.images) for one in (backend, reference)]
        for side in range(largest // 4 // step * step, largest + 1, max(step, largest // 8)):
            side = side // step * step
            crops = [Crop(100, 100, side, side, side, side)]
            began = time.perf_counter()
            found = look(backend, bench.frame_bgr, crops, views[0])
            slowest_ms = max(slowest_ms, 1e3 * (time.perf_counter() - began))
            expected = look(reference, bench.frame_bgr, crops, views[1])
            worst = max(worst, differences(found, expected)["score"])
            sizes.append(side)
    text = (
        f"windows of {sizes[0]} to {sizes[-1]} px, scores differ by up to {worst:.1e}; the slowest "
        f"first look at a size took {slowest_ms:.0f} ms"
    )
    return worst <= _SCORE_TOLERANCE, text


def too_many_views(bench: Bench) -> tuple[bool, str]:
    """A bank larger than the engine is refused; the old one still works."""
    with ExitStack() as opened:
        backend = bench.open(opened)
        view = backend.encode_templates(bench.images)
        before = look(backend, bench.frame_bgr, bench.window, view)
        try:
            backend.pack([view] * (bench.config.engine_max_views + 1))
        except BackendError as error:
            after = look(backend, bench.frame_bgr, bench.window, view)
            same = bool(np.allclose(before.score, after.score, atol=1e-3))
            return same, f"refused: {str(error)[:90]}…; the old bank still works: {same}"
    return False, "it was taken"


def out_of_memory(bench: Bench) -> tuple[bool, str]:
    """With a full device a bigger bank must fail clearly; the old one still works."""
    from refdet_core.backends.cuda import Gpu

    with ExitStack() as opened:
        backend = bench.open(opened)
        view = backend.encode_templates(bench.images)
        before = look(backend, bench.frame_bgr, bench.window, view)
        refused = ""
        with Gpu() as gpu, gpu.active():
            size = gpu.memory.free
            while size > _FILL_LEFT_MB << 20:  # in smaller and smaller pieces until nothing fits
                try:
                    gpu.allocate(size)
                except Exception:  # CUDA's own: active() translates it only where it ends
                    size //= 2
            try:
                side = 16 * bench.window[0].out_width
                huge = np.zeros((side, side, 3), np.uint8)
                held = [
                    backend.preprocess(huge, [Crop(0, 0, side, side, 64, 64)]) for _ in range(64)
                ]
                del held
            except OutOfMemoryError as error:
                refused = str(error)
        after = look(backend, bench.frame_bgr, bench.window, view)
        same = bool(np.allclose(before.score, after.score, atol=1e-3))
    text = refused[:120] if refused else "everything fitted, so this showed nothing"
    return bool(refused) and same, f"{text}; afterwards it works: {same}"


def damaged(bench: Bench) -> tuple[bool, str]:
    """A cut file, and one that is whole but no engine, are both built again."""
    folder = bench.settings.work / "damaged"
    small = replace(
        bench.config,
        engine_folder=str(folder),
        engine_max_tiles=1,
        engine_max_views=2,
        engine_max_width=min(384, bench.config.engine_max_width),
        engine_max_height=min(384, bench.config.engine_max_height),
    )
    seen = []
    for harm in ("cut", "foreign"):
        with ExitStack() as opened:
            bench.open(opened, small)
        for path in folder.glob("*.engine"):
            content = path.read_bytes()
            content = content[:1000] if harm == "cut" else b"no engine" * (len(content) // 9)
            path.write_bytes(content)
            if harm == "foreign":
                _claim(path.with_name(path.name + ".json"), content)
        began = time.monotonic()
        with ExitStack() as opened:
            backend = bench.open(opened, small)
            look(
                *(backend, bench.frame_bgr, bench.window),
                backend.encode_templates(bench.images),
            )
        seen.append(f"{harm}: built again in {time.monotonic() - began:.1f} s")
    return True, "; ".join(seen)


def _claim(sidecar: Any, content: bytes) -> None:
    """Let the JSON file vouch for the content."""
    facts = json.loads(sidecar.read_text(encoding="utf-8"))
    facts.update(sha256=hashlib.sha256(content).hexdigest(), size=len(content))
    sidecar.write_text(json.dumps(facts), encoding="utf-8")


TRIALS: dict[str, Callable[[Bench], tuple[bool, str]]] = {
    f"{SWAPS} template changes take no memory": swapping,
    "graphs are replayed, and results are new": replaying,
    "windows grow and shrink": growing,
    "more views than the engine takes": too_many_views,
    "out of memory": out_of_memory,
    "damaged and foreign engine files": damaged,
}
