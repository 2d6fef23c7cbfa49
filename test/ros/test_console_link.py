"""Picture quality follows the link: down at once, up slowly, and never a queue."""

from __future__ import annotations

import pytest

pytest.importorskip("rclpy")

from refdet_ros.console.frames import STILL
from refdet_ros.console.link import LADDER, Link

BYTES = [2_700, 4_400, 6_800, 9_400, 13_000, 17_500, 27_000, 46_000, 78_000, 110_000, 150_000]
"""Of drone footage at 720p, on each rung."""
RADIO = 500_000 / 8


def drive(link, seconds, bytes_per_s, round_trip_s=0.01, start_s=0.0, busy=1.0, frame_s=1 / 15):
    """A camera on a link of that rate: how long each picture took to arrive, and its rung.

    ``busy`` times as many bytes a picture as usual; the browser needs 25 ms to decode one.
    """
    now_s, number, free_s = start_s, 0, start_s
    coming, delays, rungs = [], [], []
    while now_s < start_s + seconds:
        for item in [item for item in coming if item[0] <= now_s]:
            coming.remove(item)
            link.acknowledged(item[1], item[0], round_trip_s)
            delays.append(item[0] - item[2])
        if link.may_send(now_s):
            rung = LADDER.index(link.rung)
            size = busy * BYTES[rung]
            number += 1
            link.sent(number, link.rung, size, now_s)
            free_s = max(free_s, now_s) + size / bytes_per_s
            coming.append((free_s + round_trip_s + 0.025, number, now_s))
            rungs.append(rung)
        now_s += frame_s
    return delays, rungs


def test_on_a_lan_it_climbs_to_the_top_within_seconds():
    _, rungs = drive(Link(), 3, 12_500_000)
    assert rungs[0] < 3
    assert rungs[-1] == len(LADDER) - 1


def test_no_picture_is_larger_than_the_camera_delivers():
    link = Link()
    link.frame_width = 1280
    _, rungs = drive(link, 3, 12_500_000)
    assert LADDER[rungs[-1]].width == 1280


@pytest.mark.parametrize("busy", [0.5, 1.0, 3.0])
def test_on_a_radio_link_no_picture_is_late(busy):
    delays, rungs = drive(Link(), 30, RADIO, busy=busy)
    assert max(delays) < 0.25
    assert len(delays) > 3.5 * 30
    # It settles, and no larger picture is tried in vain.
    assert len(set(rungs[20:])) == 1
    larger = busy * BYTES[rungs[-1] + 1] / RADIO
    assert larger > 0.12  # nor is the link left unused


def test_a_held_frame_is_sharp_within_about_a_second():
    link = Link()
    drive(link, 10, RADIO)
    assert BYTES[LADDER.index(link.still)] / RADIO < 1.2
    drive(link, 10, 12_500_000, start_s=100.0)
    assert link.still == STILL


def test_a_long_way_does_not_make_pictures_small():
    near, far = (drive(Link(), 10, 4 * RADIO, round_trip_s)[1] for round_trip_s in (0.01, 0.3))
    assert far[-1] == near[-1]


def test_a_link_that_gets_worse_is_followed_with_the_first_late_picture():
    link = Link()
    drive(link, 5, 12_500_000)
    late = BYTES[-1] / RADIO + 0.1
    delays, rungs = drive(link, 8, RADIO, start_s=100.0)
    # One is on its way at that moment; with it the link is known.
    assert sum(delay > 0.25 for delay in delays) <= 2 and max(delays) < late
    assert rungs[2] <= 3


def test_one_hiccup_does_not_spoil_the_picture_for_long():
    link = Link()
    drive(link, 5, 12_500_000)
    link.sent(1000, link.rung, 150_000, 100.0)
    link.acknowledged(1000, 100.5)
    assert LADDER.index(link.rung) >= len(LADDER) - 4
    _, rungs = drive(link, 1, 12_500_000, start_s=101.0)
    assert rungs[-1] == len(LADDER) - 1


def test_only_one_picture_is_on_its_way_on_a_slow_link():
    link = Link()
    link.sent(1, link.rung, 50_000, 0.0)
    link.acknowledged(1, 0.5)
    link.sent(2, link.rung, 50_000, 0.5)
    assert not link.may_send(0.7)
    link.acknowledged(2, 1.0)
    assert link.may_send(1.0)


def test_a_page_that_stops_acknowledging_is_asked_again_after_a_while():
    link = Link()
    link.sent(1, link.rung, 50_000, 0.0)
    link.sent(2, link.rung, 50_000, 0.0)
    assert not link.may_send(3.0)
    assert link.may_send(5.0)


def test_strange_acknowledgements_are_ignored():
    link = Link()
    link.acknowledged(7, 1.0)
    link.sent(1, link.rung, 10, 1.0)
    link.acknowledged(-1, 1.1)
    assert not link.may_send(1.1)
    link.acknowledged(1, 1.0, round_trip_s=-5.0)
    link.sent(2, link.rung, 10, 2.0)
    link.acknowledged(2, 1.9, round_trip_s=1e9)
    assert link.rung in LADDER
