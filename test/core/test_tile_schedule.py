from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from refdet_core.imaging import Crop
from refdet_core.search.tile_schedule import TileSchedule


def tiles(count: int, side: int = 64) -> list[Crop]:
    return [Crop(side * i, 0, side, side, side, side) for i in range(count)]


class OneScale:
    """A schedule of the tiles of one scale, by index."""

    def __init__(self, budget: int) -> None:
        self.schedule = TileSchedule(budget)
        self.tiles: list[Crop] = []

    def next(self, tiles: list[Crop]) -> list[int]:
        self.tiles = tiles
        (due,) = self.schedule.next([tiles])
        return due

    def record(self, due: list[int], best_scores: np.ndarray) -> None:
        self.schedule.record([self.tiles[i] for i in due], best_scores)


@settings(deadline=None)
@given(
    count=st.integers(1, 40),
    budget=st.integers(1, 45),
    seed=st.integers(0, 2**32 - 1),
)
def test_every_round_looks_at_every_tile_once(count: int, budget: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    schedule, frames = OneScale(budget), -(-count // budget)
    for _ in range(4):
        seen: list[int] = []
        for _ in range(frames):
            due = schedule.next(tiles(count))
            assert 1 <= len(due) <= budget
            schedule.record(due, random.random(len(due)))
            seen += due
        assert sorted(seen) == list(range(count))


@settings(deadline=None)
@given(count=st.integers(2, 30), budget=st.integers(1, 10), seed=st.integers(0, 2**32 - 1))
def test_no_tile_waits_longer_than_two_rounds(count: int, budget: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    schedule, frames = OneScale(budget), -(-count // budget)
    last_seen = dict.fromkeys(range(count), -1)
    for frame in range(6 * frames):
        due = schedule.next(tiles(count))
        schedule.record(due, random.random(len(due)))
        for tile in due:
            assert frame - last_seen[tile] < 2 * frames
            last_seen[tile] = frame


@pytest.mark.parametrize("budget", [0, 6, 7, 1000])
def test_a_budget_for_all_looks_at_all_in_every_frame(budget: int) -> None:
    schedule = OneScale(budget)
    for _ in range(3):
        due = schedule.next(tiles(6))
        assert due == [0, 1, 2, 3, 4, 5]
        schedule.record(due, np.linspace(0, 1, 6))


def test_the_first_round_goes_in_order_and_the_next_by_promise() -> None:
    schedule = OneScale(2)
    best_scores = np.array([0.1, 0.8, 0.3, 0.8, 0.9])
    rounds = []
    for _ in range(6):
        due = schedule.next(tiles(5))
        schedule.record(due, best_scores[due])
        rounds.append(due)
    # equal promises keep their order
    assert rounds == [[0, 1], [2, 3], [4], [1, 4], [2, 3], [0]]


def test_a_tile_that_shows_nothing_any_more_goes_to_the_end() -> None:
    schedule = OneScale(1)
    for _ in range(3):
        (tile,) = schedule.next(tiles(3))
        schedule.record([tile], np.array([0.9 if tile == 0 else 0.5]))
    assert schedule.next(tiles(3)) == [0]
    schedule.record([0], np.array([0.0]))
    assert [schedule.next(tiles(3))[0] for _ in range(2)] == [1, 2]
    assert schedule.next(tiles(3)) == [1]


def test_other_tiles_start_a_new_round() -> None:
    schedule = OneScale(2)
    schedule.record(schedule.next(tiles(5)), np.array([0.1, 0.9]))
    assert schedule.next(tiles(5, side=80)) == [0, 1]
    assert schedule.next(tiles(4, side=96)) == [0, 1]
    assert schedule.next(tiles(4, side=96)) == [2, 3]
    # fewer tiles than the budget, then the many again: nothing is left out
    due = schedule.next(tiles(1, side=200))
    assert due == [0]
    schedule.record(due, np.array([0.7]))
    seen = [tile for _ in range(3) for tile in schedule.next(tiles(5))]
    assert sorted(seen) == [0, 1, 2, 3, 4]


def test_no_tiles_are_no_work() -> None:
    for budget in (0, 3):
        schedule = OneScale(budget)
        assert schedule.next([]) == []
        schedule.record([], np.zeros(0))


def test_a_round_starts_with_the_scale_that_showed_most() -> None:
    schedule, coarse, fine = TileSchedule(1), tiles(2), tiles(3, side=32)
    promise = {**dict(zip(coarse, [0.1, 0.2])), **dict(zip(fine, [0.0, 0.3, 0.1]))}
    seen = []
    for _ in range(10):
        due = schedule.next([coarse, fine])
        (tile,) = [some[i] for some, indices in zip([coarse, fine], due) for i in indices]
        schedule.record([tile], np.array([promise[tile]]))
        seen.append(tile)
    assert seen[:5] == [*coarse, *fine]
    assert seen[5:] == [fine[1], fine[2], fine[0], coarse[1], coarse[0]]


def test_tiles_that_join_a_round_wait_for_no_other_round() -> None:
    schedule, coarse, fine = TileSchedule(1), tiles(2), tiles(2, side=32)
    assert schedule.next([coarse]) == [[0]]
    assert schedule.next([coarse, fine]) == [[1], []]
    assert schedule.next([coarse, fine]) == [[], [0]]
    assert schedule.next([coarse, fine]) == [[], [1]]


def test_scales_asked_for_by_turns_are_all_looked_at() -> None:
    schedule, coarse, fine = TileSchedule(1), tiles(3), tiles(3, side=32)
    seen = []
    for _ in range(3):
        seen += [("coarse", *due) for due in schedule.next([coarse])]
        seen += [("fine", *due) for due in schedule.next([fine])]
    assert sorted(seen) == [(name, i) for name in ("coarse", "fine") for i in range(3)]
