"""Step "crops": the kernel that cuts crops on the GPU, against OpenCV on real frames."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

import refdet_core.backends
from benchmarks.gpu.footage import read_footage
from benchmarks.gpu.settings import Settings
from benchmarks.speed.section import Section, skipped
from benchmarks.speed.timing import interleaved
from refdet_core.imaging import Crop, extract, letterbox, to_blob
from refdet_core.nvcc import find_nvcc

SOURCES = sorted(Path(refdet_core.backends.__file__).parent.glob("*.cu"))
_PARITY_FRAMES = 8
_CUTS = 50  # in one timed run, because a single one is shorter than a clock's step


def crops_of(frame_bgr: np.ndarray) -> dict[str, list[Crop]]:
    """As searches ask for them, over the border and at every scale."""
    height, width = frame_bgr.shape[:2]
    middle, centre = width // 2, height // 2
    native = Crop(0, 0, min(width, 1280), min(height, 736), 1280, 736)
    return {
        "tile at 0.84": [Crop(0, 0, 1280, 726, 1072, 608)],
        "four native tiles": [native] * 4,
        "window enlarged": [Crop(middle, centre, 150, 150, 192, 192)],
        "five windows over the corner": [Crop(-60, -60, 100 + 80 * n, 100 + 80 * n, 192, 192)
                                         for n in range(5)],
        "window shrunk": [Crop(width // 4, 0, height, height, 192, 192)],
        "letterbox": [letterbox((width, height), (640, 368))],
    }  # fmt: skip


def measure(settings: Settings) -> list[Section]:
    """The largest difference in grey levels, and times."""
    from refdet_core.backends.cuda import PACKAGE, Gpu
    from refdet_core.backends.gpu_crops import PIXEL_TOLERANCE, GpuCropper

    footage = read_footage(settings.footage)
    largest: dict[str, float] = {}
    with ExitStack() as opened:
        gpu = opened.enter_context(Gpu())
        opened.enter_context(gpu.active())
        cropper = GpuCropper(gpu)
        room = gpu.allocate(4 * 5 * 3 * 1280 * 736)
        host = gpu.allocate_pinned(room.size)

        def cut(frame_bgr: np.ndarray, crops: list[Crop]) -> np.ndarray:
            uploaded = cropper.upload(frame_bgr, crops)
            cropper.cut(uploaded, 0, len(crops), room.address)
            planes = host.array(uploaded.shape, np.float32)
            gpu.copy_to_host(planes, room.address)
            gpu.synchronize()
            return planes

        for frame_bgr in footage.frames[:_PARITY_FRAMES]:
            for name, crops in crops_of(frame_bgr).items():
                expected = to_blob([extract(frame_bgr, crop) for crop in crops])
                difference = float(np.abs(cut(frame_bgr, crops) - expected).max())
                largest[name] = max(largest.get(name, 0.0), difference)

        def upload_and_cut(frame_bgr: np.ndarray, crops: list[Crop]) -> None:
            cropper.cut(cropper.upload(frame_bgr, crops), 0, len(crops), room.address)
            gpu.synchronize()

        def cut_only(uploaded: Any, count: int) -> None:
            for _ in range(_CUTS):
                cropper.cut(uploaded, 0, count, room.address)
            gpu.synchronize()

        cases: dict[str, Callable[[], object]] = {}
        frame_bgr = footage.frames[0]
        for name, crops in crops_of(frame_bgr).items():
            cases[f"gpu {name}"] = partial(upload_and_cut, frame_bgr, crops)
            cases[f"cpu {name}"] = partial(_on_cpu, frame_bgr, crops)
            cases[f"cut {name}"] = partial(cut_only, cropper.upload(frame_bgr, crops), len(crops))
        timings = interleaved(cases, settings.rounds, max(5.0, settings.left_s / 20))
        title = f"Crops cut on {gpu.name} with {PACKAGE}, against OpenCV, {footage.source}"
    rows = [
        [
            *(name, most, "yes" if most <= PIXEL_TOLERANCE else "NO"),
            1e3 * timings[f"cut {name}"].median_ms / _CUTS,
            *(timings[f"{where} {name}"].median_ms for where in ("gpu", "cpu")),
        ]
        for name, most in largest.items()
    ]
    head = ("crops", "largest difference, grey levels", f"at most {PIXEL_TOLERANCE}", "kernel µs")
    return [
        Section(title, (*head, "upload and cut ms", "OpenCV ms"), rows),
        nvcc_says(settings, gpu.compute_capability),
    ]


def nvcc_says(settings: Settings, capability: tuple[int, ...]) -> Section:
    """Both kernels through nvcc: registers and spills. Needs no GPU."""
    title = "The kernels compiled by nvcc"
    nvcc = find_nvcc()
    if nvcc is None:
        return skipped(title, "there is no nvcc; CUDA's run-time compiler made the kernels above.")
    settings.work.mkdir(parents=True, exist_ok=True)
    arch = "sm_{}{}".format(*capability)
    rows: list[list[Any]] = []
    for source in SOURCES:
        target = settings.work / f"{source.stem}.cubin"
        command = [nvcc, "-cubin", f"-arch={arch}", "-Xptxas", "-v", "-o", str(target), str(source)]
        answer = subprocess.run(command, capture_output=True, text=True, check=False)
        if answer.returncode:
            rows.append([source.name, arch, "refused: " + answer.stderr.strip()[:200], None, None])
            continue
        text = answer.stdout + answer.stderr
        registers = re.search(r"Used (\d+) registers", text)
        spilled = re.search(r"(\d+) bytes spill stores", text)
        numbers = [int(found.group(1)) if found else None for found in (registers, spilled)]
        rows.append([source.name, arch, "compiled", *numbers])
    return Section(title, ("source", "for", "", "registers", "bytes spilled"), rows)


def _on_cpu(frame_bgr: np.ndarray, crops: list[Crop]) -> np.ndarray:
    return to_blob([extract(frame_bgr, crop) for crop in crops])
