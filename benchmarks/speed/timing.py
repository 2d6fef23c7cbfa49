"""Comparable times on a noisy machine: every case once per round, in changing order."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

_LEAST_ROUNDS = 3
_SEED = 0


@dataclass(frozen=True)
class Timing:
    """Milliseconds of one case.

    Attributes:
        median_ms, p95_ms: wall-clock time.
        least_ms: the fastest round, which was disturbed least.
        cpu_ms: median of the processor time of all threads of this process.
        rounds: number of rounds.
    """

    median_ms: float
    p95_ms: float
    least_ms: float
    cpu_ms: float
    rounds: int


def interleaved(
    cases: Mapping[str, Callable[[], object]],
    rounds: int,
    budget_s: float,
    prepare: Mapping[str, Callable[[], object]] | None = None,
    warm_up: int = 1,
) -> dict[str, Timing]:
    """Time every case once per round, in changing order, so that noise disturbs all equally.

    Args:
        budget_s: no further round starts after this time; there are at least three.
        prepare: called before each case, not timed.
        warm_up: rounds at the start that do not count.
    """
    order = list(cases)
    shuffle = random.Random(_SEED).shuffle
    wall: dict[str, list[float]] = {name: [] for name in cases}
    cpu: dict[str, list[float]] = {name: [] for name in cases}
    began = time.perf_counter()
    for number in range(warm_up + rounds):
        in_time = time.perf_counter() - began < budget_s
        if number >= warm_up + _LEAST_ROUNDS and not in_time:
            break
        shuffle(order)
        for name in order:
            if prepare and name in prepare:
                prepare[name]()
            cpu_started, started = time.process_time(), time.perf_counter()
            cases[name]()
            elapsed, cpu_elapsed = (
                time.perf_counter() - started,
                time.process_time() - cpu_started,
            )
            if number >= warm_up:
                wall[name].append(elapsed * 1e3)
                cpu[name].append(cpu_elapsed * 1e3)
    return {name: _timing(wall[name], cpu[name]) for name in cases}


def _timing(wall_ms: list[float], cpu_ms: list[float]) -> Timing:
    median, high = np.percentile(wall_ms, (50, 95))
    return Timing(float(median), float(high), min(wall_ms), float(np.median(cpu_ms)), len(wall_ms))
