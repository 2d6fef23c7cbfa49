from __future__ import annotations

import cv2
import numpy as np
import pytest

from refdet_core.detector import Detector
from refdet_core.detector_config import DetectorConfig
from refdet_core.live.picture import NO_TARGET, paint
from refdet_core.live.session import (
    ESCAPE,
    HELP,
    MOVE,
    PRESS,
    RELEASE,
    SPACE,
    Key,
    Mouse,
    Session,
)
from refdet_core.types import LOST, TRACKING, Reference
from refdet_core.video import Frame

RED_XYXY, BLUE_XYXY = (68, 84, 100, 116), (140, 20, 172, 52)


class Clock:
    now_s = 100.0

    def __call__(self):
        return self.now_s


@pytest.fixture
def detector(colour_bundle):
    with Detector.open(colour_bundle, config=DetectorConfig(search="auto")) as opened:
        yield opened


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def session(detector, tmp_path, clock):
    return Session(detector, "flight.mp4", tmp_path / "saved", clock)


@pytest.fixture
def frames(square_frame):
    """A function of index and colours: a frame at 10 Hz."""

    def make(index, *colours):
        return Frame(index, index / 10, square_frame(*colours))

    return make


def mouse(session, kind, x, y):
    layout = session.layout
    canvas_x, canvas_y = layout.frame.x + x * layout.scale, layout.frame.y + y * layout.scale
    session.handle(Mouse(kind, canvas_x, canvas_y))


def drag(session, box_xyxy):
    x1, y1, x2, y2 = box_xyxy
    mouse(session, PRESS, x1, y1)
    mouse(session, MOVE, (x1 + x2) / 2, (y1 + y2) / 2)
    mouse(session, MOVE, x2, y2)
    mouse(session, RELEASE, x2, y2)


def press(session, *names):
    for name in names:
        session.handle(Key(name))


def within(box_xyxy, outer_xyxy):
    x, y = (box_xyxy[0] + box_xyxy[2]) / 2, (box_xyxy[1] + box_xyxy[3]) / 2
    return outer_xyxy[0] < x < outer_xyxy[2] and outer_xyxy[1] < y < outer_xyxy[3]


def test_the_first_frame_stays_until_a_box_is_drawn(session, frames):
    assert session.wants_frame
    session.take(frames(0, "red", "blue"))
    view = session.view()
    assert not session.wants_frame and session.seen is None
    assert view.state == NO_TARGET and view.drawing is not None and "Drag a box" in view.hint
    press(session, SPACE, "r", "a", "x")
    assert not session.wants_frame and session.view().drawing is not None

    drag(session, RED_XYXY)
    view = session.view()
    assert session.wants_frame and view.drawing is None
    assert view.state == TRACKING and within(view.detections[0].bbox_xyxy, RED_XYXY)
    assert view.window_xyxy is not None and view.heatmap.max() > 0.5
    (thumbnail,) = view.thumbnails_bgr
    assert (thumbnail == (0, 0, 255)).all()
    assert "#1" in view.status and "flight.mp4 frame 0" in view.status


def test_while_dragging_the_view_shows_the_box_so_far(session, frames):
    session.take(frames(0, "red"))
    mouse(session, MOVE, 50, 60)
    assert session.view().drawing.cursor == pytest.approx((50, 60))
    assert session.view().drawing.box_xyxy is None
    mouse(session, PRESS, 100, 116)
    mouse(session, MOVE, 68, 84)  # upwards and to the left
    assert session.view().drawing.box_xyxy == pytest.approx(RED_XYXY)
    mouse(session, MOVE, -9, 300)
    assert session.view().drawing.box_xyxy == pytest.approx((0, 116, 100, 240))


def test_a_box_is_cut_at_the_border_and_begins_inside(session, detector, frames):
    session.take(frames(0, "red"))
    mouse(session, PRESS, -3, 100)
    mouse(session, RELEASE, 50, 150)
    assert not detector.bank.templates
    mouse(session, RELEASE, 50, 50)  # released without being pressed
    assert not detector.bank.templates
    drag(session, (300, 200, 900, 900))
    (thumbnail,) = session.view().thumbnails_bgr
    assert thumbnail.shape[:2] == (96, 48)  # of 20x40 px


def test_a_box_too_small_is_explained_and_can_be_drawn_again(session, clock, frames):
    session.take(frames(0, "red"))
    drag(session, (70, 90, 73, 110))
    assert "3x20 px" in session.view().hint and not session.wants_frame
    clock.now_s += 10
    assert "Drag a box" in session.view().hint
    drag(session, RED_XYXY)
    assert session.wants_frame and session.view().state == TRACKING


def test_frames_are_followed_and_an_absent_target_is_lost(session, frames):
    session.take(frames(0, "red"))
    drag(session, RED_XYXY)
    session.take(frames(1, "red", "blue"))
    frame, result = session.seen
    assert frame.name == 1 and within(result.detections[0].bbox_xyxy, RED_XYXY)
    for index in range(2, 12):
        session.take(frames(index, "green"))
    view = session.view()
    assert view.state == LOST and view.detections == ()
    assert "#1" in view.status and "presence 0.0" in view.status
    for index in range(12, 18):
        session.take(frames(index, "red"))
    view = session.view()
    assert view.state == TRACKING and view.detections[0].track_id == 1


def test_space_pauses_and_goes_on(session, frames):
    session.take(frames(0, "red"))
    drag(session, RED_XYXY)
    press(session, SPACE)
    assert not session.wants_frame and "PAUSED" in session.view().hint
    press(session, SPACE)
    assert session.wants_frame and "PAUSED" not in session.view().hint


