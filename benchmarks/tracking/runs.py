"""Showing timelines to contestants, and what they answered."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from tqdm import tqdm

from benchmarks.tracking.contestants import (
    Answer,
    BoxContestant,
    Contestant,
    PhotoContestant,
)
from benchmarks.tracking.timelines import Timeline
from refdet_core.errors import RefdetError, SourceError
from refdet_core.types import Reference
from refdet_training.evaluation.detection_protocol import Skipped
from refdet_training.evaluation.tracking_protocol import Track, TrackedFrame


@dataclass(frozen=True)
class Run:
    """One contestant on one timeline: an answer for each moment.

    For those that are given the first box, the first answer is that box.
    """

    contestant: str
    timeline: Timeline
    answers: tuple[Answer, ...]

    def as_track(self) -> Track:
        """The run as the tracking protocol's numbers want it."""
        footage = self.timeline.footage
        pairs = zip(self.timeline.moments, self.answers, strict=True)
        frames = tuple(
            TrackedFrame(index, moment.picture, moment.truth_xyxy, answer.box_xyxy, answer.score)
            for index, (moment, answer) in enumerate(pairs)
        )
        return Track(
            footage.source, footage.video_id, footage.object_id, footage.frame_size, frames
        )


def run_all(
    contestants: Sequence[Contestant], timelines: Sequence[Timeline]
) -> tuple[list[Run], list[Skipped]]:
    """Every contestant on every timeline, once; each frame is decoded once for all of them.

    Returns:
        The runs, and what could not be measured: contestants that refuse an object, damaged
        frames.
    """
    runs: list[Run] = []
    skipped: list[Skipped] = []
    total = sum(len(timeline.moments) for timeline in timelines)
    with tqdm(total=total, unit="frame") as progress:
        for timeline in timelines:
            progress.set_description(f"{timeline.scenario} {timeline.footage.object_id}")
            found, refused = run_timeline(contestants, timeline)
            runs.extend(found)
            skipped.extend(refused)
            progress.update(len(timeline.moments))
    return runs, list(dict.fromkeys(skipped))


def run_timeline(
    contestants: Sequence[Contestant], timeline: Timeline
) -> tuple[list[Run], list[Skipped]]:
    """Show one timeline to all contestants side by side."""
    started: dict[str, Contestant] = {}
    skipped: list[Skipped] = []
    answers: dict[str, list[Answer]] = {}
    try:
        first_bgr = timeline.read(0)
        with_photos = any(isinstance(item, PhotoContestant) for item in contestants)
        photos = timeline.photos() if with_photos else []
        for one in contestants:
            try:
                answers[one.name] = [begin(one, timeline, first_bgr, photos)]
                started[one.name] = one
            except RefdetError as error:
                skipped.append(_skip(timeline, f"{one.name}: {error}"))
        for index in range(1, len(timeline.moments)):
            frame_bgr = timeline.read(index)
            for name, one in started.items():
                answers[name].append(ask(one, frame_bgr, timeline.time_s(index)))
    except SourceError as error:
        return [], [_skip(timeline, str(error))]
    return [Run(name, timeline, tuple(answers[name])) for name in started], skipped


def begin(
    one: Contestant, timeline: Timeline, first_bgr: np.ndarray, photos: Sequence[Reference]
) -> Answer:
    """Start a contestant; what it says of the first frame."""
    if isinstance(one, BoxContestant):
        one.start(first_bgr, timeline.start_xyxy)
        return Answer(timeline.start_xyxy, 1.0)
    assert isinstance(one, PhotoContestant), "a contestant is given a box or photos"
    one.start(photos)
    return ask(one, first_bgr, 0.0)


def ask(one: Contestant, frame_bgr: np.ndarray, time_s: float) -> Answer:
    """A contestant's answer and how long it took."""
    started = time.perf_counter()
    answer = one.update(frame_bgr, time_s)
    return replace(answer, ms=(time.perf_counter() - started) * 1e3)


def _skip(timeline: Timeline, reason: str) -> Skipped:
    return Skipped.of(timeline.footage.instance, reason)
