from __future__ import annotations

import math

import numpy as np
import pytest

from refdet_core.errors import ConfigError, RefdetError
from refdet_core.search.motion import Motion
from refdet_core.types import BoxXYXY

FRAME_S = 1 / 30


def _box(x: float, y: float, width: float = 40, height: float = 30) -> BoxXYXY:
    return x - width / 2, y - height / 2, x + width / 2, y + height / 2


def _centre(box_xyxy: BoxXYXY) -> np.ndarray:
    return np.array([box_xyxy[0] + box_xyxy[2], box_xyxy[1] + box_xyxy[3]]) / 2


def _moving(speed_px_s: float = 100.0, seconds: float = 2.0) -> Motion:
    """Seen from (200, 300) on, to the right at a constant speed."""
    motion = Motion(_box(200, 300))
    for frame in range(1, round(seconds / FRAME_S) + 1):
        motion.predict(FRAME_S)
        motion.update(_box(200 + speed_px_s * frame * FRAME_S, 300), 0.9)
    return motion


def test_starts_at_the_box_and_at_rest() -> None:
    motion = Motion((10, 20, 50, 50))
    assert motion.box_xyxy == pytest.approx((10, 20, 50, 50))
    assert motion.velocity_px_s == (0, 0)
    assert motion.predict(FRAME_S) == pytest.approx((10, 20, 50, 50))


@pytest.mark.parametrize("predict_first", [True, False])
def test_the_camera_may_be_told_before_or_after_predicting(predict_first: bool) -> None:
    # the first box carried along, and a second one as sure, meet in the middle
    motion = Motion(_box(100, 100))
    if predict_first:
        motion.predict(0)
    motion.move(np.array([[1, 0, 50], [0, 1, 0]]))
    if not predict_first:
        motion.predict(0)
    assert motion.update(_box(160, 100), 1) == pytest.approx(_box(155, 100))


def test_no_time_changes_nothing() -> None:
    motion = _moving()
    before, doubt = motion.box_xyxy, motion.position_std_px
    assert motion.predict(0) == pytest.approx(before)
    assert motion.position_std_px == pytest.approx(doubt)


def test_gain_is_that_of_two_equally_sure_boxes() -> None:
    # The first box and an equally confident second one meet in the middle; half the confidence
    # is four times the variance, so a fifth of the way. Sizes meet at the geometric mean.
    assert Motion(_box(100, 100)).update(_box(110, 100), 1) == pytest.approx(_box(105, 100))
    assert Motion(_box(100, 100)).update(_box(110, 100), 0.5) == pytest.approx(_box(102, 100))
    wider = Motion(_box(100, 100, 20, 20)).update(_box(100, 100, 80, 20), 1)
    assert wider == pytest.approx(_box(100, 100, 40, 20))


def test_a_box_without_confidence_hardly_counts() -> None:
    moved = Motion(_box(100, 100)).update(_box(110, 100), 0)
    assert 100 < _centre(moved)[0] < 100.1


@pytest.mark.parametrize("speed", [0.0, 30.0, 100.0, 400.0])
def test_lands_on_the_target_after_an_occlusion(speed: float) -> None:
    motion = _moving(speed)
    assert motion.velocity_px_s == pytest.approx((speed, 0), abs=1 + speed / 100)
    for _ in range(21):  # 0.7 s
        box = motion.predict(FRAME_S)
    assert box == pytest.approx(_box(200 + speed * 2.7, 300), abs=3)


def test_irregular_frames() -> None:
    random = np.random.default_rng(0)
    motion = Motion(_box(200, 300))
    now = 0.0
    for dt_s in random.uniform(0.005, 0.2, 40):
        now += dt_s
        motion.predict(dt_s)
        motion.update(_box(200 + 80 * now, 300 - 50 * now), 0.9)
    assert motion.velocity_px_s == pytest.approx((80, -50), abs=2)
    assert motion.predict(0.7) == pytest.approx(
        _box(200 + 80 * (now + 0.7), 300 - 50 * (now + 0.7)), abs=3
    )


def test_steps_add_up() -> None:
    # across the moment from which on the velocity decays, 1 s after the last sight
    once, thrice = _moving(), _moving()
    once.predict(1.7)
    for dt_s in (0.5, 0.9, 0.3):
        thrice.predict(dt_s)
    assert once.box_xyxy == pytest.approx(thrice.box_xyxy)
    assert once.position_std_px == pytest.approx(thrice.position_std_px)
    assert once.velocity_px_s == pytest.approx(thrice.velocity_px_s)


