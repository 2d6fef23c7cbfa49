"""The newest frame goes out, one at most ahead of its result, and no old one."""

from __future__ import annotations

import pytest

pytest.importorskip("rclpy")

from refdet_ros.console.frames import Frame
from refdet_ros.console.pairing import Shown
from refdet_ros.console.results import Result
from refdet_ros.console.slot import Slot

MS = 1_000_000


def pending(ms):
    return Shown(Frame(b"", ms * MS, False), pending=True)


def answered(ms, frame=None):
    return Shown(frame or Frame(b"", ms * MS, False), Result(ms * MS, (), ()))


def test_empty_there_is_nothing_to_send():
    assert Slot().wait_s(0.0) is None


def test_a_new_frame_replaces_an_older_one():
    slot = Slot()
    slot.offer(answered(100), 0.1)
    slot.offer(answered(200), 0.2)
    slot.offer(answered(150), 0.21)
    assert slot.wait_s(0.2) == 0
    assert slot.take(1).frame.stamp_ns == 200 * MS
    assert slot.wait_s(0.2) is None


def test_a_picture_that_went_ahead_gets_its_result_and_is_not_sent_again():
    slot = Slot()
    ahead = pending(100)
    slot.offer(ahead, 0.1)
    assert slot.take(7) is ahead
    result = answered(100, ahead.frame)
    assert slot.offer(result, 0.2) == (7, result)
    assert slot.wait_s(0.2) is None


def test_one_picture_at_most_is_ahead_of_its_result():
    slot = Slot()
    first = pending(100)
    slot.offer(first, 0.1)
    slot.take(1)
    slot.offer(pending(200), 0.2)
    assert slot.wait_s(0.2) is None
    slot.offer(answered(100, first.frame), 0.21)
    assert slot.wait_s(0.21) == 0
    assert slot.take(2).frame.stamp_ns == 200 * MS


def test_a_later_answer_tells_that_a_frame_was_left_out():
    slot = Slot()
    slot.offer(pending(100), 0.1)
    slot.take(1)
    earlier, later = answered(50), answered(200)
    assert slot.offer(earlier, 0.2) is None
    assert slot.offer(later, 0.3) == (1, later)
    assert slot.take(2) is later


def test_a_camera_that_starts_anew_is_followed():
    slot = Slot()
    slot.offer(pending(50_000), 0.1)
    slot.take(1)
    slot.offer(pending(50_100), 0.2)
    again = answered(100)
    assert slot.offer(again, 0.3) == (1, again)
    assert slot.take(2) is again


def camera(period_s, count=30):
    """A slot after that many frames, and when the last one came."""
    slot = Slot()
    for number in range(count):
        slot.offer(answered(1000 * number), number * period_s)
    return slot, (count - 1) * period_s


def test_a_frame_that_waited_is_left_out_for_the_next_unless_that_is_late():
    slot, last_s = camera(1 / 15)
    assert slot.wait_s(last_s + 0.02) == 0
    assert slot.wait_s(last_s + 0.05) == pytest.approx(1 / 15 - 0.05 + 0.03, abs=0.005)
    assert slot.wait_s(last_s + 0.11) == 0
    slot.offer(answered(100_000), last_s + 1 / 15)
    assert slot.wait_s(last_s + 0.07) == 0


def test_a_result_does_not_make_its_frame_younger():
    slot, last_s = camera(1 / 15)
    came_s = last_s + 1 / 15
    ahead = pending(100_000)
    slot.offer(ahead, came_s)
    slot.offer(answered(100_000, ahead.frame), came_s + 0.05)
    assert slot.wait_s(came_s + 0.055) > 0
    slot.offer(pending(101_000), came_s + 1 / 15)
    assert slot.wait_s(came_s + 1 / 15) == 0


def test_a_slow_camera_is_not_waited_for():
    slot, last_s = camera(1.0)
    assert slot.wait_s(last_s + 0.5) == 0


def test_nothing_is_remembered_of_another_detector():
    slot = Slot()
    slot.offer(pending(100), 0.1)
    slot.take(1)
    slot.offer(pending(200), 0.1)
    slot.clear()
    assert slot.wait_s(0.1) is None
    assert slot.offer(answered(100), 0.2) is None
