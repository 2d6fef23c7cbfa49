"""Milliseconds per frame: wall-clock time of the answer only, one method after the other.

Frames carry the video's times, so periodic work of a tracker has the same weight as at the video's
rate.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from tqdm import tqdm

from benchmarks.tracking.footage import Footage
from benchmarks.tracking.methods import Answer, TrackingMethod
from benchmarks.tracking.runs import ask, begin
from benchmarks.tracking.sequences import BenchmarkSequence, ScenarioSettings, elsewhere, removed
from refdet_core.errors import RefdetError
from refdet_core.metrics import percentile

FRAME_SIZE = (1280, 720)
_SEQUENCES = 3
_SHOWN = ScenarioSettings(removed_after=40, removed_frames=20)
_WARM_UP = 3  # frames at the start that fill caches
ALL = "all"


@dataclass(frozen=True)
class Times:
    """Milliseconds a frame over a number of frames."""

    frames: int
    mean_ms: float
    median_ms: float
    p95_ms: float


def speed_sequences(
    footages: Sequence[Footage], pool: Sequence[Footage]
) -> list[BenchmarkSequence]:
    """A few sequences of size :data:`FRAME_SIZE`, each with its object removed at the end."""
    found: dict[str, BenchmarkSequence] = {}
    for footage in footages:
        others = elsewhere(footage, pool)
        if footage.frame_size == FRAME_SIZE and others:
            found[footage.video_id] = removed(footage, others, _SHOWN)
    return list(found.values())[:_SEQUENCES]


def measure_speed(
    methods: Sequence[TrackingMethod], sequences: Sequence[BenchmarkSequence]
) -> dict[str, dict[str, Times]]:
    """The times by method and state (:data:`ALL` and the reported ones).

    All frames are decoded beforehand, so that decoding does not count.
    """
    answers: dict[str, list[Answer]] = {one.name: [] for one in methods}
    with tqdm(total=len(methods) * len(sequences), desc="speed", unit="run") as progress:
        for sequence in sequences:
            frames = [sequence.read(index).copy() for index in range(len(sequence.frames))]
            photos = sequence.photos()
            for one in methods:
                try:
                    begin(one, sequence, frames[0], photos)
                    said = [
                        ask(one, frame_bgr, sequence.time_s(index))
                        for index, frame_bgr in enumerate(frames[1:], 1)
                    ]
                    answers[one.name].extend(said[_WARM_UP:])
                except RefdetError as error:
                    progress.write(f"{one.name}: {error}")
                progress.update()
    return {name: by_state(said) for name, said in answers.items() if said}


def by_state(answers: Sequence[Answer]) -> dict[str, Times]:
    """Times over all answers, and over the answers of each reported state."""
    groups = {ALL: list(answers)}
    for answer in answers:
        if answer.state:
            groups.setdefault(answer.state, []).append(answer)
    return {name: _times([item.ms for item in some]) for name, some in groups.items()}


def _times(milliseconds: Sequence[float]) -> Times:
    return Times(
        len(milliseconds),
        round(float(np.mean(milliseconds)), 2),
        round(percentile(milliseconds, 50) or 0.0, 2),
        round(percentile(milliseconds, 95) or 0.0, 2),
    )
