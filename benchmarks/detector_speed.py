"""What a template, and a followed target, costs, in ratios taken in one run.

    python -m benchmarks.detector_speed [--bundle DIR] [--backend auto] [--rounds 30] [--json FILE]

Every round times all cases once, one after the other, so that a noisy machine disturbs all alike;
the medians and their ratios are printed.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import cv2
import numpy as np

from refdet_core.detector import Detector, DetectorConfig
from refdet_core.types import TRACKING, Reference

FRAME_SIZE = (1280, 720)
COUNTS = (1, 2, 5, 10, 20)
OBJECT_PX = 40


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
        name(count, "template"): (partial(templates, count), lambda: detector.detect(frame))
        for count in COUNTS
    }
    cases |= {
        "1 template, 5 references": (lambda: templates(1, 5), lambda: detector.detect(frame)),
        "1 template, encoded every frame": (lambda: templates(1), encode_every_frame),
        "1 template, with heatmap": (
            lambda: templates(1),
            lambda: detector.detect(frame, heatmaps=True),
        ),
    }
    times: dict[str, list[float]] = {case: [] for case in cases}
    for number in range(rounds + 2):
        for case, (prepare, run) in cases.items():
            prepare()
            started = time.perf_counter()
            run()
            if number >= 2:  # the first rounds warm up
                times[case].append((time.perf_counter() - started) * 1e3)
    return {case: float(np.median(values)) for case, values in times.items()}


def measure_following(detector: Detector, rounds: int) -> dict[str, float]:
    """Median milliseconds of a frame in which so many targets are followed, each in its window."""
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 255, (FRAME_SIZE[1] // 8, FRAME_SIZE[0] // 8, 3), dtype=np.uint8)
    frame = cv2.resize(coarse, FRAME_SIZE, interpolation=cv2.INTER_CUBIC)
    detector.configure(replace(detector.config, search="track"))
    times: dict[str, list[float]] = {name(count, "followed target"): [] for count in COUNTS}
    for count in COUNTS:
        detector.clear_template()
        for number in range(count):
            x, y = 120 + 240 * (number % 5), 90 + 180 * (number // 5)
            box = (float(x), float(y), float(x + OBJECT_PX), float(y + OBJECT_PX))
            detector.set_template([Reference(frame, box)], str(number))
            detector.lock(str(number), box)
        for turn in range(rounds + 2):
            started = time.perf_counter()
            result = detector.detect(frame)
            if turn >= 2:
                times[name(count, "followed target")].append((time.perf_counter() - started) * 1e3)
        assert all(target.state == TRACKING for target in result.targets.values())
    detector.configure(replace(detector.config, search=DetectorConfig.search))
    return {case: float(np.median(values)) for case, values in times.items()}


def name(count: int, what: str) -> str:
    """``1 template``, ``2 templates`` ..."""
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="What a template and a target cost.")
    parser.add_argument("--bundle", type=Path)
    parser.add_argument("--backend", default="auto")
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    with Detector.open(options.bundle, options.backend) as detector:
        medians = measure(detector, options.rounds) | measure_following(detector, options.rounds)
        info = detector.backend.info
    print(
        f"{info.name} {info.version} on {info.device}, "
        f"{FRAME_SIZE[0]}x{FRAME_SIZE[1]}, {options.rounds} rounds"
    )
    base = medians["1 template"]
    for case, value in medians.items():
        print(f"{case:34} {value:8.1f} ms   x {value / base:.2f}")
    if options.json:
        options.json.write_text(
            json.dumps({"backend": info.__dict__, "median_ms": medians}, indent=2)
        )


if __name__ == "__main__":
    main()
