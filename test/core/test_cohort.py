"""Cosines in relation to those of other things."""

from __future__ import annotations

import numpy as np
import pytest

from refdet_core.cohort import Cohort, load_cohort
from refdet_core.errors import BundleError


def at(*degrees: float) -> np.ndarray:
    """Features of length 1 at these angles, ``(N, 2)``."""
    angles = np.radians(degrees)
    return np.stack([np.cos(angles), np.sin(angles)], axis=1)


def cosine(degrees: float) -> float:
    return float(np.cos(np.radians(degrees)))


def test_a_relative_cosine_is_the_mean_distance_from_both_sides_cohorts() -> None:
    # a sixteenth of 32 things are the two nearest ones
    cohort = Cohort(np.concatenate([at(25.0, 80.0), at(*np.full(30, 180.0))]))
    (found,) = cohort.relative_cosines(at(10.0), at(0.0))
    own = np.array([cosine(15), cosine(70)])
    known = np.array([cosine(25), cosine(80)])
    expected = (
        (cosine(10) - own.mean()) / own.std() + (cosine(10) - known.mean()) / known.std()
    ) / 2
    assert found == pytest.approx(expected, rel=1e-4) and found < 4


def test_more_than_four_deviations_say_no_more() -> None:
    cohort = Cohort(at(*np.full(32, 90.0), *np.full(32, 89.0)))
    assert cohort.relative_cosines(at(0.0, 180.0), at(0.0))[0] == 4.0


def test_the_most_similar_known_thing_counts() -> None:
    cohort = Cohort(at(*np.linspace(10, 300, 64)))
    things = at(15.0, 70.0)
    each = [cohort.relative_cosines(things, at(degrees)) for degrees in (0.0, 45.0)]
    assert cohort.relative_cosines(things, at(0.0, 45.0)) == pytest.approx(np.max(each, axis=0))


def test_the_same_cosine_says_less_of_a_thing_that_looks_like_many() -> None:
    cohort = Cohort(at(*np.linspace(10, 40, 32), *np.linspace(150, 170, 8)))
    like_many, like_few = at(20.0), at(-80.0)
    assert cohort.relative_cosines(at(30.0), like_many) < cohort.relative_cosines(
        at(-70.0), like_few
    )


@pytest.mark.parametrize("count", [1, 2, 600])
def test_any_number_of_things_makes_a_cohort(count: int) -> None:
    found = Cohort(at(*np.linspace(0, 90, count))).relative_cosines(at(0.0, 45.0), at(0.0))
    assert found.shape == (2,) and np.isfinite(found).all()


def test_a_file_keeps_it(tmp_path) -> None:
    cohort = Cohort(at(*np.linspace(0, 300, 48)))
    cohort.save(tmp_path / "cohort.npy")
    again = load_cohort(tmp_path / "cohort.npy")
    things, known = at(40.0, 80.0), at(0.0)
    assert again.relative_cosines(things, known) == pytest.approx(
        cohort.relative_cosines(things, known),
        rel=0.1,  # 16 bits
    )


@pytest.mark.parametrize(
    "features", [np.zeros((0, 4)), np.zeros(4), np.full((2, 4), np.nan), np.zeros((1, 2, 3))]
)
def test_what_is_no_list_of_features_is_refused(features) -> None:
    with pytest.raises(BundleError, match="finite features"):
        Cohort(features)


def test_features_of_other_networks_are_refused() -> None:
    with pytest.raises(BundleError, match=r"2 features for each thing.*give 3"):
        Cohort(at(0.0)).relative_cosines(np.ones((1, 3)), np.ones((1, 3)))


def test_a_file_that_is_missing_or_damaged_is_named(tmp_path) -> None:
    with pytest.raises(BundleError, match=r"missing\.npy"):
        load_cohort(tmp_path / "missing.npy")
    (tmp_path / "damaged.npy").write_bytes(b"nothing")
    with pytest.raises(BundleError, match=r"damaged\.npy"):
        load_cohort(tmp_path / "damaged.npy")
    np.save(tmp_path / "objects.npy", np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(BundleError, match=r"objects\.npy"):
        load_cohort(tmp_path / "objects.npy")
