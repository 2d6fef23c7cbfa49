from __future__ import annotations

import numpy as np
import pytest
from fake_search_frame import FakeSearchFrame, Thing

from refdet_core.search.local_tracker import LocalTracker, Observation
from refdet_core.search.window import WindowConfig

CONFIG = WindowConfig()
LEAST = 0.15


def step(
    tracker: LocalTracker,
    search_frame: FakeSearchFrame,
    config: WindowConfig = CONFIG,
    camera=None,
    least=LEAST,
) -> Observation:
    return tracker.track(search_frame, "car", config, least, camera)


def tracker_at(x: float, y: float, size: float = 40, time_s: float = 0.0) -> LocalTracker:
    return LocalTracker(Thing.at(x, y, size).box_xyxy, time_s)


def centre(box_xyxy) -> tuple[float, float]:
    return (box_xyxy[0] + box_xyxy[2]) / 2, (box_xyxy[1] + box_xyxy[3]) / 2


def test_a_standing_target_is_seen_where_it_is() -> None:
    tracker = tracker_at(600, 300)
    assert tracker.window_xyxy is None
    search_frame = FakeSearchFrame([Thing.at(600, 300)])
    observation = step(tracker, search_frame)
    assert observation.box_xyxy == pytest.approx((580, 280, 620, 320))
    assert observation.score == pytest.approx(0.9)
    # 2 px of doubt (0.05 of the size) widen the 160 px by two on each side
    assert tracker.window_xyxy == (516, 216, 684, 384)
    assert [len(crops) for crops, _ in search_frame.inferences] == [1]


def test_the_place_is_measured_and_the_size_smoothed() -> None:
    tracker = tracker_at(600, 300)
    observation = step(tracker, FakeSearchFrame([Thing.at(612, 295, 60, score=0.5)]))
    # a third of half the way from 40 to 60, slowed by the penalty: 40 + 0.33 * 0.5 * 0.973 * 20
    assert observation.box_xyxy == pytest.approx((590.39, 273.39, 633.61, 316.61), abs=0.01)
    assert tracker.box_xyxy == observation.box_xyxy


def test_below_the_least_score_it_is_not_moved() -> None:
    tracker = tracker_at(600, 300)
    search_frame = FakeSearchFrame([Thing.at(620, 300, score=0.4)])
    observation = step(tracker, search_frame, least=0.5)
    assert observation.score == pytest.approx(0.4)
    assert observation.box_xyxy == pytest.approx((580, 280, 620, 320))


@pytest.mark.parametrize("speed", [60.0, 200.0, 400.0])
def test_where_a_hidden_target_comes_out_the_window_is(speed: float) -> None:
    tracker = tracker_at(100, 300)
    for frame in range(1, 61):
        x, time_s = 100 + speed * frame / 30, frame / 30
        hidden = 30 < frame <= 48
        observation = step(tracker, FakeSearchFrame([] if hidden else [Thing.at(x, 300)], time_s))
        assert (observation.score > 0.5) == (not hidden)
        assert centre(observation.box_xyxy) == pytest.approx((x, 300), abs=8)


def test_unseen_the_window_widens_up_to_its_limit() -> None:
    tracker, sides = tracker_at(600, 300), []
    for frame in range(90):
        search_frame = FakeSearchFrame([], frame / 30)
        step(tracker, search_frame)
        (window,) = search_frame.windows
        sides.append(window.width)
        assert window.out_width % search_frame.multiple == 0
    assert sides == sorted(sides)
    assert (sides[0], sides[-1]) == (168, 240)
    step(tracker, FakeSearchFrame([Thing.at(600, 300)], 3.0))
    search_frame = FakeSearchFrame([Thing.at(600, 300)], 3.03)
    step(tracker, search_frame)
    assert search_frame.windows[0].width < 250


def test_the_expected_centre_stays_in_the_frame() -> None:
    tracker = tracker_at(1200, 300)
    for frame in range(1, 31):
        step(tracker, FakeSearchFrame([Thing.at(1200 + 4 * frame, 300)], frame / 30))
    for frame in range(31, 100):
        step(tracker, FakeSearchFrame([], frame / 30))
        x, y = centre(tracker.box_xyxy)
        assert 0 <= x <= 1280 and 0 <= y <= 720
    assert x == pytest.approx(1280)