def test_velocity_is_kept_then_decays() -> None:
    motion = _moving()
    speed = motion.velocity_px_s[0]
    motion.predict(1.0)
    assert motion.velocity_px_s[0] == pytest.approx(speed)
    motion.predict(0.5)
    assert motion.velocity_px_s[0] == pytest.approx(speed / math.e)


@pytest.mark.parametrize("unseen_s", [60.0, 1e6, 1e300])
def test_a_lost_target_does_not_fly_off(unseen_s: float) -> None:
    motion = _moving()
    start, speed = _centre(motion.box_xyxy), motion.velocity_px_s[0]
    size = np.subtract(motion.box_xyxy[2:], motion.box_xyxy[:2])
    box = motion.predict(unseen_s)
    # 1 s at full speed, then the integral of exp(-t / 0.5 s)
    assert _centre(box) - start == pytest.approx((speed * 1.5, 0), abs=0.01)
    assert np.subtract(box[2:], box[:2]) == pytest.approx(size)
    assert motion.velocity_px_s == pytest.approx((0, 0), abs=1e-9)
    assert math.isfinite(motion.position_std_px)


def test_seen_again_it_coasts_anew() -> None:
    motion = _moving()
    motion.predict(0.9)
    motion.update(_box(490, 300), 0.9)
    speed = motion.velocity_px_s[0]
    motion.predict(0.9)
    assert motion.velocity_px_s[0] == pytest.approx(speed)


def test_doubt_grows_unseen_and_shrinks_when_seen() -> None:
    motion = _moving()
    doubts = [motion.position_std_px]
    for _ in range(60):
        motion.predict(FRAME_S)
        doubts.append(motion.position_std_px)
    assert (np.diff(doubts) > 0).all()
    assert doubts[0] < 3
    motion.update(_box(500, 300), 0.9)
    assert motion.position_std_px < 3


def test_noise_is_smoothed() -> None:
    random = np.random.default_rng(1)
    motion = Motion(_box(200, 300), acceleration=0.5)
    errors = []
    for _ in range(200):
        motion.predict(FRAME_S)
        box = motion.update(_box(*random.normal((200, 300), 2)), 0.9)
        errors.append(_centre(box) - (200, 300))
    assert np.std(errors[30:]) < 1.4  # of 2 px


def test_a_sudden_stop_is_followed_within_half_a_second() -> None:
    motion = _moving(200)
    errors = []
    for _ in range(15):
        motion.predict(FRAME_S)
        errors.append(abs(_centre(motion.update(_box(600, 300), 0.9))[0] - 600))
    assert max(errors) < 20  # half the target's width
    assert errors[-1] < 2


def test_a_shaking_camera_is_compensated() -> None:
    # The target drives 60 px/s over the ground, the camera jumps by up to 40 px a frame.
    random = np.random.default_rng(2)
    motion = Motion(_box(200, 300))
    shift = np.zeros(2)
    for frame in range(1, 82):
        jump = random.uniform(-40, 40, 2)
        shift += jump
        motion.move(np.array([[1, 0, jump[0]], [0, 1, jump[1]]]))
        box = motion.predict(FRAME_S)
        truth = (200 + 60 * frame * FRAME_S + shift[0], 300 + shift[1])
        if frame <= 60:
            motion.update(_box(*truth), 0.9)
    assert _centre(box) == pytest.approx(truth, abs=3)  # 0.7 s unseen


def test_move_turns_scales_and_shifts() -> None:
    motion = _moving(100)
    x, y = _centre(motion.box_xyxy)
    width, height = np.subtract(motion.box_xyxy[2:], motion.box_xyxy[:2])
    velocity_x, velocity_y = motion.velocity_px_s
    doubt = motion.position_std_px
    # a quarter turn, twice as large: (x, y) -> (-2 y + 1000, 2 x + 50)
    box = motion.move(np.array([[0, -2, 1000], [2, 0, 50]]))
    assert box == pytest.approx(_box(-2 * y + 1000, 2 * x + 50, 2 * width, 2 * height))
    assert motion.velocity_px_s == pytest.approx((-2 * velocity_y, 2 * velocity_x))
    assert motion.position_std_px == pytest.approx(2 * doubt)


