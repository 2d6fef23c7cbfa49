"""Fewer networks follow where all of them take too long."""

from __future__ import annotations

import logging
import time
from dataclasses import replace

import numpy as np
import pytest
from fake_search_frame import BUNDLE, FakeBackend, Thing

from refdet_core.detector import Detector, DetectorConfig
from refdet_core.errors import ConfigError
from refdet_core.following_speed import follow_in_time
from refdet_core.network import Network
from refdet_core.types import TRACKING, Reference

FRAME = np.zeros((480, 640, 3), np.uint8)
PHOTO = Reference(FRAME[:80, :80])
BOX_XYXY = (300, 200, 340, 240)


class SlowBackend(FakeBackend):
    """A network that takes so many seconds for a window."""

    def __init__(self, takes_s):
        super().__init__([Thing(BOX_XYXY), Thing((600, 320, 664, 384), name="target")])
        self.takes_s = takes_s

    def infer(self, frames, features):
        time.sleep(self.takes_s)
        return super().infer(frames, features)


def detector(times_s, search="auto"):
    """A detector with followers that take these times for a window, named 0, 1, ..."""
    followers = [
        Network(replace(BUNDLE, name=str(number)), SlowBackend(takes_s), follows=True)
        for number, takes_s in enumerate(times_s)
    ]
    return Detector(BUNDLE, SlowBackend(0.0), DetectorConfig(search=search), others=followers)


def followers(opened):
    return [network.bundle.name for network in opened.others if network.follows]


@pytest.mark.parametrize(
    ("times_s", "expected"),
    [
        ((0, 0, 0), ["0", "1", "2"]),
        ((0.2, 0, 0), ["1", "2"]),
        ((0, 0.2, 0), ["2"]),  # the first-named go first
        ((0.2, 0.2, 0.2), ["2"]),  # one always follows
        ((0.2,), ["0"]),
        ((), []),
    ],
)
def test_the_first_named_stop_following_until_a_frame_is_fast_enough(times_s, expected):
    with detector(times_s) as opened:
        follow_in_time(opened, longest_s=0.15)
        assert followers(opened) == expected


def test_it_says_who_stops_and_the_model_names_those_that_follow(caplog):
    with detector((0.2, 0)) as opened, caplog.at_level(logging.INFO, "refdet_core"):
        follow_in_time(opened, longest_s=0.15)
        assert "targets followed by 1 test, compared by 0 test" in opened.model
    message = caplog.text
    assert "with 0, 1: 0 no longer follows" in message
    assert "set tracking_bundle to 0+1" in message


def test_a_fast_computer_says_nothing(caplog):
    with detector((0, 0)) as opened, caplog.at_level(logging.INFO, "refdet_core"):
        follow_in_time(opened, longest_s=10)
    assert not caplog.text


@pytest.mark.parametrize("search", ["full_frame", "tiles", "track"])
def test_the_search_does_not_matter_because_it_can_change_later(search):
    with detector((0.2, 0), search) as opened:
        follow_in_time(opened, longest_s=0.15)
        assert followers(opened) == ["1"]
        assert opened.config.search == search


def test_templates_and_tracks_stay_and_the_first_track_has_the_id_1():
    with detector((0.2, 0), "track") as opened:
        opened.set_template([PHOTO], "car")
        opened.lock("car", BOX_XYXY)
        opened.detect(FRAME, time_s=0.0)
        follow_in_time(opened, longest_s=0.15)
        stopped, follower = (network.backend for network in opened.others)
        stopped.inferred.clear(), follower.inferred.clear()
        result = opened.detect(FRAME, time_s=0.1)
        assert result.targets["car"].state == TRACKING
        assert result.detections[0].track_id == 1
        assert follower.inferred and not stopped.inferred


def test_a_network_that_is_not_there_cannot_follow():
    with detector((0, 0)) as opened:
        with pytest.raises(ConfigError, match=r"'tracker'.*known: 0, 1"):
            opened.follow_with(["tracker"])
        assert followers(opened) == ["0", "1"]


def test_without_followers_the_search_network_follows():
    with detector((0, 0), "track") as opened:
        opened.follow_with([])
        opened.set_template([PHOTO], "car")
        opened.lock("car", BOX_XYXY)
        result = opened.detect(FRAME, time_s=0.0)
        assert result.targets["car"].state == TRACKING
        assert not any(network.backend.inferred for network in opened.others)
