"""Time and memory from process start to the first detection, in separate processes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.speed.fresh_process import PHASES
from benchmarks.speed.section import Chart, Section
from benchmarks.speed.settings import Settings
from refdet_core.backends import BACKEND_NAMES
from refdet_core.errors import BackendError

REPOSITORY = Path(__file__).resolve().parents[2]
_RUNS = 3
_LONGEST_S = 1800  # building an engine takes minutes


def cold_start(settings: Settings) -> Section:
    """Milliseconds of each phase, medians of several processes, backends in turn."""
    runs: dict[str, list[dict[str, Any]]] = {}
    notes = []
    for name in BACKEND_NAMES[1:]:  # the first is "auto"
        try:
            # The first process only fills the system's file cache, and may build engines.
            _run(settings, name, settings.frame_size)
            runs[name] = []
        except BackendError as error:
            notes.append(f"{name} is not measured: {error}")
    for _ in range(min(_RUNS, settings.rounds)):
        for name, found in runs.items():
            found.append(_run(settings, name, settings.frame_size))
    ms = {
        name: [float(np.median([run["ms"][phase] for run in found])) for phase in PHASES]
        for name, found in runs.items()
    }
    rows: list[list[Any]] = [
        [phase, *(ms[name][i] for name in ms)] for i, phase in enumerate(PHASES)
    ]
    first = PHASES.index("first detection") + 1
    rows.append(["until the first detection", *(sum(ms[name][:first]) for name in ms)])
    notes.append("With the files in the system's cache; engines of TensorRT have been built.")
    return Section(
        "Cold start: a fresh process until its first detection",
        ("phase", *(f"{name} ms" for name in ms)),
        rows,
        notes,
        Chart(
            "waterfall",
            "ms",
            {name: list(zip(PHASES[:first], values)) for name, values in ms.items()},
        ),
    )


def memory(settings: Settings) -> Section:
    """Resident memory by phase, its peak, and GPU memory; at two frame sizes."""
    rows: list[list[Any]] = []
    notes = []
    for name in BACKEND_NAMES[1:]:
        for size in dict.fromkeys((settings.frame_size, settings.largest_frame)):
            try:
                run = _run(settings, name, size)
            except BackendError as error:
                notes.append(f"{name} is not measured: {error}")
                break
            resident = run["resident_mb"]
            rows.append(
                [
                    name,
                    f"{size[0]}x{size[1]}",
                    *(resident[phase] for phase in ("import", "open", "second detection")),
                    run["peak_mb"],
                    run["device_mb"],
                ]
            )
    if rows and all(row[-1] is None for row in rows):
        notes.append("No GPU is used here, so there is no device memory.")
    head = ("backend", "frame", "after import", "opened", "detecting", "peak", "on the device")
    return Section("Memory of the process, MiB", head, rows, notes)


def _run(settings: Settings, backend: str, size: tuple[int, int]) -> dict[str, Any]:
    """The report of one fresh process.

    Raises:
        BackendError: it failed; the message is its own.
    """
    command = [sys.executable, "-m", "benchmarks.speed.fresh_process", "--backend", backend]
    command += ["--threads", str(settings.threads), "--size", str(size[0]), str(size[1])]
    if settings.bundle_folder is not None:
        command += ["--bundle", str(settings.bundle_folder.resolve())]
    answer = subprocess.run(
        [*command, "--started", repr(time.time())],
        cwd=REPOSITORY,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        capture_output=True,
        text=True,
        timeout=_LONGEST_S,
        check=False,
    )
    if answer.returncode:
        lines = answer.stderr.strip().splitlines() or [f"it ended with {answer.returncode}"]
        raise BackendError(lines[-1])
    report: dict[str, Any] = json.loads(answer.stdout.strip().splitlines()[-1])
    return report
