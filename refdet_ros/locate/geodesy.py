"""Latitude and longitude of points in the fixed frame, through pymap3d (WGS 84)."""

from __future__ import annotations

import importlib
from collections import deque
from dataclasses import dataclass
from typing import Any, Deque, Optional

import numpy as np

from refdet_core.errors import ConfigError, RefdetError

_FIXES = 100


@dataclass(frozen=True)
class GeoPoint:
    """A place on Earth: degrees, and metres above the WGS 84 ellipsoid (not above sea level)."""

    latitude: float
    longitude: float
    altitude: float

    def __post_init__(self) -> None:
        if not (abs(self.latitude) <= 90 and abs(self.longitude) <= 180):
            raise ConfigError(
                f"Latitude {self.latitude:g} and longitude {self.longitude:g} are no place on "
                "Earth; degrees are needed, latitude first."
            )


def parse_origin(text: str) -> Optional[GeoPoint]:
    """``LATITUDE,LONGITUDE[,ALTITUDE]``; None of an empty text.

    Raises:
        ConfigError: it has another form.
    """
    if not text.strip():
        return None
    try:
        numbers = [float(part) for part in text.split(",")]
        if len(numbers) not in (2, 3) or not np.isfinite(numbers).all():
            raise ValueError
    except ValueError as error:
        raise ConfigError(
            f"An origin is LATITUDE,LONGITUDE or LATITUDE,LONGITUDE,ALTITUDE, got '{text}'."
        ) from error
    return GeoPoint(numbers[0], numbers[1], numbers[2] if len(numbers) == 3 else 0.0)


def to_geodetic(points: np.ndarray, origin: GeoPoint) -> np.ndarray:
    """Latitudes, longitudes and altitudes ``(N, 3)`` of east, north, up ``(N, 3)`` metres."""
    points = np.asarray(points, dtype=float)
    return np.column_stack(
        _pymap3d().enu2geodetic(
            *points.T, origin.latitude, origin.longitude, origin.altitude, deg=True
        )
    )


def to_enu(places: np.ndarray, origin: GeoPoint) -> np.ndarray:
    """East, north, up ``(N, 3)`` metres of latitudes, longitudes and altitudes ``(N, 3)``."""
    places = np.asarray(places, dtype=float)
    return np.column_stack(
        _pymap3d().geodetic2enu(
            *places.T, origin.latitude, origin.longitude, origin.altitude, deg=True
        )
    )


class FixedFrameOrigin:
    """Where the fixed frame's origin is on Earth, from GNSS fixes of the vehicle.

    A fix says where the antenna is on Earth, TF at the fix's stamp where it is in the fixed frame.
    The mean over the last fixes smooths the receiver's noise.
    """

    def __init__(self, given: Optional[GeoPoint] = None) -> None:
        self._given = given
        self._found: Deque[np.ndarray] = deque(maxlen=_FIXES)

    @property
    def place(self) -> Optional[GeoPoint]:
        """The origin; None while it is unknown."""
        if self._given is not None or not self._found:
            return self._given
        latitude, longitude, altitude = np.mean(self._found, axis=0)
        return GeoPoint(float(latitude), float(longitude), float(altitude))

    def set(self, place: GeoPoint) -> None:
        """Set a known origin."""
        self._given = place

    def add_fix(self, fix: GeoPoint, antenna: np.ndarray) -> None:
        """Take a fix of the antenna, which is at ``(3,)`` metres in the fixed frame."""
        if self._given is not None:
            return
        # Axes at the fix, not at the origin: within 1 km that is off by less than 0.1 m.
        self._found.append(to_geodetic(-antenna[None], fix)[0])


def _pymap3d() -> Any:
    try:
        return importlib.import_module("pymap3d")
    except ImportError as error:
        raise RefdetError(
            "Latitude and longitude need pymap3d: 'apt install python3-pymap3d' or "
            "'pip install pymap3d'."
        ) from error


def check_available() -> None:
    """Raise a RefdetError that names the fix if pymap3d is not installed."""
    _pymap3d()
