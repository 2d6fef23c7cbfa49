"""The tables of docs/ros-interface.md and docs/tracking.md are those of the node."""

import re
from pathlib import Path

import pytest

from refdet_ros.parameters import OPTIONS

ROOT = Path(__file__).resolve().parents[2]
ROW = re.compile(r"^\| ((?:`\w+`(?:, )?)+) \| ([^|]*) \|", re.MULTILINE)


def documented_defaults():
    """Parameter to default, as text; a row may hold several, separated by commas."""
    rows = []
    for page in ("ros-interface.md", "tracking.md"):
        _, _, section = (
            (ROOT / "docs" / page).read_text(encoding="utf-8").partition("\n## Parameters")
        )
        section, _, _ = section.partition("\n## ")
        rows += ROW.findall(section)
    defaults = {}
    for names, values in rows:
        names = re.findall(r"\w+", names)
        values = [value.strip(" `") for value in values.split(",")]
        defaults.update(zip(names, values if len(names) == len(values) else values * len(names)))
    return defaults


def test_every_parameter_is_documented():
    assert sorted(documented_defaults()) == sorted(OPTIONS)


@pytest.mark.parametrize("name", sorted(OPTIONS))
def test_defaults_are_the_documented_ones(name):
    default, text = OPTIONS[name].default, documented_defaults().get(name, "")
    if isinstance(default, bool):
        assert text == str(default).lower()
    elif isinstance(default, (int, float)):
        assert float(text.split()[0]) == default
    elif default:
        assert text == default
    else:
        assert text in ("none", "released model", "the user's cache folder")


def test_launch_arguments_are_documented():
    page = (ROOT / "docs" / "ros-interface.md").read_text(encoding="utf-8")
    for name in ("detector", "replay"):
        source = (ROOT / "launch" / f"{name}.launch.py").read_text(encoding="utf-8")
        table = source.partition("ARGUMENTS = {")[2].partition("\n}")[0]
        row = next(line for line in page.splitlines() if line.startswith(f"| `{name}.launch.py`"))
        given = re.findall(r'^    "(\w+)":', table, re.MULTILINE)
        assert given
        assert [argument for argument in given if argument not in re.findall(r"\w+", row)] == []
