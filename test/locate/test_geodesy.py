"""Places on Earth: origins, fixes, elevation models, and files for maps."""

import json
import math
from xml.etree import ElementTree

import numpy as np
import pytest

from refdet_core.errors import ConfigError, RefdetError, SourceError
from refdet_ros.locate.export import Place, to_geojson, to_kml
from refdet_ros.locate.geodesy import (
    FixedFrameOrigin,
    GeoPoint,
    parse_origin,
    to_enu,
    to_geodetic,
)

pytest.importorskip("pymap3d", reason="needs pymap3d")
MUNICH = GeoPoint(48.13712, 11.57541, 561.0)


def test_metres_and_degrees_are_inverse():
    points = np.random.default_rng(0).uniform(-3000, 3000, (50, 3))
    assert to_enu(to_geodetic(points, MUNICH), MUNICH) == pytest.approx(points, abs=1e-4)


def test_a_known_distance():
    """One arc minute of latitude at 45 degrees is 1852.2 m (half a nautical mile's definition)."""
    north = to_enu(np.array([[45 + 0.5 / 60, 7, 0], [45 - 0.5 / 60, 7, 0]]), GeoPoint(45, 7, 0))
    assert north[0, 1] - north[1, 1] == pytest.approx(1852.2, abs=0.1)
    assert np.abs(north[:, 0]).max() < 0.01


@pytest.mark.parametrize(
    "text, expected",
    [
        ("", None),
        ("  ", None),
        ("48.1,11.5", GeoPoint(48.1, 11.5, 0)),
        (" -33.9, 151.2 , 20", GeoPoint(-33.9, 151.2, 20)),
    ],
)
def test_origins(text, expected):
    assert parse_origin(text) == expected


@pytest.mark.parametrize("text", ["48.1", "48.1 11.5", "a,b", "91,0", "0,181", "nan,0", "1,2,3,4"])
def test_wrong_origins_are_refused(text):
    with pytest.raises(ConfigError):
        parse_origin(text)


def test_fixes_tell_where_the_fixed_frame_is():
    origin = FixedFrameOrigin()
    assert origin.place is None
    random = np.random.default_rng(5)
    for _ in range(100):
        antenna = random.uniform(-200, 200, 3)
        seen = to_geodetic((antenna + random.normal(size=3))[None], MUNICH)[0]
        origin.add_fix(GeoPoint(*seen), antenna)
    found = origin.place
    error = to_enu(np.array([[found.latitude, found.longitude, found.altitude]]), MUNICH)[0]
    assert np.abs(error).max() < 0.4  # a tenth of a fix's metre, and some luck
    # What somebody knows is not overwritten.
    origin.set(MUNICH)
    origin.add_fix(GeoPoint(0, 0, 0), np.zeros(3))
    assert origin.place == MUNICH


HOSTILE = "<b>&\x00\x08\ud800 'car' \U0001f697"


def test_geojson():
    collection = to_geojson(
        [
            Place("car", 48.1, 11.5, 560.25, 0.5, {"score": 0.9, "sigma": math.nan, "lost": None}),
            Place(HOSTILE, -1, -2),
        ]
    )
    first, second = json.loads(json.dumps(collection, allow_nan=False))["features"]
    assert first["geometry"] == {"type": "Point", "coordinates": [11.5, 48.1, 560.25]}
    assert first["properties"] == {
        "name": "car",
        "time": "1970-01-01T00:00:00.500Z",
        "score": 0.9,
        "sigma": None,
        "lost": None,
    }
    assert second["geometry"]["coordinates"] == [-2, -1]
    assert second["properties"]["name"] == HOSTILE
    assert to_geojson([])["features"] == []


