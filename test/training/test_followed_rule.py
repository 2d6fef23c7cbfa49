"""The fit of when a followed target counts as still there, on made looks."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("sklearn")
pytest.importorskip("pandas", reason="the benchmark reads data sets")

from benchmarks.followed_rule import Look, fitted, report


def looks(fold, kind, count, cosine, overlap, seed):
    rng = np.random.default_rng(seed)
    noise = rng.normal(0, 0.02, (count, 2))
    none = np.zeros(count)
    rows = np.column_stack(
        [rng.normal(size=count), none, noise + np.array([cosine, overlap]), none]
    )
    return [Look(fold, kind, row) for row in rows]


@pytest.fixture
def made():
    found = []
    for number, fold in enumerate(("fold0", "fold1")):
        found += looks(fold, "right", 40, 0.95, 0.9, number)
        found += looks(fold, "absent", 20, 0.5, 0.3, 10 + number)
        found += looks(fold, "drifted", 10, 0.6, 0.5, 20 + number)
        found += looks(fold, "", 5, 0.8, 0.7, 30 + number)  # teaches nothing
    return found


def test_what_tells_them_apart_gets_the_weight(made):
    weights = fitted(made)
    assert weights.embedding > 0 and weights.colours > 0
    assert abs(weights.search) < 0.5, "the search network's answer is random here"
    assert weights.tracker == 0


def test_each_fold_is_judged_by_the_others(made):
    lines = report(made).splitlines()
    assert lines[2:] == [
        "| right | 80 | 1.000 |",
        "| absent | 40 | 0.000 |",
        "| drifted | 20 | 0.000 |",
    ]
    swapped = [Look(look.fold, look.kind, -look.evidence) for look in made if look.fold == "fold1"]
    mixed = [look for look in made if look.fold == "fold0"] + swapped
    assert "| right | 80 | 0.000 |" in report(mixed), "the other fold taught the opposite"
