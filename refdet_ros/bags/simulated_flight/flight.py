"""The path of the drone and its target, and the camera's geometry."""

from __future__ import annotations

from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, Dict, Tuple

import numpy as np

from refdet_core.types import BoxXYXY
from refdet_ros.locate.camera_model import CameraModel
from refdet_ros.locate.geodesy import GeoPoint
from refdet_ros.locate.rotations import from_matrix, to_matrix
from refdet_ros.locate.transforms import Transform

OPTICAL, GIMBAL, BASE, FIXED = "camera_optical", "gimbal", "base_link", "map"
ORIGIN = GeoPoint(48.13712, 11.57541, 561.0)
# Right, down, forward of a camera as forward, left, up of what carries it.
_CARRIER_FROM_OPTICAL = np.array([[0.0, 0, 1], [-1, 0, 0], [0, -1, 0]])


@dataclass(frozen=True)
class Flight:
    """The simulated flight. Lengths in metres, angles in degrees, times in seconds.

    Attributes:
        width, height: of the images, pixels.
        focal_px: focal length.
        distortion: plumb_bob coefficients.
        radius, altitude: of the circle around the target.
        target_size: length and width of the target.
        target_velocity: east and north, per second.
        origin: of the fixed frame on Earth.
    """

    seconds: float = 20.0
    hz: float = 10.0
    width: int = 640
    height: int = 480
    focal_px: float = 600.0
    distortion: Tuple[float, ...] = (-0.20, 0.06, 0.0008, -0.0006, 0.0)
    radius: float = 40.0
    altitude: float = 45.0
    target_size: Tuple[float, float] = (9.0, 6.0)
    target_velocity: Tuple[float, float] = (2.0, 0.7)
    origin: GeoPoint = ORIGIN

    @property
    def camera_info(self) -> Any:
        """The fields of its ``sensor_msgs/CameraInfo``."""
        f, cx, cy = self.focal_px, self.width / 2 - 3.5, self.height / 2 + 2.5
        return SimpleNamespace(
            header=SimpleNamespace(frame_id=OPTICAL),
            k=(f, 0.0, cx, 0.0, f, cy, 0.0, 0.0, 1.0),
            d=self.distortion,
            r=(1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0),
            p=(f, 0.0, cx, 0.0, 0.0, f, cy, 0.0, 0.0, 0.0, 1.0, 0.0),
            distortion_model="plumb_bob",
            binning_x=0,
            binning_y=0,
            roi=SimpleNamespace(x_offset=0, y_offset=0),
        )

    @property
    def camera(self) -> CameraModel:
        """The camera."""
        return CameraModel.from_camera_info(self.camera_info)

    def target(self, time_s: float) -> np.ndarray:
        """Where the middle of the target is on the ground, ``(3,)``."""
        return np.array([*np.multiply(self.target_velocity, time_s), 0.0])

    def transforms(self, time_s: float) -> Dict[Tuple[str, str], Transform]:
        """The moving transforms by parent and child frame."""
        turn = np.radians(12 * time_s)
        out = np.array([np.cos(turn), np.sin(turn), 0.0])
        position = self.target(time_s) + self.radius * out
        position[2] = self.altitude + 3 * np.sin(0.5 * time_s)
        # It flies along the circle, banked, and bobs.
        body = _axes(np.degrees(turn) + 90, 4 * np.sin(1.3 * time_s), 8 + 3 * np.sin(0.9 * time_s))
        # The gimbal looks near the target, level to a few degrees.
        aside = np.array([3 * np.sin(time_s), 2 * np.cos(0.7 * time_s), 0.0])
        sight = self.target(time_s) + aside - position
        heading = np.degrees(np.arctan2(sight[1], sight[0]))
        down = np.degrees(np.arctan2(-sight[2], np.hypot(*sight[:2])))
        gimbal = _axes(heading, down, 3 * np.sin(0.8 * time_s))
        return {
            (FIXED, BASE): Transform(position, from_matrix(body)),
            (BASE, GIMBAL): Transform(np.array([0.1, 0.0, -0.05]), from_matrix(body.T @ gimbal)),
        }

    @property
    def mount(self) -> Transform:
        """The fixed transform of the camera's optical frame in the gimbal's."""
        return Transform(np.array([0.03, 0.0, 0.0]), from_matrix(_CARRIER_FROM_OPTICAL))

    def camera_pose(self, time_s: float) -> Transform:
        """The pose of the optical frame in the fixed frame."""
        moving = self.transforms(time_s)
        return moving[(FIXED, BASE)] @ moving[(BASE, GIMBAL)] @ self.mount

    def target_box(self, time_s: float) -> BoxXYXY:
        """The box around the target in the image, whole or not, from pixels' edges."""
        length, width = self.target_size
        sides = np.linspace(-0.5, 0.5, 9)
        outline = np.array([[x, y] for x in sides for y in sides]) * [length, width]
        points = np.column_stack([outline @ self.target_axes().T, np.zeros(len(outline))])
        pose = self.camera_pose(time_s).inverse
        seen = (self.target(time_s) + points) @ to_matrix(pose.rotation).T + pose.translation
        pixels = self.camera.project(seen) + 0.5
        (left, top), (right, bottom) = pixels.min(axis=0), pixels.max(axis=0)
        return float(left), float(top), float(right), float(bottom)

    def target_axes(self) -> np.ndarray:
        """Unit vectors along and across the target on the ground, as columns."""
        east, north = np.array(self.target_velocity) / np.linalg.norm(self.target_velocity)
        return np.array([[east, -north], [north, east]])


def _axes(yaw: float, pitch: float, roll: float) -> np.ndarray:
    """Of a carrier (forward, left, up): degrees left of east, down, and clockwise."""
    (cy, cp, cr), (sy, sp, sr) = (f(np.radians([yaw, pitch, roll])) for f in (np.cos, np.sin))
    about_z = np.array([[cy, -sy, 0], [sy, cy, 0], [0, 0, 1]])
    about_y = np.array([[cp, 0, sp], [0, 1, 0], [-sp, 0, cp]])
    about_x = np.array([[1, 0, 0], [0, cr, -sr], [0, sr, cr]])
    return np.asarray(about_z @ about_y @ about_x)
