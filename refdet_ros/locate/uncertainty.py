"""The covariance of a point on the ground, by first-order propagation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Tuple

import numpy as np

from refdet_ros.locate.ground import Hit
from refdet_ros.locate.rotations import skew


@dataclass(frozen=True)
class Sigmas:
    """Standard deviations of a position's inputs. They are settings because TF carries none.

    Attributes:
        pixel_px: of a box's centre, whatever its size.
        box_share: of a box's centre, as a share of the box's side; added to the above.
        tilt_deg: of the camera's roll and pitch.
        heading_deg: of its heading.
        camera_m: of its horizontal position, each axis.
        height_m: of its height.
        ground_m: of the ground's height at the target.
    """

    pixel_px: float
    box_share: float
    tilt_deg: float
    heading_deg: float
    camera_m: float
    height_m: float
    ground_m: float

    def pixel(self, box_size: Tuple[float, float]) -> np.ndarray:
        """Of the centre of a box ``(width, height)`` in pixels, x and y."""
        return np.hypot(self.pixel_px, self.box_share * np.asarray(box_size, dtype=float))

    @property
    def rotation_rad(self) -> np.ndarray:
        """Of small turns about the fixed frame's x, y and z."""
        return np.radians([self.tilt_deg, self.tilt_deg, self.heading_deg])

    @property
    def camera(self) -> np.ndarray:
        """Of the camera's position, x, y, z."""
        return np.array([self.camera_m, self.camera_m, self.height_m])


def ground_covariance(
    hit: Hit,
    ray: np.ndarray,
    ray_by_pixel: np.ndarray,
    pixel_sigmas: np.ndarray,
    sigmas: Sigmas,
) -> Tuple[np.ndarray, np.ndarray]:
    """The covariance of a point on the ground.

    A ray ``C + s d`` meets the plane with normal n through the point; small changes of C and d move
    the point by ``M dC + s M dd`` with ``M = I - d n^T / (n^T d)``; ground that lies higher by dh
    moves it by ``d n_z dh / (n^T d)``.

    Args:
        ray: d, unit vector in the fixed frame.
        ray_by_pixel: its derivative by the pixel's x and y, ``(3, 2)``.
        pixel_sigmas: standard deviations of the pixel's x and y.

    Returns:
        Two ``(3, 3)`` in square metres: the part that the pixel brings, new in every frame, and
        the part of pose and ground height, much the same from one frame to the next.
    """
    slip = np.eye(3) - np.outer(ray, hit.normal) / float(hit.normal @ ray)
    by_pixel = hit.distance * slip @ ray_by_pixel
    by_turn = -hit.distance * slip @ skew(ray)
    jitter = by_pixel @ np.diag(pixel_sigmas**2) @ by_pixel.T
    bias = by_turn @ np.diag(sigmas.rotation_rad**2) @ by_turn.T
    bias += slip @ np.diag(sigmas.camera**2) @ slip.T
    by_ground = ray * hit.normal[2] / float(hit.normal @ ray)
    bias += sigmas.ground_m**2 * np.outer(by_ground, by_ground)
    return np.asarray(jitter), np.asarray(bias)
