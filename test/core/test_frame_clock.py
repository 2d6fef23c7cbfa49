"""Seconds of frames from stamps of every kind."""

from __future__ import annotations

import pytest

from refdet_core.frame_clock import FrameClock

S = 10**9
EPOCH = 1_700_000_000 * S


@pytest.mark.parametrize(
    "stamps_ns, arrivals_s, expected_s",
    [
        # The stamps count, not when the frames got through.
        ([EPOCH, EPOCH + S // 10, EPOCH + S // 2], [5.0, 5.0, 9.0], [0.0, 0.1, 0.5]),
        # Without stamps: the arrivals.
        ([None, None, None], [5.0, 5.1, 5.3], [0.0, 0.1, 0.3]),
        # Back to the start, and on from there.
        ([EPOCH + 60 * S, EPOCH, EPOCH + S], [5.0, 5.2, 5.2], [0.0, 0.2, 1.2]),
        # Standing still.
        ([EPOCH, EPOCH, EPOCH], [5.0, 5.2, 5.4], [0.0, 0.2, 0.4]),
        # One without a stamp in between.
        ([EPOCH, None, EPOCH + S], [5.0, 5.2, 5.5], [0.0, 0.2, 1.0]),
        # A long pause is one.
        ([EPOCH, EPOCH + 3600 * S], [5.0, 5.1], [0.0, 3600.0]),
        # Two frames that arrive at once, in the wrong order.
        ([EPOCH + S, EPOCH], [5.0, 5.0], [0.0, 0.0]),
    ],
)
def test_seconds(stamps_ns, arrivals_s, expected_s):
    clock = FrameClock()
    seconds = [clock.time_s(*frame) for frame in zip(stamps_ns, arrivals_s)]
    assert seconds == pytest.approx(expected_s, abs=1e-6)
    assert seconds == sorted(seconds)


def test_microseconds_survive_a_day():
    clock = FrameClock()
    clock.time_s(EPOCH, 0.0)
    before_s = clock.time_s(EPOCH + 86400 * S, 1.0)
    assert clock.time_s(EPOCH + 86400 * S + 1000, 1.0) - before_s == pytest.approx(1e-6, rel=1e-3)
