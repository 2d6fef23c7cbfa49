"""Runs methods on sequences and collects their answers."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from tqdm import tqdm

from benchmarks.tracking.methods import (
    Answer,
    BoxMethod,
    PhotoMethod,
    TrackingMethod,
)
from benchmarks.tracking.sequences import BenchmarkSequence
from refdet_core.errors import RefdetError, SourceError
from refdet_core.types import Reference
from refdet_training.evaluation.detection_protocol import Skipped
from refdet_training.evaluation.tracking_protocol import Track, TrackedFrame


@dataclass(frozen=True)
class Run:
    """One method on one sequence: an answer for each frame.

    For those that are given the first box, the first answer is that box.
    """

    method: str
    sequence: BenchmarkSequence
    answers: tuple[Answer, ...]

    def as_track(self) -> Track:
        """The run in the form of the tracking protocol."""
        footage = self.sequence.footage
        pairs = zip(self.sequence.frames, self.answers, strict=True)
        frames = tuple(
            TrackedFrame(index, frame.picture, frame.truth_xyxy, answer.box_xyxy, answer.score)
            for index, (frame, answer) in enumerate(pairs)
        )
        return Track(
            footage.source, footage.video_id, footage.object_id, footage.frame_size, frames
        )


def run_all(
    methods: Sequence[TrackingMethod],
    sequences: Sequence[BenchmarkSequence],
    slowness: float = 0.0,
) -> tuple[list[Run], list[Skipped]]:
    """Every method on every sequence, once; each frame is decoded once for all of them.

    Args:
        slowness: see :func:`run_sequence`.

    Returns:
        The runs, and what could not be measured: methods that refuse an object, damaged
        frames.
    """
    runs: list[Run] = []
    skipped: list[Skipped] = []
    total = sum(len(sequence.frames) for sequence in sequences)
    with tqdm(total=total, unit="frame") as progress:
        for sequence in sequences:
            progress.set_description(f"{sequence.scenario} {sequence.footage.object_id}")
            found, refused = run_sequence(methods, sequence, slowness)
            runs.extend(found)
            skipped.extend(refused)
            progress.update(len(sequence.frames))
    return runs, list(dict.fromkeys(skipped))


def run_sequence(
    methods: Sequence[TrackingMethod], sequence: BenchmarkSequence, slowness: float = 0.0
) -> tuple[list[Run], list[Skipped]]:
    """Run all methods on one sequence, side by side.

    Args:
        slowness: above 0, frames come at the video's rate and wait for nobody. Those that come
            while a method is busy are lost to it, and its last answer stands for them. It is busy
            for so many times as long as it takes here.
    """
    started: dict[str, TrackingMethod] = {}
    busy_until_s: dict[str, float] = {}
    skipped: list[Skipped] = []
    answers: dict[str, list[Answer]] = {}
    try:
        first_bgr = sequence.read(0)
        with_photos = any(isinstance(item, PhotoMethod) for item in methods)
        photos = sequence.photos() if with_photos else []
        for one in methods:
            try:
                answers[one.name] = [begin(one, sequence, first_bgr, photos)]
                started[one.name] = one
                busy_until_s[one.name] = slowness * answers[one.name][0].ms / 1e3
            except RefdetError as error:
                skipped.append(_skip(sequence, f"{one.name}: {error}"))
        for index in range(1, len(sequence.frames)):
            frame_bgr, time_s = sequence.read(index), sequence.time_s(index)
            for name, one in started.items():
                if time_s < busy_until_s[name]:
                    answers[name].append(answers[name][-1])
                    continue
                answer = ask(one, frame_bgr, time_s)
                answers[name].append(answer)
                busy_until_s[name] = time_s + slowness * answer.ms / 1e3
    except SourceError as error:
        return [], [_skip(sequence, str(error))]
    return [Run(name, sequence, tuple(answers[name])) for name in started], skipped


def begin(
    one: TrackingMethod,
    sequence: BenchmarkSequence,
    first_bgr: np.ndarray,
    photos: Sequence[Reference],
) -> Answer:
    """Start a method; returns its answer for the first frame."""
    if isinstance(one, BoxMethod):
        one.start(first_bgr, sequence.start_xyxy)
        return Answer(sequence.start_xyxy, 1.0)
    assert isinstance(one, PhotoMethod), "a method is given a box or photos"
    one.start(photos)
    return ask(one, first_bgr, 0.0)


def ask(one: TrackingMethod, frame_bgr: np.ndarray, time_s: float) -> Answer:
    """A method's answer with its time."""
    started = time.perf_counter()
    answer = one.update(frame_bgr, time_s)
    return replace(answer, ms=(time.perf_counter() - started) * 1e3)


def _skip(sequence: BenchmarkSequence, reason: str) -> Skipped:
    return Skipped.of(sequence.footage.instance, reason)
