from __future__ import annotations

import pytest

from refdet_core.errors import SourceError
from refdet_core.satellite.band_order import match_bands, parse_bands

BGRN = ("blue", "green", "red", "nir")


@pytest.mark.parametrize(
    ("said", "own", "expected"),
    [
        ((), ("red", "green", "blue", "nir"), [3, 2, 1, 4]),
        ((), ("Red", "Green", "Blue", ""), [3, 2, 1, 4]),  # the nameless one must be infrared
        ((), ("", "", "", ""), [1, 2, 3, 4]),  # in the network's own order
        (("nir", "red", "green", "blue"), ("", "", "", ""), [4, 3, 2, 1]),
        (("nir", "red", "green", "blue"), BGRN, [4, 3, 2, 1]),  # the user knows best
    ],
)
def test_bands_are_found_by_name_wherever_they_are(said, own, expected) -> None:
    assert match_bands(BGRN, said, own, 4, "a.tif") == expected


def test_more_bands_than_needed_do_no_harm() -> None:
    own = ("coastal", "blue", "green", "red", "red edge", "nir")
    assert match_bands(BGRN, (), own, 6, "a.tif") == [2, 3, 4, 6]


@pytest.mark.parametrize(
    ("said", "own", "count"),
    [
        ((), ("red", "green", "blue"), 3),
        ((), ("", "", "", "", ""), 5),
        ((), ("red", "green", "blue", "alpha"), 4),
        (("red", "green"), ("", "", "", ""), 4),
        (("red", "green", "blue", "thermal"), ("", "", "", ""), 4),
    ],
)
def test_wrong_bands_are_refused_with_what_is_needed(said, own, count) -> None:
    with pytest.raises(SourceError, match=r"a\.tif.*") as error:
        match_bands(BGRN, said, own, count, "a.tif")
    assert "band" in str(error.value)
    assert "\n" not in str(error.value)


def test_short_names_are_understood() -> None:
    assert parse_bands("R, g,B , Near infrared") == ["red", "green", "blue", "nir"]
    assert parse_bands("") == []
