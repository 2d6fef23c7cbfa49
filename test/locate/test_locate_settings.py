"""The parameters of ``locate`` and the page that lists them."""

import re
from pathlib import Path

import pytest

pytest.importorskip("rclpy", reason="needs a ROS 2 Python")

from refdet_core.errors import ConfigError
from refdet_ros.locate.settings import LOCATE_OPTIONS, LocateSettings

PAGE = Path(__file__).resolve().parents[2] / "docs" / "locate.md"


def test_the_page_lists_every_parameter_with_its_default():
    rows = re.findall(r"^\| `(\w+)`(\*?) \| (.+?) \| (.+) \|$", PAGE.read_text(), re.MULTILINE)
    listed = {name: (bool(star), default, text) for name, star, default, text in rows}
    assert list(listed) == list(LOCATE_OPTIONS)
    for name, known in LOCATE_OPTIONS.items():
        running, default, text = listed[name]
        assert running == known.running and text == known.description
        if isinstance(known.default, float):
            assert float(default) == known.default
        else:
            assert default == (str(known.default).lower() or "empty")


def test_what_does_not_fit_is_refused():
    assert LocateSettings(origin="48.1, 11.5").given_origin.latitude == 48.1
    for wrong in ({"origin": "x"}, {"fixed_frame": "/"}):
        with pytest.raises(ConfigError):
            LocateSettings(**wrong)