def test_a_smaller_frame_midway_brings_the_window_into_it() -> None:
    tracker = tracker_at(1200, 700)
    step(tracker, FakeSearchFrame([Thing.at(1200, 700)]))
    observation = step(tracker, FakeSearchFrame([], 0.1, size=(320, 240)))
    assert centre(tracker.box_xyxy) == pytest.approx((320, 240))
    assert observation.box_xyxy[2:] == (320, 240), "what is reported ends at the frame's border"
    observation = step(tracker, FakeSearchFrame([Thing.at(300, 200)], 0.2, size=(320, 240)))
    assert centre(observation.box_xyxy) == pytest.approx((300, 200))


@pytest.mark.parametrize("times", [(0.0, 0.0, 0.0), (5.0, 4.0, 3.0), (5.0, -1e6, 1e6, 0.0)])
def test_time_that_stands_still_or_jumps_does_no_harm(times) -> None:
    tracker = tracker_at(600, 300, time_s=times[0])
    for time_s in times:
        observation = step(tracker, FakeSearchFrame([Thing.at(600, 300)], time_s))
        assert observation.box_xyxy == pytest.approx((580, 280, 620, 320), abs=0.1)


def test_the_nearer_of_two_alike_is_the_target() -> None:
    tracker = tracker_at(600, 300)
    things = [Thing.at(660, 300, score=0.95), Thing.at(603, 301, score=0.9)]
    assert centre(step(tracker, FakeSearchFrame(things)).box_xyxy) == pytest.approx((603, 301))
    # without the cosine window the higher score decides
    tracker = tracker_at(600, 300)
    config = WindowConfig(track_window_influence=0.0)
    assert centre(step(tracker, FakeSearchFrame(things), config).box_xyxy) == pytest.approx(
        (660, 300)
    )


@pytest.mark.parametrize("count", [1, 3, 5])
def test_all_scales_are_one_look(count: int) -> None:
    search_frame = FakeSearchFrame([Thing.at(600, 300)])
    observation = step(tracker_at(600, 300), search_frame, WindowConfig(track_scales=count))
    ((crops, names),) = search_frame.inferences
    assert (len(crops), names) == (count, ("car",))
    assert observation.box_xyxy == pytest.approx((580, 280, 620, 320))


def test_the_camera_carries_the_window_along() -> None:
    tracker = tracker_at(600, 300)
    step(tracker, FakeSearchFrame([Thing.at(600, 300)]))
    jump = np.array([[1, 0, 150], [0, 1, -90]])
    observation = step(tracker, FakeSearchFrame([Thing.at(750, 210)], 0.03), camera=jump)
    assert observation.score == pytest.approx(0.9)
    assert centre(observation.box_xyxy) == pytest.approx((750, 210))


@pytest.mark.parametrize("frame", [(1, 1), (8, 4000)])
def test_any_frame_will_do(frame) -> None:
    tracker = tracker_at(600, 300)
    for number in range(3):
        observation = step(tracker, FakeSearchFrame([], number / 30, size=frame))
        x, y = centre(observation.box_xyxy)
        assert 0 <= x <= frame[0] and 0 <= y <= frame[1]


def test_a_target_of_less_than_a_pixel_is_followed() -> None:
    tracker = tracker_at(600, 300, 0.5)
    for frame in range(10):
        observation = step(tracker, FakeSearchFrame([Thing.at(600 + frame, 300, 0.5)], frame / 30))
    assert centre(observation.box_xyxy) == pytest.approx((609, 300))
    assert observation.box_xyxy[2] > observation.box_xyxy[0]


def test_a_window_without_candidates_shows_nothing() -> None:
    tracker = tracker_at(600, 300)
    observation = step(tracker, FakeSearchFrame(background=None))
    assert observation.score == 0
    assert observation.box_xyxy == pytest.approx((580, 280, 620, 320))
