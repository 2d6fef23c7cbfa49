"""Ground heights from a digital elevation model in a GeoTIFF file."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import numpy as np

from refdet_core.errors import ConfigError, SourceError
from refdet_ros.locate.geodesy import GeoPoint, to_enu, to_geodetic

_MAX_CELLS = 50_000_000
_WGS84 = "EPSG:4326"


class ElevationModel:
    """An open GeoTIFF, read around an origin.

    Heights in a file are above sea level (a geoid) as a rule, those of GNSS above the ellipsoid:
    ``geoid_height`` is what to add.

    Args:
        path: any raster GDAL reads, one band, any coordinate system.
        origin: of the fixed frame.
        radius_m: how far around it heights are needed.
        geoid_height: metres from the file's zero up from the ellipsoid.

    Raises:
        ConfigError: rasterio is not installed, or the model does not reach the origin.
        SourceError: the file cannot be read.
    """

    def __init__(
        self, path: Path, origin: GeoPoint, radius_m: float, geoid_height: float = 0.0
    ) -> None:
        rasterio = _rasterio()
        self._origin = origin
        self._geoid_height = geoid_height
        try:
            with rasterio.open(path) as file:
                self._crs = file.crs
                if self._crs is None:
                    raise SourceError(f"The elevation model '{path}' has no coordinate system.")
                self._read(file, rasterio, path, radius_m)
        except rasterio.errors.RasterioError as error:
            raise SourceError(f"The elevation model '{path}' cannot be read: {error}") from error

    def heights(self, places: np.ndarray) -> np.ndarray:
        """Heights ``(N,)`` in the fixed frame at ``(N, 2)`` metres east and north of its origin;
        NaN outside the model.
        """
        # The ellipsoid falls away below the tangent plane, so the height's place is looked up on
        # it, and its height then turned into the fixed frame's.
        flat = np.column_stack([places, np.zeros(len(places))])
        geodetic = to_geodetic(flat, self._origin)
        geodetic[:, 2] = self._sample(geodetic[:, 1], geodetic[:, 0]) + self._geoid_height
        heights = np.full(len(places), np.nan)
        known = np.isfinite(geodetic[:, 2])
        if known.any():
            heights[known] = to_enu(geodetic[known], self._origin)[:, 2]
        return heights

    def _read(self, file: Any, rasterio: Any, path: Path, radius_m: float) -> None:
        corners = np.array([[x, y, 0.0] for x in (-1, 1) for y in (-1, 1)]) * radius_m
        latitudes, longitudes, _ = to_geodetic(corners, self._origin).T
        x, y = self._to_crs(longitudes, latitudes)
        columns, rows = _apply(~file.transform, x, y)
        left, right = int(np.floor(min(columns))) - 2, int(np.ceil(max(columns))) + 2
        top, bottom = int(np.floor(min(rows))) - 2, int(np.ceil(max(rows))) + 2
        left, right = max(0, left), min(file.width, right)
        top, bottom = max(0, top), min(file.height, bottom)
        if right - left < 2 or bottom - top < 2:
            raise ConfigError(
                f"The elevation model '{path}' does not reach the origin "
                f"{self._origin.latitude:.5f}, {self._origin.longitude:.5f}."
            )
        if (right - left) * (bottom - top) > _MAX_CELLS:
            raise ConfigError(
                f"The elevation model '{path}' has {(right - left) * (bottom - top) / 1e6:.0f} "
                "million cells within max_distance_m; reduce that or resample the model."
            )
        window = rasterio.windows.Window(left, top, right - left, bottom - top)
        cells = file.read(1, window=window, masked=True)
        self._cells = np.where(np.ma.getmaskarray(cells), np.nan, np.ma.getdata(cells)).astype(
            np.float64
        )
        self._to_cell = ~file.window_transform(window)

    def _to_crs(self, longitudes: np.ndarray, latitudes: np.ndarray) -> tuple[Any, Any]:
        warp = importlib.import_module("rasterio.warp")
        x, y = warp.transform(_WGS84, self._crs, list(longitudes), list(latitudes))
        return np.array(x), np.array(y)

    def _sample(self, longitudes: np.ndarray, latitudes: np.ndarray) -> np.ndarray:
        """Heights of the file, interpolated between cell centres; NaN outside."""
        columns, rows = _apply(self._to_cell, *self._to_crs(longitudes, latitudes))
        columns, rows = columns - 0.5, rows - 0.5
        height, width = self._cells.shape
        inside = (columns >= 0) & (rows >= 0) & (columns <= width - 1) & (rows <= height - 1)
        result = np.full(len(columns), np.nan)
        if not inside.any():
            return result
        columns, rows = columns[inside], rows[inside]
        left = np.minimum(columns.astype(int), width - 2)
        top = np.minimum(rows.astype(int), height - 2)
        right_share, down_share = columns - left, rows - top
        upper = (1 - right_share) * self._cells[top, left] + right_share * self._cells[
            top, left + 1
        ]
        lower = (1 - right_share) * self._cells[top + 1, left] + right_share * self._cells[
            top + 1, left + 1
        ]
        result[inside] = (1 - down_share) * upper + down_share * lower
        return result


def _apply(affine: Any, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The affine transform of points; its own operator changes with the package's versions."""
    a, b, c, d, e, f = tuple(affine)[:6]
    return a * x + b * y + c, d * x + e * y + f


def _rasterio() -> Any:
    try:
        rasterio = importlib.import_module("rasterio")
        importlib.import_module("rasterio.windows")
        return rasterio
    except ImportError as error:
        raise ConfigError(
            "Elevation models need rasterio: 'apt install python3-rasterio' or "
            "'pip install rasterio'."
        ) from error