def test_a_camera_at_rest_changes_nothing() -> None:
    motion = _moving()
    before, doubt = motion.box_xyxy, motion.position_std_px
    assert motion.move(np.eye(2, 3)) == pytest.approx(before)
    assert motion.position_std_px == pytest.approx(doubt)


def test_one_setting_fits_near_and_far() -> None:
    near, far = Motion(_box(80, 40, 80, 40)), Motion(_box(8, 4, 8, 4))
    for step in range(10):
        for motion, scale in ((near, 10.0), (far, 1.0)):
            motion.predict(0.1)
            motion.update(_box(scale * (8 + step**2 / 5), scale * 4, scale * 8, scale * 4), 0.7)
    assert near.box_xyxy == pytest.approx(np.multiply(far.box_xyxy, 10))
    assert near.position_std_px == pytest.approx(far.position_std_px * 10)


def test_size_stays_positive() -> None:
    motion = Motion(_box(0, 0, 1e-9, 1e-9))
    for size in (1e5, 1e-5, 1e5, 1e-9) * 5:
        motion.predict(1)
        x1, y1, x2, y2 = motion.update(_box(0, 0, size, size), 1)
        assert x2 > x1 and y2 > y1 and math.isfinite(x2 + y2)
    for zoom in (0.5, 2.0):
        for _ in range(300):
            x1, y1, x2, y2 = motion.move(np.array([[zoom, 0, 0], [0, zoom, 0]]))
            assert x2 > x1 and y2 > y1 and math.isfinite(x2 + y2)
        motion.update(_box(0, 0), 1)


def test_still_right_after_many_frames() -> None:
    motion = Motion(_box(200, 300))
    camera = np.array([[1, 1e-4, 0.02], [-1e-4, 1, -0.01]])
    for _ in range(3000):
        motion.move(camera)
        motion.predict(0.2)
        motion.update(_box(200, 300), 0.9)
    assert _centre(motion.box_xyxy) == pytest.approx((200, 300), abs=0.5)
    assert 0 < motion.position_std_px < 3


@pytest.mark.parametrize(
    "box",
    [
        (math.nan, 0, 10, 10),
        (0, 0, math.inf, 10),
        (10, 0, 0, 10),
        (0, 0, 0, 10),
        (0, 0, 10),
        (),
        None,
    ],
)
def test_a_bad_box_is_refused_and_changes_nothing(box: object) -> None:
    with pytest.raises(RefdetError, match="four finite numbers"):
        Motion(box)  # type: ignore[arg-type]
    motion = _moving()
    before = motion.box_xyxy
    with pytest.raises(RefdetError, match="four finite numbers"):
        motion.update(box, 0.9)  # type: ignore[arg-type]
    assert motion.box_xyxy == before


@pytest.mark.parametrize("confidence", [-0.1, 1.1, math.nan])
def test_bad_confidence_is_refused(confidence: float) -> None:
    with pytest.raises(RefdetError, match="confidence between 0 and 1"):
        _moving().update(_box(0, 0), confidence)


@pytest.mark.parametrize("dt_s", [-0.01, math.nan, math.inf])
def test_bad_time_is_refused(dt_s: float) -> None:
    with pytest.raises(RefdetError, match="dt_s"):
        _moving().predict(dt_s)


@pytest.mark.parametrize(
    "camera",
    [
        np.eye(3),
        np.zeros((2, 3)),
        np.full((2, 3), math.nan),
        np.array([[1, 0, math.inf], [0, 1, 0]]),
        np.array([]),
    ],
)
def test_bad_camera_matrix_is_refused_and_changes_nothing(camera: np.ndarray) -> None:
    motion = _moving()
    before = motion.box_xyxy
    with pytest.raises(RefdetError, match="camera matrix"):
        motion.move(camera)
    assert motion.box_xyxy == before


@pytest.mark.parametrize(
    "name",
    [
        "start_speed",
        "acceleration",
        "size_change",
        "position_noise",
        "size_noise",
        "coast_s",
        "decay_s",
    ],
)
@pytest.mark.parametrize("value", [0.0, -1.0, math.nan, math.inf])
def test_bad_settings_are_refused(name: str, value: float) -> None:
    with pytest.raises(ConfigError, match=name):
        Motion(_box(0, 0), **{name: value})