def test_r_draws_another_target_on_the_frame_that_is_shown(session, frames):
    session.take(frames(0, "red", "blue"))
    drag(session, RED_XYXY)
    press(session, SPACE, "r")
    assert not session.wants_frame and session.view().drawing is not None
    drag(session, BLUE_XYXY)
    view = session.view()
    assert session.wants_frame and view.state == TRACKING
    assert within(view.detections[0].bbox_xyxy, BLUE_XYXY) and view.detections[0].track_id == 2
    assert len(view.thumbnails_bgr) == 1 and (view.thumbnails_bgr[0] == (255, 0, 0)).all()


def test_escape_leaves_the_drawing_and_else_quits(session, frames):
    session.take(frames(0, "red", "blue"))
    drag(session, RED_XYXY)
    press(session, "r")
    mouse(session, PRESS, 10, 10)
    press(session, ESCAPE)
    mouse(session, RELEASE, 60, 60)
    view = session.view()
    assert not session.done and session.wants_frame and view.drawing is None
    assert (view.thumbnails_bgr[0] == (0, 0, 255)).all()
    # The button that was pressed then does not count any more.
    press(session, "r")
    mouse(session, MOVE, 60, 60)
    assert session.view().drawing.box_xyxy is None
    press(session, ESCAPE, ESCAPE)
    assert session.done


@pytest.mark.parametrize("key", ["q", ESCAPE])
def test_before_there_is_a_target_both_keys_quit(session, frames, key):
    session.take(frames(0, "red"))
    press(session, key)
    assert session.done


def test_a_adds_photos_up_to_five_and_the_track_goes_on(session, frames):
    session.take(frames(0, "red"))
    drag(session, RED_XYXY)
    for count in (2, 3, 4, 5):
        press(session, "a")
        assert "one more photo" in session.view().hint
        drag(session, RED_XYXY)
        assert len(session.view().thumbnails_bgr) == count
    assert session.view().detections[0].track_id == 1
    press(session, "a")
    drag(session, RED_XYXY)
    view = session.view()
    assert "at most 5" in view.hint and len(view.thumbnails_bgr) == 5
    press(session, ESCAPE)
    assert session.wants_frame and session.view().detections[0].track_id == 1


def test_a_photo_of_a_target_that_is_not_followed_starts_there(session, frames):
    session.take(frames(0, "red"))
    drag(session, RED_XYXY)
    for index in range(1, 12):
        session.take(frames(index))
    assert session.view().state == LOST
    session.take(frames(12, "red"))
    press(session, "a")
    drag(session, RED_XYXY)
    view = session.view()
    assert view.state == TRACKING and view.detections[0].track_id == 2


def test_a_template_given_before_needs_no_box(detector, session, square_frame, tmp_path, frames):
    detector.set_template([Reference(square_frame("red"), RED_XYXY)])
    given = Session(detector, "flight.mp4", tmp_path)
    for index in range(5):
        assert given.wants_frame
        given.take(frames(index, "red"))
    assert given.view().state == TRACKING and given.view().drawing is None


def test_s_saves_the_frame_the_view_and_the_target(session, frames, tmp_path):
    frame = frames(7, "red", "blue")
    session.take(frame)
    press(session, "s")
    assert sorted(path.name for path in (tmp_path / "saved").iterdir()) == [
        "000007_frame.png",
        "000007_view.png",
    ]
    drag(session, RED_XYXY)
    view = paint(session.view(), session.layout)
    press(session, "s")
    assert "Saved" in session.view().hint and str(tmp_path) in session.view().hint
    saved = {
        kind: cv2.imread(str(tmp_path / f"saved/000007_{kind}.png"))
        for kind in ("frame", "view", "target")
    }
    assert np.array_equal(saved["frame"], frame.bgr)
    assert saved["view"].shape == view.shape
    assert (saved["target"] == (0, 0, 255)).all(axis=2).mean() > 0.8
    x1, y1, x2, y2 = session.seen[1].detections[0].bbox_xyxy
    assert saved["target"].shape[:2] == pytest.approx((y2 - y1, x2 - x1), abs=1)


def test_a_folder_that_cannot_be_written_is_said_and_nothing_ends(detector, frames, tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("")
    session = Session(detector, "flight.mp4", blocked)
    session.take(frames(0, "red"))
    press(session, "s")
    assert "Not saved" in session.view().hint and not session.done


def test_h_shows_the_keys_until_another_key(session, frames):
    session.take(frames(0, "red"))
    press(session, "h")
    assert session.view().help == HELP
    assert {key for key, _ in HELP} == {"space", "r", "a", "s", "h", "Esc", "q"}
    press(session, "h")
    assert session.view().help == ()
    press(session, "h", "s")
    assert session.view().help == ()


def test_the_rate_is_that_of_the_latest_frames_without_pauses(session, clock, frames):
    session.take(frames(0, "red"))
    drag(session, RED_XYXY)
    for index in range(1, 5):
        clock.now_s += 0.1
        session.take(frames(index, "red"))
    assert "10.0 fps" in session.view().status
    press(session, SPACE)
    clock.now_s += 60
    press(session, SPACE)
    for index in range(5, 8):
        clock.now_s += 0.05
        session.take(frames(index, "red"))
    assert "20.0 fps" in session.view().status
    assert " ms" in session.view().status


def test_a_frame_of_another_size_is_shown_too(session, square_frame, frames):
    session.take(frames(0, "red"))
    drag(session, RED_XYXY)
    session.take(Frame(1, 0.1, square_frame("red", size=(640, 480))))
    canvas = paint(session.view(), session.layout)
    assert canvas.shape[1::-1] == session.layout.size
