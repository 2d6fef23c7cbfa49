from __future__ import annotations

import sys

import numpy as np
import pytest

from refdet_core.errors import ConfigError, SourceError
from refdet_core.satellite.raster import Raster, list_rasters, reflectance_factor

rasterio = pytest.importorskip("rasterio", reason="needs rasterio")
from rasterio.transform import from_origin  # noqa: E402

RGB = ("red", "green", "blue")


def write(path, values, **more):
    count, height, width = values.shape
    profile = {"driver": "GTiff", "count": count, "height": height, "width": width}
    place = {"crs": "EPSG:32611", "transform": from_origin(500000, 4000000, 2, 2)}
    with rasterio.open(path, "w", dtype=values.dtype, **profile, **{**place, **more}) as file:
        file.write(values)
        file.colorinterp = [rasterio.enums.ColorInterp.undefined] * count
    return path


def gradient(dtype="uint8", scale=1.0, bands=3):
    y, x = np.mgrid[:60, :80]
    return np.stack([(x + y + 20 * band) * scale for band in range(bands)]).astype(dtype)


@pytest.mark.parametrize(
    ("largest", "factor"), [(9000.0, 0.0255), (0.8, 255.0), (200.0, 1.0), (1000.0, 1.0)]
)
def test_the_factor_is_found_from_the_data(largest, factor) -> None:
    assert reflectance_factor(np.array([[0.0, largest]])) == pytest.approx(factor)


def test_images_of_all_number_ranges_give_the_same_reflectance(tmp_path) -> None:
    bytes_ = gradient()
    whole = (0, 0, 80, 60, (80, 60))
    with Raster(write(tmp_path / "a.tif", bytes_), RGB) as raster:
        expected = raster.read(*whole)[0]
    assert np.array_equal(expected, bytes_.astype(np.float32))
    thousands = np.rint(bytes_ / 255.0 * 10000).astype("uint16")
    shares = (bytes_ / 255.0).astype("float32")
    for name, values in (("b.tif", thousands), ("c.tif", shares)):
        with Raster(write(tmp_path / name, values), RGB) as raster:
            assert np.abs(raster.read(*whole)[0] - expected).max() < 0.05


def test_a_part_is_resampled_and_what_is_outside_is_not_valid(tmp_path) -> None:
    with Raster(write(tmp_path / "a.tif", gradient()), RGB) as raster:
        values, valid = raster.read(-10, 10, 40, 20, (80, 40))
        assert values.shape == (3, 40, 80)
        assert not valid[:, :20].any()
        assert valid[:, 20:].all()
        # The pixel at (x, y) = (10, 20) of the image is at (40, 20) of the result.
        assert values[0, 20, 40] == pytest.approx(30, abs=1)
        assert np.allclose(values[:, :, :20], values[:, valid].mean(axis=1)[:, None, None])
        assert not raster.read(500, 500, 10, 10, (4, 4))[1].any()


def test_pixels_without_data_are_marked(tmp_path) -> None:
    values = gradient("uint16", 20)
    values[:, 10:30, 10:30] = 65535
    path = write(tmp_path / "a.tif", values, nodata=65535)
    with Raster(path, RGB) as raster:
        assert raster.factor == pytest.approx(0.0255)
        read, valid = raster.read(0, 0, 80, 60, (80, 60))
    assert not valid[10:30, 10:30].any()
    assert valid.sum() == 80 * 60 - 400
    assert read.max() < 300


def test_bad_images_are_one_clear_sentence(tmp_path) -> None:
    (tmp_path / "text.tif").write_text("no image")
    write(tmp_path / "dot.tif", np.zeros((3, 1, 1), "uint8"))
    write(tmp_path / "two.tif", np.zeros((2, 9, 9), "uint8"))
    for name, part in (
        ("missing.tif", "no image"),
        ("text.tif", "cannot be read"),
        ("dot.tif", "1x1 px"),
        ("two.tif", "has 2 bands"),
    ):
        with pytest.raises(SourceError, match=part) as error:
            Raster(tmp_path / name, RGB)
        assert name in str(error.value)


def test_folders_are_listed_in_order_and_empty_ones_refused(tmp_path) -> None:
    with pytest.raises(SourceError, match="holds no image"):
        list_rasters(tmp_path)
    for name in ("b.tif", "a.TIF", "a.csv"):
        (tmp_path / name).touch()
    assert [path.name for path in list_rasters(tmp_path)] == ["a.TIF", "b.tif"]
    with pytest.raises(SourceError, match="no image or folder"):
        list_rasters(tmp_path / "nowhere")


def test_without_rasterio_one_sentence_says_what_to_install(tmp_path, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "rasterio", None)
    with pytest.raises(ConfigError, match="pip install"):
        Raster(tmp_path / "a.tif", RGB)
