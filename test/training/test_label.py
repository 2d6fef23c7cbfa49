"""Labels by agreement: what is taken for a thing, and when its track is trusted."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest

pytest.importorskip("tqdm", reason="training is not installed")
pytest.importorskip("pandas", reason="prepared data needs pandas")

from refdet_core.metrics import box_iou
from refdet_core.video_file import VideoFile
from refdet_training.cli import main
from refdet_training.datasets.problems import Problems
from refdet_training.datasets.readers import refdet
from refdet_training.evaluation.tracking_protocol import Tracker
from refdet_training.labelling.agreement import agreed_boxes
from refdet_training.labelling.things import things

SIDES = (14.0, 160.0)
FRAME = np.zeros((240, 320, 3), np.uint8)


def numbered(count: int) -> list[np.ndarray]:
    """Frames that tell their number by their brightness."""
    return [np.full_like(FRAME, number) for number in range(count)]


class Moving(Tracker):
    """Adds its step for each frame between, until a frame from which on it stays; or it slips there
    and does not come back."""

    def __init__(self, step: float, stops: int = 1000, slips: bool = False) -> None:
        self.step, self.stops, self.slips = step, stops, slips

    def start(self, frame_bgr, box_xyxy) -> None:
        self.first, self.box, self.lost = int(frame_bgr[0, 0, 0]), np.array(box_xyxy), False

    def update(self, frame_bgr):
        number = int(frame_bgr[0, 0, 0])
        self.lost = self.lost or (self.slips and number >= self.stops)
        moved = min(number, self.stops) - min(self.first, self.stops)
        offset = 0.0 if self.lost and number < self.stops else moved * self.step
        return tuple(self.box + np.array([offset, 0, offset, 0])), 0.9


BOX = (40.0, 40.0, 80.0, 70.0)


def test_a_track_that_leads_there_and_back_is_trusted() -> None:
    found = agreed_boxes([Moving(4.0), Moving(4.4)], numbered(12), BOX)
    assert len(found) == 12
    assert box_iou(found[0], BOX) > 0.9
    assert found[11][0] == pytest.approx(40 + 11 * 4.2, abs=1.0)
    assert found[11][2] - found[11][0] == pytest.approx(40.0)


def test_it_ends_where_the_trackers_part() -> None:
    found = agreed_boxes([Moving(4.0), Moving(4.0, stops=5)], numbered(20), BOX)
    assert 6 <= len(found) < 11, "a quarter of the box's width apart is no agreement"


def test_a_track_that_does_not_lead_back_is_not_trusted() -> None:
    slipping = [Moving(6.0, stops=8, slips=True) for _ in range(2)]
    assert agreed_boxes(slipping, numbered(10), BOX) == []


def test_what_leaves_the_frame_ends_before_it() -> None:
    found = agreed_boxes([Moving(30.0), Moving(30.0)], numbered(20), BOX)
    assert [box[2] < 320 for box in found] == [True] * 8
    assert agreed_boxes([Moving(300.0), Moving(300.0)], numbered(20), BOX) == []
    assert agreed_boxes([Moving(1.0), Moving(1.0)], numbered(1), BOX) == []


def marked(*places: tuple[int, int]) -> np.ndarray:
    """Grey ground with dark squares of 30 px."""
    frame = np.full((240, 320, 3), 150, np.uint8)
    for x, y in places:
        cv2.rectangle(frame, (x, y), (x + 29, y + 29), (20, 30, 40), -1)
    return frame


def test_things_differ_from_what_is_around_them() -> None:
    frame = marked((60, 50), (200, 120))
    found = things(frame, SIDES, 12, [], np.random.default_rng(0))
    truths = [(60, 50, 90, 80), (200, 120, 230, 150)]
    assert len(found) == 2
    for truth in truths:
        assert max(box_iou(truth, box) for box in found) > 0.6
    assert len(things(frame, SIDES, 1, [], np.random.default_rng(0))) == 1
    assert len(things(frame, SIDES, 12, [truths[0]], np.random.default_rng(0))) == 1
    assert things(frame, (60.0, 160.0), 12, [], np.random.default_rng(0)) == []
    assert things(marked(), SIDES, 12, [], np.random.default_rng(0)) == []


def test_a_video_is_labelled_and_read_as_a_data_set(tmp_path, capsys) -> None:
    video = tmp_path / "flight.mp4"
    rng = np.random.default_rng(1)
    ground = cv2.GaussianBlur(rng.integers(90, 150, (240, 320, 3)).astype(np.uint8), (9, 9), 0)
    with VideoFile(video, 10.0) as file:
        for number in range(24):
            frame = ground.copy()
            cv2.ellipse(frame, (60 + 5 * number, 100), (22, 13), 0, 0, 360, (20, 20, 170), -1)
            cv2.rectangle(frame, (50 + 5 * number, 95), (62 + 5 * number, 105), (240, 240, 240), -1)
            file.write(frame)
    given = ["label", str(video), "--output", str(tmp_path / "labelled"), "--least-frames", "12"]
    assert main(given) == 0
    assert "1 videos" in capsys.readouterr().out
    (read,) = refdet.read(tmp_path / "labelled", Problems())
    best = max(read.objects, key=lambda item: len(item.boxes_xyxy))
    assert len(best.boxes_xyxy) >= 12
    for number, box in best.boxes_xyxy.items():
        x = 60 + 5 * number
        assert box_iou(box, (x - 22, 87, x + 23, 114)) > 0.5, number
    assert read.frames[0].read().shape == (240, 320, 3)
    assert main(given) == 2
    assert "holds a data set" in capsys.readouterr().err
    known = [*given[:3], str(tmp_path / "again"), "--known", str(tmp_path / "labelled")]
    assert main([*known, "--least-frames", "12"]) == 0
    entries = json.loads((tmp_path / "again" / "annotations.json").read_text())
    for item in entries[0]["annotations"]:
        for box in item["bboxes"]:
            other = best.boxes_xyxy.get(box["frame"])
            here = tuple(box[side] for side in ("x1", "y1", "x2", "y2"))
            assert other is None or box_iou(other, here) < 0.3


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (["--seconds", "0"], "positive"),
        (["--least-frames", "1"], "at least 2"),
        (["--things", "0"], "at least 1"),
        (["--sides", "50", "20"], "rising"),
    ],
)
def test_settings_out_of_range_are_refused(tmp_path, capsys, wrong, message) -> None:
    assert main(["label", "v.mp4", "--output", str(tmp_path / "o"), *wrong]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "o").exists()


def test_what_is_no_video_is_refused(tmp_path, capsys) -> None:
    (tmp_path / "notes.mp4").write_text("no video")
    given = ["label", str(tmp_path / "notes.mp4"), "--output", str(tmp_path / "o")]
    assert main(given) == 2
    assert "notes.mp4" in capsys.readouterr().err
    twice = ["label", "a/v.mp4", "b/v.mp4", "--output", str(tmp_path / "o")]
    assert main(twice) == 2
    assert "same name" in capsys.readouterr().err
