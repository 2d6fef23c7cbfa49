"""Locates one box of one frame: puts the geometry together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional

import numpy as np

from refdet_core.types import BoxXYXY
from refdet_ros.locate.camera_model import CameraModel, CameraModelError
from refdet_ros.locate.ground import Ground, NoIntersectionError
from refdet_ros.locate.rotations import to_matrix
from refdet_ros.locate.transforms import Transform
from refdet_ros.locate.uncertainty import Sigmas, ground_covariance


@dataclass(frozen=True)
class Position:
    """A point on the ground in the fixed frame.

    Attributes:
        point: ``(3,)`` metres.
        jitter: ``(3, 3)`` covariance that is new in every frame.
        bias: ``(3, 3)`` covariance that is much the same from one frame to the next.
        distance: from the camera, metres.
    """

    point: np.ndarray
    jitter: np.ndarray
    bias: np.ndarray
    distance: float

    @property
    def covariance(self) -> np.ndarray:
        """The whole covariance, square metres."""
        return np.asarray(self.jitter + self.bias)


@dataclass(frozen=True)
class Location:
    """The bearing and the position of a box's object.

    Attributes:
        bearing_camera: unit vector in the optical frame; None if the pixel has no ray.
        bearing: the same in the fixed frame; None without the camera's pose.
        position: None if the bearing meets no ground.
        problem: why something is None, the start of no sentence; empty where nothing is.
    """

    bearing_camera: Optional[np.ndarray] = None
    bearing: Optional[np.ndarray] = None
    position: Optional[Position] = None
    problem: str = ""

    @property
    def azimuth_deg(self) -> float:
        """The bearing's azimuth: clockwise from the fixed frame's y axis (north), 0 to 360."""
        assert self.bearing is not None
        return float(np.degrees(np.arctan2(self.bearing[0], self.bearing[1])) % 360)

    @property
    def elevation_deg(self) -> float:
        """The bearing's angle above the horizon."""
        assert self.bearing is not None
        return float(np.degrees(np.arcsin(np.clip(self.bearing[2], -1.0, 1.0))))


def locate_box(
    box_xyxy: BoxXYXY,
    camera: CameraModel,
    pose: Optional[Transform],
    ground: Ground,
    sigmas: Sigmas,
) -> Location:
    """Locate the middle of a box.

    Args:
        box_xyxy: pixels of the frame, the left edge of the first pixel at 0.
        pose: of the camera's optical frame in the fixed frame (x east, y north, z up) when the
            frame was taken; None if it is not known.
    """
    x1, y1, x2, y2 = box_xyxy
    # Boxes count from pixels' edges, camera models from their centres.
    pixel = np.array([(x1 + x2) / 2 - 0.5, (y1 + y2) / 2 - 0.5])
    try:
        ray_camera, ray_by_pixel = camera.ray_and_slope(pixel)
    except CameraModelError as error:
        return Location(problem=str(error))
    if pose is None:
        return Location(ray_camera)
    axes = to_matrix(pose.rotation)
    ray = axes @ ray_camera
    try:
        hit = ground.meet(pose.translation, ray)
    except NoIntersectionError as error:
        return Location(ray_camera, ray, problem=str(error))
    jitter, bias = ground_covariance(
        hit, ray, axes @ ray_by_pixel, sigmas.pixel((x2 - x1, y2 - y1)), sigmas
    )
    return Location(ray_camera, ray, Position(hit.point, jitter, bias, hit.distance))
