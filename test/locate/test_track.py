"""Smoothing positions: velocity, gaps, outliers, an honest covariance."""

import numpy as np
import pytest

from refdet_ros.locate.locator import Position
from refdet_ros.locate.track import PositionTrack

S = 10**9
VELOCITY = np.array([3.0, -1.0, 0.0])


def measured(point, jitter=1.0, bias=0.5):
    covariance = np.diag([1.0, 1.0, 0.01])
    return Position(np.asarray(point, float), jitter**2 * covariance, bias**2 * covariance, 50.0)


def straight(track, count, noise=1.0, seed=0, hz=10, bias=(0.0, 0.0, 0.0)):
    """Feed a straight way with noise; returns the true end."""
    random = np.random.default_rng(seed)
    for number in range(count):
        truth = VELOCITY * number / hz
        error = random.normal(size=3) * [noise, noise, 0.1 * noise] + bias
        track.update(measured(truth + error, max(noise, 0.1)), number * S // hz, "1")
    return truth


def new_track():
    return PositionTrack(acceleration=1.0, max_speed=5.0, gap_s=5.0)


def test_one_position_is_taken_as_it_is():
    track = new_track()
    track.update(measured([5, 6, 7]), S)
    assert track.position == pytest.approx([5, 6, 7])
    assert track.velocity == pytest.approx([0, 0, 0])
    assert np.diag(track.covariance) == pytest.approx([1.25, 1.25, 0.0125])
    assert np.diag(track.velocity_covariance) == pytest.approx(25)


def test_it_is_closer_than_a_single_frame_and_knows_the_velocity():
    errors, speeds = [], []
    for seed in range(20):
        track = new_track()
        truth = straight(track, 60, seed=seed)
        errors.append(np.linalg.norm((track.position - truth)[:2]))
        speeds.append(np.linalg.norm((track.velocity - VELOCITY)[:2]))
    assert np.sqrt(np.mean(np.square(errors))) < 0.7 * np.sqrt(2)
    assert np.sqrt(np.mean(np.square(speeds))) < 1.0


def test_the_covariance_covers_noise_and_bias():
    inside = []
    for seed in range(200):
        bias = np.random.default_rng(1000 + seed).normal(size=3) * [0.5, 0.5, 0.05]
        track = new_track()
        truth = straight(track, 30, seed=seed, bias=bias)
        error = (track.position - truth)[:2]
        inside.append(error @ np.linalg.solve(track.covariance[:2, :2], error) <= 5.991)
    assert np.mean(inside) >= 0.93


@pytest.mark.parametrize(
    "stamp_s, track_id", [(1.0, "2"), (20.0, "1"), (-1.0, "1")], ids=["id", "gap", "back in time"]
)
def test_a_new_track_begins(stamp_s, track_id):
    track = new_track()
    straight(track, 10)
    track.update(measured([500, 0, 0]), round(stamp_s * S), track_id)
    assert track.position == pytest.approx([500, 0, 0])
    assert track.velocity == pytest.approx([0, 0, 0])


def test_one_outlier_is_not_followed_but_a_target_elsewhere_is():
    track = new_track()
    truth = straight(track, 20, noise=0.3)
    track.update(measured([900, 900, 0]), 2 * S, "1")
    assert np.linalg.norm(track.position - truth) < 3
    for number in range(6):
        track.update(measured([900, 900, 0]), 2 * S + (number + 1) * S // 10, "1")
    assert track.position == pytest.approx([900, 900, 0], abs=1)


def test_the_same_stamp_twice_and_deviations_of_zero_are_survived():
    track = new_track()
    exact = Position(np.zeros(3), np.zeros((3, 3)), np.zeros((3, 3)), 1.0)
    for stamp in (0, 0, S, S):
        track.update(exact, stamp)
    assert np.isfinite(track.position).all() and np.isfinite(track.covariance).all()
