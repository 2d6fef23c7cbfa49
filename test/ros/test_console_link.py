"""Picture quality follows the link: down fast, up slowly, and never a queue."""

from __future__ import annotations

import pytest

pytest.importorskip("rclpy")

from refdet_ros.console.link import LADDER, Link

BYTES = (8_000, 14_000, 26_000, 50_000, 110_000, 210_000)


def drive(link, seconds, bytes_per_s, latency_s=0.01, frame_s=1 / 15, start_s=0.0):
    """A link of that rate, a camera; the age of each picture when it is drawn, and the rungs."""
    now_s, number, free_s = start_s, 0, start_s
    arriving, ages, rungs = [], [], []
    while now_s < start_s + seconds:
        for item in [item for item in arriving if item[0] <= now_s]:
            arriving.remove(item)
            link.acknowledged(item[1], item[0])
            ages.append(item[0] - item[2])
        if link.may_send(now_s):
            size = BYTES[LADDER.index(link.rung)]
            number += 1
            link.sent(number, size, now_s)
            free_s = max(free_s, now_s) + size / bytes_per_s
            arriving.append((free_s + latency_s, number, now_s))
            rungs.append(LADDER.index(link.rung))
        now_s += frame_s
    return ages, rungs


def test_on_a_lan_it_climbs_to_the_top():
    _, rungs = drive(Link(), 10, 12_500_000)
    assert rungs[0] < 2
    assert rungs[-1] == len(LADDER) - 1


def test_on_a_radio_link_pictures_stay_young():
    ages, rungs = drive(Link(), 30, 500_000 / 8)
    settled = sorted(ages[len(ages) // 3 :])
    assert settled[int(0.95 * len(settled))] < 0.3
    assert len(ages) > 60  # at least two pictures a second
    assert max(rungs[len(rungs) // 3 :]) <= 2


def test_a_link_that_gets_worse_is_followed_with_the_first_late_picture():
    link = Link()
    drive(link, 10, 12_500_000)
    # What is on its way at that moment takes its time.
    ages, rungs = drive(link, 14, 500_000 / 8, start_s=100.0)
    assert sum(rung > 1 for rung in rungs) <= 4
    assert ages[-1] < 0.3


def test_only_the_newest_picture_is_on_its_way_on_a_slow_link():
    link = Link()
    link.sent(1, 50_000, 0.0)
    link.acknowledged(1, 0.5)
    link.sent(2, 50_000, 0.5)
    assert not link.may_send(0.6)
    link.acknowledged(2, 1.0)
    assert link.may_send(1.0)


def test_a_page_that_stops_acknowledging_is_asked_again_after_a_while():
    link = Link()
    link.sent(1, 50_000, 0.0)
    link.sent(2, 50_000, 0.0)
    assert not link.may_send(3.0)
    assert link.may_send(5.0)


def test_strange_acknowledgements_are_ignored():
    link = Link()
    link.acknowledged(7, 1.0)
    link.sent(1, 10, 1.0)
    link.acknowledged(-1, 1.1)
    assert not link.may_send(1.5)