def test_kml():
    text = to_kml(
        [
            Place("car", 48.1, 11.5, 560.25, 0.5, {"score": 0.9, "note": None}),
            Place(HOSTILE, -1, -2),
        ]
    )
    names = {"k": "http://www.opengis.net/kml/2.2"}
    root = ElementTree.fromstring(text.encode("utf-8"))
    first, second = root.findall(".//k:Placemark", names)
    assert first.find("k:Point/k:coordinates", names).text == "11.50000000,48.10000000"
    assert first.find("k:TimeStamp/k:when", names).text == "1970-01-01T00:00:00.500Z"
    data = {entry.get("name"): entry[0].text for entry in first.iter(f"{{{names['k']}}}Data")}
    assert data == {"altitude": "560.25", "score": "0.9", "note": None}
    assert second.find("k:name", names).text == "<b>& 'car' \U0001f697"
    assert ElementTree.fromstring(to_kml([]).encode()).findall(".//k:Placemark", names) == []


@pytest.fixture(params=["EPSG:4326", "EPSG:32632"])
def slope_file(request, tmp_path):
    """A GeoTIFF that rises 1 m in 10 m to the east and 1 m in 20 m to the north, with a hole."""
    rasterio = pytest.importorskip("rasterio", reason="needs rasterio")
    from rasterio.transform import from_origin
    from rasterio.warp import transform

    x0, y0 = (
        values[0]
        for values in transform("EPSG:4326", request.param, [MUNICH.longitude], [MUNICH.latitude])
    )
    metre = 1.0 if request.param != "EPSG:4326" else 1 / 111_200
    across = metre / (np.cos(np.radians(48)) if metre < 1 else 1)
    side, cell = 201, 10
    east = (np.arange(side) - side // 2) * cell
    heights = 500 + east[None, :] / 10 - east[:, None] / 20
    heights[:20, :20] = -9999
    path = tmp_path / "heights.tif"
    place = from_origin(
        x0 - (side / 2) * cell * across, y0 + (side / 2) * cell * metre, cell * across, cell * metre
    )
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        width=side,
        height=side,
        count=1,
        dtype="float32",
        crs=request.param,
        transform=place,
        nodata=-9999,
    ) as file:
        file.write(heights.astype("float32"), 1)
    return path


def test_an_elevation_model(slope_file):
    from refdet_ros.locate.elevation import ElevationModel

    model = ElevationModel(slope_file, MUNICH, radius_m=600.0, geoid_height=46.0)
    places = np.array([[0.0, 0], [100, 0], [0, 100], [-233, 41], [5000, 0]])
    heights = model.heights(places)
    # In the fixed frame: above the ellipsoid at the origin, which is 561 m.
    expected = 500 + 46 - 561 + places[:, 0] / 10 + places[:, 1] / 20
    assert heights[:4] == pytest.approx(expected[:4], abs=0.6)  # grid north is not true north
    assert heights[0] == pytest.approx(expected[0], abs=0.01)
    assert math.isnan(heights[4])
    hole = ElevationModel(slope_file, MUNICH, radius_m=2000.0)
    assert math.isnan(hole.heights(np.array([[-950.0, 950.0]]))[0])


def test_elevation_models_that_cannot_be_used(slope_file, tmp_path):
    from refdet_ros.locate.elevation import ElevationModel

    with pytest.raises(ConfigError, match="does not reach"):
        ElevationModel(slope_file, GeoPoint(10, 11, 0), 1000.0)
    with pytest.raises(SourceError, match="cannot be read"):
        ElevationModel(tmp_path / "no.tif", MUNICH, 1000.0)
    (tmp_path / "text.tif").write_text("no picture")
    with pytest.raises(SourceError, match="cannot be read"):
        ElevationModel(tmp_path / "text.tif", MUNICH, 1000.0)


def test_rasterio_is_asked_for_by_name(monkeypatch, tmp_path):
    import sys

    from refdet_ros.locate.elevation import ElevationModel

    monkeypatch.setitem(sys.modules, "rasterio", None)
    with pytest.raises(RefdetError, match="pip install rasterio"):
        ElevationModel(tmp_path / "x.tif", MUNICH, 1.0)
