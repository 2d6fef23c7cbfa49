"""The parameters of the node ``locate`` and their defaults."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, Dict

from refdet_core.errors import ConfigError
from refdet_ros.locate.geodesy import GeoPoint, parse_origin
from refdet_ros.locate.ground import Ground, HeightFunction, Limits
from refdet_ros.locate.uncertainty import Sigmas
from refdet_ros.parameters import Option, declare_options, option


@dataclass(frozen=True)
class LocateSettings:
    """All parameters. Lengths are in metres, angles in degrees."""

    fixed_frame: str = option(
        "map", "Frame that does not move, x east, y north, z up (REP-103); the positions' frame."
    )
    rectified: bool = option(
        False, "The images are rectified: use P of the CameraInfo and no distortion."
    )
    tf_wait_s: float = option(
        0.5,
        "How long a frame waits for the transform at its stamp, seconds.",
        low=0.0,
        high=10.0,
    )
    origin: str = option(
        "",
        "Where the fixed frame's origin is: LATITUDE,LONGITUDE[,ALTITUDE above the ellipsoid]; "
        "empty takes it from 'fix' or 'origin'.",
    )
    antenna_frame: str = option(
        "base_link",
        "Frame of what 'fix' is the place of. The fix's own frame_id is not used: MAVROS puts the "
        "fixed frame there.",
    )
    ground_height: float = option(
        0.0, "Height of the ground plane in the fixed frame.", running=True, low=-1e4, high=1e4
    )
    elevation_model: str = option(
        "", "GeoTIFF file of ground heights instead of the plane; needs a known origin."
    )
    geoid_height: float = option(
        0.0,
        "What to add to the elevation model's heights (above sea level) for heights above the "
        "ellipsoid: the geoid's undulation there.",
        low=-200.0,
        high=200.0,
    )
    target_height: float = option(
        0.0,
        "Height of the targets; the middle of a box is taken to be half of it above the ground.",
        running=True,
        low=0.0,
        high=1000.0,
    )
    min_depression_deg: float = option(
        3.0,
        "A target must be seen at least so far below the horizon to get a position.",
        running=True,
        low=0.0,
        high=90.0,
    )
    max_distance_m: float = option(
        5000.0, "Farther positions are not given.", running=True, low=1.0, high=1e5
    )
    pixel_sigma_px: float = option(
        1.0, "Standard deviation of a box's centre, pixels.", running=True, low=0.0, high=1000.0
    )
    box_sigma: float = option(
        0.1,
        "Standard deviation of a box's centre as a share of its side, added to pixel_sigma_px.",
        running=True,
        low=0.0,
        high=10.0,
    )
    tilt_sigma_deg: float = option(
        1.0, "Standard deviation of the camera's roll and pitch.", running=True, low=0.0, high=90.0
    )
    heading_sigma_deg: float = option(
        3.0, "Standard deviation of the camera's heading.", running=True, low=0.0, high=180.0
    )
    camera_sigma_m: float = option(
        1.0,
        "Standard deviation of the camera's horizontal position, each axis.",
        running=True,
        low=0.0,
        high=1e4,
    )
    height_sigma_m: float = option(
        1.0, "Standard deviation of the camera's height.", running=True, low=0.0, high=1e4
    )
    ground_sigma_m: float = option(
        1.0, "Standard deviation of the ground's height.", running=True, low=0.0, high=1e4
    )
    target_acceleration: float = option(
        1.0,
        "Standard deviation of the targets' acceleration, m/s2: lower smooths more, higher follows "
        "quicker turns.",
        low=0.001,
        high=100.0,
    )
    target_speed: float = option(
        5.0, "Standard deviation of a target's speed before it is known, m/s.", low=0.0, high=1000.0
    )
    track_gap_s: float = option(
        5.0, "After so long without a position a new track begins, seconds.", low=0.0, high=3600.0
    )

    def __post_init__(self) -> None:
        if not self.fixed_frame.strip("/"):
            raise ConfigError("fixed_frame must not be empty.")
        _ = self.given_origin  # refuses what is no place

    @property
    def given_origin(self) -> GeoPoint | None:
        """The parameter ``origin``; None if it is empty."""
        return parse_origin(self.origin)

    @property
    def sigmas(self) -> Sigmas:
        """The standard deviations."""
        return Sigmas(
            self.pixel_sigma_px,
            self.box_sigma,
            self.tilt_sigma_deg,
            self.heading_sigma_deg,
            self.camera_sigma_m,
            self.height_sigma_m,
            self.ground_sigma_m,
        )

    def ground(self, surface: HeightFunction | None) -> Ground:
        """The ground that rays are intersected with."""
        limits = Limits(self.min_depression_deg, self.max_distance_m)
        return Ground(self.ground_height, limits, surface, self.target_height)


LOCATE_OPTIONS: Dict[str, Option] = {
    item.name: item.metadata["option"] for item in fields(LocateSettings)
}


def declare(node: Any) -> LocateSettings:
    """Declare every parameter and return the values it starts with.

    Raises:
        ConfigError: a value cannot be used.
    """
    return LocateSettings(**declare_options(node, LOCATE_OPTIONS))
