"""Counters of the node: frames in and out, drops by reason, times."""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from dataclasses import dataclass
from typing import Deque, Dict, List, Optional, Tuple

import numpy as np

DROP_REASONS = ("replaced", "stale", "undecodable", "failed", "device lost")
WINDOW_S = 5.0


@dataclass(frozen=True)
class Snapshot:
    """The counts at one moment.

    Attributes:
        input_hz, processed_hz: over the last :data:`WINDOW_S` seconds.
        received, processed: since the node started.
        drops: frames since the node started, by reason.
        recent_drops: frames of the last :data:`WINDOW_S` seconds, by reason.
        times_ms: median and 95th percentile over the same window, by name: ``wait`` (in the slot),
            ``convert``, ``detect`` and its stages, ``publish``, ``latency`` (stamp to published, on
            the node's clock) and ``overhead`` (latency without detect).
        since_input_s: seconds since the last frame arrived; None if none has arrived.
    """

    input_hz: float
    processed_hz: float
    received: int
    processed: int
    drops: Dict[str, int]
    recent_drops: Dict[str, int]
    times_ms: Dict[str, Tuple[float, float]]
    since_input_s: Optional[float]


class Statistics:
    """Counters that any thread may increase; the diagnostics read them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._started = time.monotonic()
        self._received = 0
        self._processed = 0
        self._drops: Counter[str] = Counter()
        self._arrivals: Deque[float] = deque()
        self._recent_drops: Deque[Tuple[float, str]] = deque()
        self._results: Deque[Tuple[float, Dict[str, float]]] = deque()

    def arrived(self) -> None:
        """Count a received frame."""
        with self._lock:
            self._received += 1
            self._arrivals.append(time.monotonic())

    def dropped(self, reason: str) -> None:
        """Count a frame without a result; ``reason`` is one of :data:`DROP_REASONS`."""
        with self._lock:
            self._drops[reason] += 1
            self._recent_drops.append((time.monotonic(), reason))

    def published(self, times_ms: Dict[str, float]) -> None:
        """Count a published frame with its times by name, milliseconds."""
        with self._lock:
            self._processed += 1
            self._results.append((time.monotonic(), times_ms))

    def snapshot(self) -> Snapshot:
        """The counts now."""
        with self._lock:
            now = time.monotonic()
            since_input_s = now - self._arrivals[-1] if self._arrivals else None
            # The last arrival stays, for ``since_input_s``.
            while len(self._arrivals) > 1 and self._arrivals[0] < now - WINDOW_S:
                self._arrivals.popleft()
            while self._recent_drops and self._recent_drops[0][0] < now - WINDOW_S:
                self._recent_drops.popleft()
            while self._results and self._results[0][0] < now - WINDOW_S:
                self._results.popleft()
            window_s = max(0.1, min(WINDOW_S, now - self._started))
            arrivals = sum(1 for moment in self._arrivals if moment >= now - WINDOW_S)
            times = [entry for _, entry in self._results]
            recent = Counter(reason for _, reason in self._recent_drops)
            return Snapshot(
                arrivals / window_s,
                len(times) / window_s,
                self._received,
                self._processed,
                {reason: self._drops[reason] for reason in DROP_REASONS},
                {reason: recent[reason] for reason in DROP_REASONS},
                _percentiles(times),
                since_input_s,
            )


def _percentiles(times: List[Dict[str, float]]) -> Dict[str, Tuple[float, float]]:
    names = dict.fromkeys(name for entry in times for name in entry)
    result = {}
    for name in names:
        median, high = np.percentile([entry[name] for entry in times if name in entry], (50, 95))
        result[name] = (float(median), float(high))
    return result
