from __future__ import annotations

import numpy as np
import pytest
from fake_look import FakeLook, Thing

from refdet_core.search.follower import Follower, Sight
from refdet_core.search.window import WindowConfig

CONFIG = WindowConfig()
LEAST = 0.15


def step(
    follower: Follower, look: FakeLook, config: WindowConfig = CONFIG, camera=None, least=LEAST
) -> Sight:
    return follower.step(look, "car", config, 32, least, camera)


def follower_at(x: float, y: float, size: float = 40, time_s: float = 0.0) -> Follower:
    return Follower(Thing.at(x, y, size).box_xyxy, time_s)


def centre(box_xyxy) -> tuple[float, float]:
    return (box_xyxy[0] + box_xyxy[2]) / 2, (box_xyxy[1] + box_xyxy[3]) / 2


def test_a_standing_target_is_seen_where_it_is() -> None:
    follower = follower_at(600, 300)
    assert follower.window_xyxy is None
    look = FakeLook([Thing.at(600, 300)])
    sight = step(follower, look)
    assert sight.box_xyxy == pytest.approx((580, 280, 620, 320))
    assert sight.score == pytest.approx(0.9)
    # 2 px of doubt (0.05 of the size) widen the 160 px by two on each side
    assert follower.window_xyxy == (516, 216, 684, 384)
    assert [len(crops) for crops, _ in look.looks] == [1]


def test_the_place_is_measured_and_the_size_smoothed() -> None:
    follower = follower_at(600, 300)
    sight = step(follower, FakeLook([Thing.at(612, 295, 60, score=0.5)]))
    # a third of half the way from 40 to 60: 40 + 0.33 * 0.5 * 20
    assert sight.box_xyxy == pytest.approx((590.35, 273.35, 633.65, 316.65), abs=0.01)
    assert follower.box_xyxy == sight.box_xyxy


def test_below_the_least_score_it_is_not_moved() -> None:
    follower = follower_at(600, 300)
    look = FakeLook([Thing.at(620, 300, score=0.4)])
    sight = step(follower, look, least=0.5)
    assert sight.score == pytest.approx(0.4)
    assert sight.box_xyxy == pytest.approx((580, 280, 620, 320))


@pytest.mark.parametrize("speed", [60.0, 200.0, 400.0])
def test_where_a_hidden_target_comes_out_the_window_is(speed: float) -> None:
    follower = follower_at(100, 300)
    for frame in range(1, 61):
        x, time_s = 100 + speed * frame / 30, frame / 30
        hidden = 30 < frame <= 48
        sight = step(follower, FakeLook([] if hidden else [Thing.at(x, 300)], time_s))
        assert (sight.score > 0.5) == (not hidden)
        assert centre(sight.box_xyxy) == pytest.approx((x, 300), abs=8)


def test_unseen_the_window_widens_up_to_its_limit() -> None:
    follower, sides = follower_at(600, 300), []
    for frame in range(90):
        look = FakeLook([], frame / 30)
        step(follower, look)
        (window,) = look.windows
        sides.append(window.width)
        assert window.out_width % 32 == 0
    assert sides == sorted(sides)
    assert (sides[0], sides[-1]) == (168, 320)
    step(follower, FakeLook([Thing.at(600, 300)], 3.0))
    look = FakeLook([Thing.at(600, 300)], 3.03)
    step(follower, look)
    assert look.windows[0].width < 250


def test_the_expected_centre_stays_in_the_frame() -> None:
    follower = follower_at(1200, 300)
    for frame in range(1, 31):
        step(follower, FakeLook([Thing.at(1200 + 4 * frame, 300)], frame / 30))
    for frame in range(31, 100):
        step(follower, FakeLook([], frame / 30))
        x, y = centre(follower.box_xyxy)
        assert 0 <= x <= 1280 and 0 <= y <= 720
    assert x == pytest.approx(1280)


def test_a_smaller_frame_midway_brings_the_window_into_it() -> None:
    follower = follower_at(1200, 700)
    step(follower, FakeLook([Thing.at(1200, 700)]))
    sight = step(follower, FakeLook([], 0.1, size=(320, 240)))
    assert centre(follower.box_xyxy) == pytest.approx((320, 240))
    assert sight.box_xyxy[2:] == (320, 240), "what is reported ends at the frame's border"
    sight = step(follower, FakeLook([Thing.at(300, 200)], 0.2, size=(320, 240)))
    assert centre(sight.box_xyxy) == pytest.approx((300, 200))


@pytest.mark.parametrize("times", [(0.0, 0.0, 0.0), (5.0, 4.0, 3.0), (5.0, -1e6, 1e6, 0.0)])
def test_time_that_stands_still_or_jumps_does_no_harm(times) -> None:
    follower = follower_at(600, 300, time_s=times[0])
    for time_s in times:
        sight = step(follower, FakeLook([Thing.at(600, 300)], time_s))
        assert sight.box_xyxy == pytest.approx((580, 280, 620, 320), abs=0.1)


def test_the_nearer_of_two_alike_is_the_target() -> None:
    follower = follower_at(600, 300)
    things = [Thing.at(660, 300, score=0.95), Thing.at(603, 301, score=0.9)]
    assert centre(step(follower, FakeLook(things)).box_xyxy) == pytest.approx((603, 301))
    # without the cosine window the higher score decides
    follower = follower_at(600, 300)
    config = WindowConfig(track_window_influence=0.0)
    assert centre(step(follower, FakeLook(things), config).box_xyxy) == pytest.approx((660, 300))


@pytest.mark.parametrize("count", [1, 3, 5])
def test_all_scales_are_one_look(count: int) -> None:
    look = FakeLook([Thing.at(600, 300)])
    sight = step(follower_at(600, 300), look, WindowConfig(track_scales=count))
    ((crops, names),) = look.looks
    assert (len(crops), names) == (count, ("car",))
    assert sight.box_xyxy == pytest.approx((580, 280, 620, 320))


def test_the_camera_carries_the_window_along() -> None:
    follower = follower_at(600, 300)
    step(follower, FakeLook([Thing.at(600, 300)]))
    jump = np.array([[1, 0, 150], [0, 1, -90]])
    sight = step(follower, FakeLook([Thing.at(750, 210)], 0.03), camera=jump)
    assert sight.score == pytest.approx(0.9)
    assert centre(sight.box_xyxy) == pytest.approx((750, 210))


@pytest.mark.parametrize("frame", [(1, 1), (8, 4000)])
def test_any_frame_will_do(frame) -> None:
    follower = follower_at(600, 300)
    for number in range(3):
        sight = step(follower, FakeLook([], number / 30, size=frame))
        x, y = centre(sight.box_xyxy)
        assert 0 <= x <= frame[0] and 0 <= y <= frame[1]


def test_a_target_of_less_than_a_pixel_is_followed() -> None:
    follower = follower_at(600, 300, 0.5)
    for frame in range(10):
        sight = step(follower, FakeLook([Thing.at(600 + frame, 300, 0.5)], frame / 30))
    assert centre(sight.box_xyxy) == pytest.approx((609, 300))
    assert sight.box_xyxy[2] > sight.box_xyxy[0]


def test_a_window_without_candidates_shows_nothing() -> None:
    follower = follower_at(600, 300)
    sight = step(follower, FakeLook(background=None))
    assert sight.score == 0
    assert sight.box_xyxy == pytest.approx((580, 280, 620, 320))
