"""Where on Earth the fixed frame is, and what that gives: coordinates, and terrain heights."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Deque, Optional

import numpy as np
from sensor_msgs.msg import NavSatFix

from refdet_core.errors import RefdetError
from refdet_ros.locate.elevation import ElevationModel
from refdet_ros.locate.geodesy import FixedFrameOrigin, GeoPoint, check_available, to_geodetic
from refdet_ros.locate.ground import Ground
from refdet_ros.locate.settings import LocateSettings
from refdet_ros.locate.transforms import TransformError, stamp_of

_MAX_WAITING = 200


@dataclass(frozen=True)
class _WaitingFix:
    """A fix that waits for its antenna's transform until a monotonic time."""

    fix: NavSatFix
    deadline_s: float


class Georeference:
    """The fixed frame's origin on Earth, given or computed from fixes, and the terrain there.

    Args:
        transforms: what :func:`refdet_ros.locate.tf.listen` returns.
        logger: of the node.

    Attributes:
        fix_problem: why fixes cannot be used; empty if they can.
        ground_problem: why there is no ground; set when :meth:`ground` returns None.
    """

    def __init__(self, settings: LocateSettings, transforms: Any, logger: Any) -> None:
        self._origin = FixedFrameOrigin(settings.given_origin)
        self._transforms = transforms
        self._logger = logger
        self._fixes: Deque[_WaitingFix] = deque(maxlen=_MAX_WAITING)
        self._elevation: Optional[ElevationModel] = None
        self._elevation_failed = False
        self.fix_problem = ""
        self.ground_problem = ""
        try:
            check_available()
        except RefdetError as error:
            logger.warning(f"{error} Positions come without them.")
            self._has_coordinates = False
        else:
            self._has_coordinates = True

    @property
    def origin(self) -> Optional[GeoPoint]:
        """The fixed frame's origin, if it is known."""
        return self._origin.place

    def set_origin(self, origin: GeoPoint) -> None:
        """Use this origin."""
        self._origin.set(origin)

    def add_fix(self, fix: NavSatFix, settings: LocateSettings) -> None:
        """Use a fix as soon as its antenna's transform has arrived."""
        self._fixes.append(_WaitingFix(fix, time.monotonic() + settings.tf_wait_s))
        self.use_fixes(settings)

    def use_fixes(self, settings: LocateSettings) -> None:
        """Compute the origin from the fixes whose transforms have arrived."""
        if not self._has_coordinates:
            self._fixes.clear()
        for _ in range(len(self._fixes)):
            entry = self._fixes.popleft()
            fix = entry.fix
            try:
                antenna = self._transforms.lookup_transform(
                    settings.fixed_frame, settings.antenna_frame, stamp_of(fix.header.stamp)
                )
            except TransformError as error:
                if time.monotonic() < entry.deadline_s:
                    self._fixes.append(entry)
                else:
                    self.fix_problem = str(error)
            else:
                self.fix_problem = ""
                self._origin.add_fix(
                    GeoPoint(fix.latitude, fix.longitude, fix.altitude), antenna.translation
                )

    def place(self, point: np.ndarray) -> Optional[GeoPoint]:
        """Coordinates of a point ``(3,)`` in the fixed frame; None without an origin or pymap3d."""
        if self.origin is None or not self._has_coordinates:
            return None
        latitude, longitude, altitude = to_geodetic(point[None], self.origin)[0]
        return GeoPoint(float(latitude), float(longitude), float(altitude))

    def ground(self, settings: LocateSettings) -> Optional[Ground]:
        """The plane or the elevation model; None while the model is not loaded."""
        if not settings.elevation_model:
            return settings.ground(None)
        if self._elevation is None and not self._elevation_failed:
            if self.origin is None:
                self.ground_problem = (
                    "the elevation model needs an origin: set 'origin' or publish 'fix'"
                )
                return None
            try:
                self._elevation = ElevationModel(
                    Path(settings.elevation_model),
                    self.origin,
                    settings.max_distance_m,
                    settings.geoid_height,
                )
            except RefdetError as error:
                self._elevation_failed = True
                self.ground_problem = str(error)
                self._logger.error(str(error))
        return None if self._elevation is None else settings.ground(self._elevation.heights)
