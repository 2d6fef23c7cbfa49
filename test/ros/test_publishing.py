"""Messages and pictures of a result that is known."""

import numpy as np
import pytest
from refdet_msgs.msg import Target
from sensor_msgs.msg import RegionOfInterest
from std_msgs.msg import Header

from refdet_core.types import LOST, SEARCHING, TRACKING, Detection, FrameResult, TargetStatus
from refdet_ros.pictures import debug_picture
from refdet_ros.publishing import to_detections, to_targets

SIZE = (320, 240)
GREEN, RED, ORANGE = [70, 220, 70], [70, 70, 255], [0, 190, 255]


def result(*statuses, detections=()):
    """A result with the targets "a", "b", ... in these states."""
    names = "abcdef"[: len(statuses)]
    return FrameResult(
        detections,
        dict.fromkeys(names, 0.25),
        bank_version=1,
        targets=dict(reversed(list(zip(names, statuses, strict=True)))),
    )


def test_no_targets_give_an_empty_array_with_the_frames_header():
    header = Header(frame_id="camera")
    message = to_targets(result(), header, SIZE)
    assert message.header == header and list(message.targets) == []


def test_every_state_ordered_by_template():
    message = to_targets(
        result(
            TargetStatus(SEARCHING), TargetStatus(TRACKING, 7), TargetStatus(LOST, 3, (0, 0, 8, 6))
        ),
        Header(),
        SIZE,
    )
    assert message.targets == [
        Target(template_id="a", state=Target.SEARCHING, presence=0.25),
        Target(template_id="b", state=Target.TRACKING, track_id="7", presence=0.25),
        Target(
            template_id="c",
            state=Target.LOST,
            track_id="3",
            presence=0.25,
            window=RegionOfInterest(width=8, height=6),
        ),
    ]


@pytest.mark.parametrize(
    "window_xyxy, expected",
    [
        ((10.4, 20.6, 50.0, 60.0), (10, 21, 40, 39)),
        ((-30.0, -40.0, 50.0, 60.0), (0, 0, 50, 60)),
        ((300.0, 200.0, 400.0, 300.0), (300, 200, 20, 40)),
        ((-50.0, -50.0, 900.0, 900.0), (0, 0, 320, 240)),
        ((-90.0, 10.0, -10.0, 90.0), (0, 10, 0, 80)),
        ((400.0, 10.0, 480.0, 90.0), (320, 10, 0, 80)),
    ],
)
def test_window_is_cut_at_the_frames_border(window_xyxy, expected):
    status = TargetStatus(TRACKING, 1, window_xyxy)
    window = to_targets(result(status), Header(), SIZE).targets[0].window
    assert (window.x_offset, window.y_offset, window.width, window.height) == expected


def test_id_of_a_detection_is_the_track():
    box = (10.0, 20.0, 30.0, 50.0)
    message = to_detections(
        result(detections=(Detection("a", 0.9, box, 12), Detection("a", 0.8, box))), Header()
    )
    assert [item.id for item in message.detections] == ["12", ""]


@pytest.mark.parametrize(
    "status, colour",
    [
        (TargetStatus(SEARCHING, None, (100, 80, 200, 180)), ORANGE),
        (TargetStatus(TRACKING, 4, (100, 80, 200, 180)), GREEN),
        (TargetStatus(LOST, 4, (100, 80, 200, 180)), RED),
    ],
)
def test_debug_picture_outlines_the_window_in_the_states_colour(status, colour):
    frame = np.full((240, 320, 3), 114, np.uint8)
    picture = debug_picture(result(status), frame)
    assert (frame == 114).all()
    assert picture[179, 120:180].tolist() == [colour] * 60  # last row inside
    assert picture[120:170, 199].tolist() == [colour] * 50  # last column inside
    assert (picture[181:, :] == 114).all() and (picture[:, 201:] == 114).all()
    assert (picture[120:170, 110:190] == 114).all()
    assert (picture[60:100, 100:200] != 114).any(axis=2).sum() > 150  # the state in words


def test_debug_picture_of_a_seen_target_names_it_once():
    frame = np.full((240, 320, 3), 114, np.uint8)
    seen = Detection("a", 0.9, (140, 120, 160, 140), 4)
    status = TargetStatus(TRACKING, 4, (100, 80, 200, 180))
    picture = debug_picture(result(status, detections=(seen,)), frame)
    assert picture[80, 105:195].tolist() == [GREEN] * 90  # no words on the window
    assert (picture[121:139, 141:159] == 114).all()  # nor on the object


@pytest.mark.parametrize(
    "window_xyxy",
    [None, (-500.0, -500.0, 9000.0, 9000.0), (1e6, 1e6, 2e6, 2e6), (-1e6, -1e6, -1e5, -1e5)],
)
def test_debug_picture_without_a_visible_outline(window_xyxy):
    frame = np.full((240, 320, 3), 114, np.uint8)
    picture = debug_picture(result(TargetStatus(TRACKING, 1, window_xyxy)), frame)
    assert picture.shape == frame.shape
    # At most the words; no line along a border.
    assert not any(
        (line == GREEN).all(axis=-1).mean() > 0.5
        for line in (picture[0], picture[-1], picture[:, 0], picture[:, -1])
    )
