"""From pixels to rays: the pinhole camera of a CameraInfo, with its lens distortion."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Tuple

import cv2
import numpy as np

from refdet_core.errors import RefdetError

_PINHOLE = ("plumb_bob", "rational_polynomial")
_FISHEYE = ("equidistant", "fisheye")
_CRITERIA = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 100, 1e-9)
_INVERSION_PX = 0.1
"""A pixel whose ray projects this far away from it lies where the lens model has no inverse."""


class CameraModelError(RefdetError):
    """No ray can be computed for a CameraInfo or a pixel."""


@dataclass(frozen=True)
class CameraModel:
    """Maps pixels of one image topic to rays in the camera's optical frame and back.

    Attributes:
        matrix: 3x3 intrinsics at full resolution.
        distortion: OpenCV's coefficients; empty without distortion.
        fisheye: the equidistant model instead of the pinhole polynomial.
        binning: pixels of the sensor per pixel of the image, x and y.
        offset: of the image's corner on the sensor, in sensor pixels.
    """

    matrix: np.ndarray
    distortion: np.ndarray
    fisheye: bool = False
    binning: Tuple[int, int] = (1, 1)
    offset: Tuple[int, int] = (0, 0)

    @classmethod
    def from_camera_info(cls, message: Any, rectified: bool = False) -> CameraModel:
        """The camera in a ``sensor_msgs/CameraInfo``.

        Args:
            message: anything with its fields.
            rectified: the images are ``image_rect``: the projection matrix P holds, and no
                distortion.

        Raises:
            CameraModelError: the camera is not calibrated, or its distortion model is unknown.
        """
        matrix = np.array(message.k, dtype=float).reshape(3, 3)
        distortion = np.array(message.d, dtype=float)
        if rectified:
            matrix = np.array(message.p, dtype=float).reshape(3, 4)[:, :3]
            distortion = distortion[:0]
        if not (matrix[0, 0] > 0 and matrix[1, 1] > 0 and np.isfinite(matrix).all()):
            raise CameraModelError(
                "The CameraInfo of '{}' is not calibrated ({} has no focal length); calibrate the "
                "camera with camera_calibration.".format(
                    message.header.frame_id, "P" if rectified else "K"
                )
            )
        model = message.distortion_model or "plumb_bob"
        if distortion.any() and model not in _PINHOLE + _FISHEYE:
            raise CameraModelError(
                "The distortion model '{}' is not known; known are {}. Use the rectified image "
                "and set the parameter 'rectified'.".format(model, ", ".join(_PINHOLE + _FISHEYE))
            )
        counts = (4,) if model in _FISHEYE else (4, 5, 8, 12, 14)
        if distortion.any() and (
            distortion.size not in counts or not np.isfinite(distortion).all()
        ):
            raise CameraModelError(
                "The distortion model '{}' takes {} finite coefficients, the CameraInfo has "
                "{}.".format(model, " or ".join(map(str, counts)), distortion.size)
            )
        return cls(
            matrix,
            distortion if distortion.any() else distortion[:0],
            model in _FISHEYE,
            (max(1, message.binning_x), max(1, message.binning_y)),
            (message.roi.x_offset, message.roi.y_offset),
        )

    def rays(self, pixels: np.ndarray) -> np.ndarray:
        """Unit vectors in the optical frame (x right, y down, z forward).

        Args:
            pixels: ``(N, 2)`` positions in the image. Integers are centres of pixels, as
                everywhere in OpenCV and ROS calibration.

        Returns:
            ``(N, 3)``.

        Raises:
            CameraModelError: a pixel lies where the distortion has no inverse.
        """
        points = np.ascontiguousarray(self._to_sensor(pixels)).reshape(-1, 1, 2)
        if not self.distortion.size:
            flat = (points[:, 0] - self.matrix[:2, 2]) / np.diag(self.matrix)[:2]
            flat[:, 0] -= self.matrix[0, 1] / self.matrix[0, 0] * flat[:, 1]
        elif self.fisheye:
            flat = cv2.fisheye.undistortPoints(points, self.matrix, self.distortion)[:, 0]
        else:
            unturned: Any = None
            flat = cv2.undistortPointsIter(
                points, self.matrix, self.distortion, unturned, unturned, _CRITERIA
            )[:, 0]
        vectors = np.column_stack([flat, np.ones(len(flat))])
        rays = np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True))
        if self.distortion.size:
            error = np.abs(self.project(rays) - pixels)
            if not np.isfinite(rays).all() or (error > _INVERSION_PX).any():
                raise CameraModelError(
                    "The lens distortion cannot be undone at pixel ({:.0f}, {:.0f}): the "
                    "calibration does not hold there.".format(*np.asarray(pixels)[0])
                )
        return rays

    def project(self, points: np.ndarray) -> np.ndarray:
        """Pixels of points in front of the camera.

        Args:
            points: ``(N, 3)`` in the optical frame, z > 0; rays are fine too.

        Returns:
            ``(N, 2)``.
        """
        still = np.zeros(3)
        points = np.ascontiguousarray(points, dtype=float).reshape(-1, 1, 3)
        if self.fisheye and self.distortion.size:
            pixels, _ = cv2.fisheye.projectPoints(
                points, still, still, self.matrix, self.distortion
            )
        else:
            pixels, _ = cv2.projectPoints(points, still, still, self.matrix, self.distortion)
            # projectPoints ignores a skew.
            pixels[:, 0, 0] += (
                self.matrix[0, 1] * (pixels[:, 0, 1] - self.matrix[1, 2]) / (self.matrix[1, 1])
            )
        return self._to_image(pixels[:, 0])

    def ray_and_slope(self, pixel: np.ndarray) -> Tuple[np.ndarray, np.ndarray]:
        """The ray of one pixel, and its change with the pixel.

        Returns:
            The unit vector ``(3,)`` and its derivatives ``(3, 2)`` by x and y, per pixel.
        """
        step = 0.5
        shifts = np.array([[0, 0], [step, 0], [-step, 0], [0, step], [0, -step]])
        centre, right, left, down, up = self.rays(np.asarray(pixel, dtype=float) + shifts)
        return centre, np.column_stack([right - left, down - up]) / (2 * step)

    def _to_sensor(self, pixels: np.ndarray) -> np.ndarray:
        """An image pixel covers ``binning`` sensor pixels; both count from their centres."""
        scale = np.array(self.binning, dtype=float)
        moved = (np.asarray(pixels, dtype=float) + 0.5) * scale - 0.5 + np.array(self.offset)
        return np.asarray(moved)

    def _to_image(self, pixels: np.ndarray) -> np.ndarray:
        scale = np.array(self.binning, dtype=float)
        return np.asarray((pixels - np.array(self.offset) + 0.5) / scale - 0.5)
