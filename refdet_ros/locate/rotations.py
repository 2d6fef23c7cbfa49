"""Rotations as unit quaternions ``(x, y, z, w)``, ROS's order, and as 3x3 matrices."""

from __future__ import annotations

import numpy as np


def to_matrix(quaternion: np.ndarray) -> np.ndarray:
    """The 3x3 rotation matrix of a unit quaternion ``(x, y, z, w)``."""
    x, y, z, w = quaternion
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    )


def from_matrix(matrix: np.ndarray) -> np.ndarray:
    """The unit quaternion ``(x, y, z, w)`` with w >= 0 of a rotation matrix (Shepperd 1978)."""
    m = matrix
    squares = np.array(
        [
            1 + m[0, 0] - m[1, 1] - m[2, 2],
            1 - m[0, 0] + m[1, 1] - m[2, 2],
            1 - m[0, 0] - m[1, 1] + m[2, 2],
            1 + m[0, 0] + m[1, 1] + m[2, 2],
        ]
    )
    # Dividing by the largest component keeps the precision near half turns.
    rows = np.array(
        [
            [squares[0], m[0, 1] + m[1, 0], m[0, 2] + m[2, 0], m[2, 1] - m[1, 2]],
            [m[0, 1] + m[1, 0], squares[1], m[1, 2] + m[2, 1], m[0, 2] - m[2, 0]],
            [m[0, 2] + m[2, 0], m[1, 2] + m[2, 1], squares[2], m[1, 0] - m[0, 1]],
            [m[2, 1] - m[1, 2], m[0, 2] - m[2, 0], m[1, 0] - m[0, 1], squares[3]],
        ]
    )
    quaternion = rows[int(np.argmax(squares))]
    quaternion = quaternion / np.linalg.norm(quaternion)
    return np.asarray(-quaternion if quaternion[3] < 0 else quaternion)


def multiply(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """The rotation ``second`` followed by ``first``; both ``(x, y, z, w)``."""
    x1, y1, z1, w1 = first
    x2, y2, z2, w2 = second
    return np.array(
        [
            w1 * x2 + x1 * w2 + y1 * z2 - z1 * y2,
            w1 * y2 - x1 * z2 + y1 * w2 + z1 * x2,
            w1 * z2 + x1 * y2 - y1 * x2 + z1 * w2,
            w1 * w2 - x1 * x2 - y1 * y2 - z1 * z2,
        ]
    )


def inverse(quaternion: np.ndarray) -> np.ndarray:
    """The opposite rotation."""
    return np.asarray(quaternion * np.array([-1.0, -1.0, -1.0, 1.0]))


def slerp(start: np.ndarray, end: np.ndarray, share: float) -> np.ndarray:
    """The rotation at ``share`` (0 to 1) of the shorter way from one to the other."""
    cosine = float(start @ end)
    if cosine < 0:
        end, cosine = -end, -cosine
    angle = np.arccos(min(1.0, cosine))
    if angle < 1e-9:
        return start
    weights = np.sin([(1 - share) * angle, share * angle]) / np.sin(angle)
    return np.asarray(weights[0] * start + weights[1] * end)


def skew(vector: np.ndarray) -> np.ndarray:
    """The matrix whose product with a vector is the cross product with it."""
    x, y, z = vector
    return np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])


def random_small(sigma: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """A rotation matrix near the identity: angles about x, y, z of these deviations, radians."""
    vector = random.normal(size=3) * sigma
    angle = float(np.linalg.norm(vector))
    if angle == 0:
        return np.eye(3)
    axis = skew(vector / angle)
    return np.asarray(np.eye(3) + np.sin(angle) * axis + (1 - np.cos(angle)) * axis @ axis)
