"""Where targets are: what `locate` says, as the page shows it and as files for a map."""

from __future__ import annotations

import json
import math
from types import SimpleNamespace
from xml.etree import ElementTree

import pytest

pytest.importorskip("rclpy")

from refdet_ros.console.events import Event, Position, as_zip
from refdet_ros.console.positions import Positions, places
from refdet_ros.locate.export import to_geojson, to_kml


def vector(x=0.0, y=0.0, z=0.0):
    return SimpleNamespace(x=x, y=y, z=z)


def location(**details):
    """A ``TargetLocation`` to the north-east, 100 m away."""
    values = {
        "template_id": "car",
        "score": 0.9,
        "bearing": vector(0.5, 0.5, -0.7),
        "azimuth_deg": 45.0,
        "elevation_deg": -44.7,
        "problem": "",
        "has_position": True,
        "distance": 100.0,
        "track_position_covariance": [9.0, 0, 0, 0, 16.0, 0, 0, 0, 0],
        "track_velocity": vector(3.0, 4.0),
        "has_geo": True,
        "latitude": 47.5,
        "longitude": 8.5,
        "altitude": 430.0,
    }
    return SimpleNamespace(**{**values, **details})


@pytest.fixture
def positions():
    ros = SimpleNamespace(in_ros=lambda function: None)
    return Positions(ros, lambda name: "/" + name)


def add(positions, *locations):
    positions.add(SimpleNamespace(locations=list(locations)))


def test_bearing_distance_and_place_are_told(positions):
    add(positions, location())
    told = positions.plain()["car"]
    assert (told["azimuth"], told["distance"], told["speed"]) == (45.0, 100.0, 5.0)
    assert told["uncertainty"] == 5.0 and told["age"] < 5
    assert positions.of("car") == Position(47.5, 8.5, 430.0)


def test_the_surest_of_several_counts(positions):
    add(positions, location(score=0.6, latitude=1.0), location(), location(score=0.7))
    assert positions.of("car").latitude == 47.5


def test_what_is_not_known_is_left_out_and_the_reason_told(positions):
    add(
        positions,
        location(has_position=False, has_geo=False, problem="above the horizon"),
        location(template_id="lost", bearing=vector(), has_position=False, problem="no TF"),
    )
    told = positions.plain()
    assert told["car"]["azimuth"] == 45.0 and told["car"]["distance"] is None
    assert told["lost"]["azimuth"] is None and told["lost"]["problem"] == "no TF"
    assert positions.of("car") is None and positions.of("nobody") is None


def test_no_infinity_reaches_the_page(positions):
    nan = math.nan
    add(positions, location(distance=math.inf, altitude=nan, track_velocity=vector(nan, 0)))
    json.dumps(positions.plain(), allow_nan=False)


def test_events_go_on_a_map(positions):
    hostile = '<b>&"car"</b>'
    event = Event(1, "found", hostile, "3", 10**9, 1.7e9, (1, 2, 3, 4), 0.9, Position(47.5, 8.5))
    nowhere = Event(2, "lost", "car", "", 10**9, 1.7e9, None, None)
    found = places([event, nowhere])
    feature = to_geojson(found)["features"][0]
    assert feature["geometry"]["coordinates"][:2] == [8.5, 47.5]
    assert hostile in ElementTree.fromstring(to_kml(found)).findtext(
        ".//{*}Placemark/{*}name", default=""
    )
    assert len(found) == 1
    assert b"47.5,8.5" in as_zip([event, nowhere])
