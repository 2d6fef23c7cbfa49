"""What a template costs, in ratios taken in one run.

    python -m benchmarks.detector_speed [--bundle DIR] [--backend auto] [--rounds 30] [--json FILE]

Every round times all cases once, one after the other, so that a noisy machine disturbs all alike;
the medians and their ratios are printed.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from refdet_core.detector import Detector
from refdet_core.types import Reference

FRAME_SIZE = (1280, 720)


def measure(detector: Detector, rounds: int) -> dict[str, float]:
    """Median milliseconds of each case on a 1280x720 frame."""
    rng = np.random.default_rng(0)
    frame = rng.integers(0, 255, (FRAME_SIZE[1], FRAME_SIZE[0], 3), dtype=np.uint8)
    photo = Reference(frame[100:400, 200:600].copy(), (100, 100, 160, 150))

    def templates(count: int, references: int = 1) -> None:
        detector.clear_template()
        for number in range(count):
            detector.set_template([photo] * references, str(number))

    def encode_every_frame() -> None:
        detector.set_template([photo], "0")
        detector.detect(frame)

    cases: dict[str, tuple[Callable[[], None], Callable[[], object]]] = {
        "1 template": (lambda: templates(1), lambda: detector.detect(frame)),
        "5 templates": (lambda: templates(5), lambda: detector.detect(frame)),
        "20 templates": (lambda: templates(20), lambda: detector.detect(frame)),
        "1 template, 5 references": (lambda: templates(1, 5), lambda: detector.detect(frame)),
        "1 template, encoded every frame": (lambda: templates(1), encode_every_frame),
        "1 template, with heatmap": (
            lambda: templates(1),
            lambda: detector.detect(frame, heatmaps=True),
        ),
    }
    times: dict[str, list[float]] = {name: [] for name in cases}
    for number in range(rounds + 2):
        for name, (prepare, run) in cases.items():
            prepare()
            started = time.perf_counter()
            run()
            if number >= 2:  # the first rounds warm up
                times[name].append((time.perf_counter() - started) * 1e3)
    return {name: float(np.median(values)) for name, values in times.items()}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="What a template costs.")
    parser.add_argument("--bundle", type=Path)
    parser.add_argument("--backend", default="auto")
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    with Detector.open(options.bundle, options.backend) as detector:
        medians = measure(detector, options.rounds)
        info = detector.backend.info
    print(
        f"{info.name} {info.version} on {info.device}, "
        f"{FRAME_SIZE[0]}x{FRAME_SIZE[1]}, {options.rounds} rounds"
    )
    base = medians["1 template"]
    for name, value in medians.items():
        print(f"{name:34} {value:8.1f} ms   x {value / base:.2f}")
    if options.json:
        options.json.write_text(
            json.dumps({"backend": info.__dict__, "median_ms": medians}, indent=2)
        )


if __name__ == "__main__":
    main()
