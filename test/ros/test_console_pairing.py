"""Frames meet the results of their own stamp, and nothing is shown twice or backwards."""

from __future__ import annotations

import pytest

pytest.importorskip("rclpy")

from refdet_ros.console.frames import Frame
from refdet_ros.console.pairing import Pairing
from refdet_ros.console.results import Box

MS = 1_000_000
BOX = (Box("car", "1", 0.9, (1.0, 2.0, 3.0, 4.0)),)


class Stage:
    """A pairing, and what it showed: stamp in ms and the number of boxes, None for no result."""

    def __init__(self, heatmap=False):
        self.shown, self.answered = [], []
        self.pairing = Pairing(self._show, lambda result, frame: self.answered.append(frame))
        self.pairing.wants_heatmap = heatmap
        self.heatmaps = []

    def _show(self, shown):
        boxes = None if shown.result is None else len(shown.result.boxes)
        self.shown.append((shown.frame.stamp_ns // MS, boxes))
        self.heatmaps.append(shown.heatmap)

    def frame(self, ms, now_s, size=100):
        self.pairing.frame(Frame(b"x" * size, ms * MS, False), now_s)

    def result(self, ms, now_s, boxes=BOX):
        self.pairing.targets(ms * MS, (), now_s)
        self.pairing.boxes(ms * MS, boxes, now_s)


def test_without_a_detector_frames_pass_at_once():
    stage = Stage()
    for ms in (100, 200, 300):
        stage.frame(ms, ms / 1000)
    assert stage.shown == [(100, None), (200, None), (300, None)]


def test_with_a_detector_each_frame_waits_for_its_own_result():
    stage = Stage()
    stage.result(50, 0.0)
    for ms in (100, 133, 166):
        stage.frame(ms, ms / 1000)
    assert stage.shown == []
    stage.result(133, 0.25)
    stage.frame(200, 0.26)
    # 100 was left out by the detector, 166 and 200 are not answered yet.
    assert stage.shown == [(133, 1)]
    stage.result(200, 0.3)
    stage.result(166, 0.31)  # too late: something newer is on the screen
    assert stage.shown == [(133, 1), (200, 1)]


def test_a_result_that_comes_before_its_frame_waits_for_it():
    stage = Stage()
    stage.result(100, 0.1)
    assert stage.answered == [None]
    stage.frame(100, 0.11)
    assert stage.shown == [(100, 1)]


def test_a_detector_that_falls_silent_does_not_stop_the_picture():
    stage = Stage()
    stage.result(100, 0.0)
    stage.frame(100, 0.01)
    stage.frame(200, 0.1)
    stage.frame(9000, 9.0)
    assert stage.shown == [(100, 1), (9000, None)]


def test_a_bag_that_starts_again_is_shown_again():
    stage = Stage()
    for ms in (5000, 5100, 100, 200):
        stage.frame(ms, ms / 1000 if ms > 4000 else 6 + ms / 1000)
    assert [ms for ms, _ in stage.shown] == [5000, 5100, 100, 200]


def test_a_heatmap_is_waited_for_but_holds_back_one_frame_at_most():
    stage = Stage(heatmap=True)
    stage.result(50, 0.0)
    stage.pairing.heatmap(50 * MS, "first", 0.01)
    stage.frame(100, 0.1)
    stage.result(100, 0.15)
    assert stage.shown == []
    stage.pairing.heatmap(100 * MS, "map of 100", 0.16)
    assert (stage.shown, stage.heatmaps) == ([(100, 1)], ["map of 100"])
    for ms in (200, 300):
        stage.frame(ms, ms / 1000)
        stage.result(ms, ms / 1000 + 0.05)
    assert stage.shown == [(100, 1), (200, 1)]
    assert stage.heatmaps[-1] is None


def test_what_waits_is_limited_in_number_and_bytes():
    stage = Stage()
    stage.result(1, 0.0)
    for number in range(1000):
        stage.result(1000 + number, 0.001 * number)
    assert len(stage.pairing._entries) <= 64
    for number in range(40):
        stage.frame(5000 + number, 1.0, size=8 * 1024 * 1024)
    held = sum(len(e.frame.cdr) for e in stage.pairing._entries.values() if e.frame)
    assert held <= 96 * 1024 * 1024


def test_a_detector_slower_than_the_camera_is_waited_for_from_its_first_answer_on():
    stage = Stage()
    for ms in (100, 133, 166):
        stage.frame(ms, ms / 1000)
    stage.result(100, 0.2)  # of a frame that has been shown without it
    assert len(stage.answered) == 1
    for ms in (200, 233, 266):
        stage.frame(ms, ms / 1000)
    stage.result(200, 0.3)
    assert stage.shown == [(100, None), (133, None), (166, None), (200, 1)]


def test_half_results_do_not_pile_up():
    stage = Stage()
    for number in range(500):
        stage.pairing.boxes(number, (), 0.0)
        stage.pairing.targets(10_000 + number, (), 0.0)
    assert len(stage.pairing._boxes) <= 65 and len(stage.pairing._targets) <= 65


def ahead(answers, of):
    """Whether the next frame is shown as pending, after a detector answered so many frames."""
    shown = []
    pairing = Pairing(shown.append, ahead=True)
    for number in range(60):
        pairing.frame(Frame(b"", number * 66 * MS, False), number * 0.066)
        if number % of < answers:
            pairing.targets(number * 66 * MS, (), number * 0.066 + 0.05)
            pairing.boxes(number * 66 * MS, BOX, number * 0.066 + 0.05)
    shown.clear()
    pairing.frame(Frame(b"", 60 * 66 * MS, False), 60 * 0.066)
    assert [item.result for item in shown] in ([], [None])
    return bool(shown) and shown[0].pending


def test_a_frame_is_shown_as_pending_where_nearly_all_are_answered():
    assert ahead(1, of=1)
    assert ahead(14, of=15)
    assert not ahead(1, of=2)
    assert not ahead(1, of=3)
