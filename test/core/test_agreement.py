"""Several networks that look for one target from one position."""

from __future__ import annotations

import pytest

from refdet_core.search.agreement import Answer, combined


def answer(x: float, score: float, size: float = 40, rate: float = 0.5) -> Answer:
    half = size / 2
    return Answer((x - half, 100 - half, x + half, 100 + half), score, score, rate)


def test_one_answer_is_the_answer():
    only = answer(100, 0.7)
    assert combined([only]) == only


def test_boxes_that_agree_are_averaged_by_their_scores():
    both = combined([answer(100, 0.9, rate=0.8), answer(112, 0.3, rate=0.4)])
    assert both.box_xyxy == pytest.approx((83, 80, 123, 120))
    assert both.score == 0.9
    assert both.rate == pytest.approx(0.7)


@pytest.mark.parametrize("order", [1, -1])
def test_where_they_disagree_the_surer_one_counts(order):
    sure, unsure = answer(100, 0.8), answer(160, 0.7)
    assert combined([sure, unsure][::order]).box_xyxy == pytest.approx(sure.box_xyxy)


def test_the_third_that_disagrees_is_left_out():
    three = combined([answer(100, 0.8), answer(104, 0.8), answer(300, 0.5)])
    assert three.box_xyxy == pytest.approx((82, 80, 122, 120))


def test_nothing_seen_by_anybody_is_nothing_seen():
    assert combined([answer(100, 0.0), answer(300, 0.0)]).score == 0.0
