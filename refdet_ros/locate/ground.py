"""Where a ray meets the ground: a horizontal plane, or a surface of heights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Callable, Optional

import numpy as np

from refdet_core.errors import RefdetError

HeightFunction = Callable[[np.ndarray], np.ndarray]
"""Ground heights ``(N,)`` at ``(N, 2)`` horizontal positions, both in the fixed frame, metres; NaN
where the ground is not known."""

_STEPS = 2000
_BISECTIONS = 40
_SLOPE_STEP_M = 1.0


class NoIntersectionError(RefdetError):
    """The ray does not meet the ground."""


@dataclass(frozen=True)
class Hit:
    """A point on the ground.

    Attributes:
        point: ``(3,)`` in the fixed frame, metres.
        distance: from the ray's origin.
        normal: ``(3,)`` unit vector, upwards, of the ground at the point.
    """

    point: np.ndarray
    distance: float
    normal: np.ndarray


@dataclass(frozen=True)
class Limits:
    """Limits beyond which a point on the ground would be arbitrary.

    Attributes:
        min_depression_deg: they must point at least so far below the horizon.
        max_distance_m: and meet the ground within this distance.
    """

    min_depression_deg: float
    max_distance_m: float

    def check_ray(self, ray: np.ndarray) -> None:
        """Refuse rays that do not point down enough.

        Raises:
            NoIntersectionError: it tells the angle.
        """
        depression = float(np.degrees(np.arcsin(np.clip(-ray[2], -1.0, 1.0))))
        if depression < self.min_depression_deg:
            raise NoIntersectionError(
                f"above the horizon by {-depression:.1f} degrees"
                if depression <= 0
                else f"only {depression:.1f} degrees below the horizon, less than "
                f"min_depression_deg ({self.min_depression_deg:g})"
            )


@dataclass(frozen=True)
class Ground:
    """What rays are intersected with.

    Attributes:
        height: of the plane, metres in the fixed frame.
        surface: heights from an elevation model instead of the plane.
        target_height: of the objects: the middle of a box is at half of it above the ground.
        limits: which points are too uncertain to be given.
    """

    height: float
    limits: Limits
    surface: Optional[HeightFunction] = None
    target_height: float = 0.0

    def meet(self, origin: np.ndarray, ray: np.ndarray) -> Hit:
        """Where a ray from a point meets it: ``(3,)`` metres and a unit vector, fixed frame.

        Raises:
            NoIntersectionError: nowhere, or too uncertainly.
        """
        raised = self.target_height / 2
        if self.surface is None:
            return meet_plane(origin, ray, self.height + raised, self.limits)
        surface = self.surface
        return meet_surface(origin, ray, lambda places: surface(places) + raised, self.limits)


def meet_plane(origin: np.ndarray, ray: np.ndarray, height: float, limits: Limits) -> Hit:
    """The point at which a ray meets the horizontal plane ``z = height``.

    Args:
        origin: ``(3,)`` in the fixed frame.
        ray: unit vector in the fixed frame.

    Raises:
        NoIntersectionError: it points above the horizon, starts below the plane, or the point is
            too far away.
    """
    limits.check_ray(ray)
    above = float(origin[2] - height)
    if above <= 0:
        raise NoIntersectionError(
            f"the camera is {-above:.1f} m below the ground at height {height:.1f} m"
        )
    distance = above / -float(ray[2])
    if distance > limits.max_distance_m:
        raise _too_far(distance, limits)
    return Hit(origin + distance * ray, distance, np.array([0.0, 0.0, 1.0]))


def meet_surface(
    origin: np.ndarray, ray: np.ndarray, height_at: HeightFunction, limits: Limits
) -> Hit:
    """The first point at which a ray goes below a surface of heights.

    The ray is sampled in ``max_distance_m / 2000`` steps and the crossing is then bisected: a ridge
    thinner than a step may be missed.

    Raises:
        NoIntersectionError: it does not within the distance, or leaves the known ground before.
    """
    limits.check_ray(ray)
    distances = np.linspace(0.0, limits.max_distance_m, _STEPS + 1)
    points = origin + distances[:, None] * ray
    above = points[:, 2] - height_at(points[:, :2])
    if np.isnan(above[0]):
        raise NoIntersectionError("the camera is outside the elevation model")
    if above[0] <= 0:
        raise NoIntersectionError(f"the camera is {-above[0]:.1f} m below the elevation model")
    below = np.flatnonzero(~(above > 0))
    if not below.size:
        raise NoIntersectionError(
            f"no ground within max_distance_m ({limits.max_distance_m:g} m) on the elevation model"
        )
    place = int(below[0])
    if np.isnan(above[place]):
        raise NoIntersectionError("the line of sight leaves the elevation model")
    low, high = distances[place - 1], distances[place]
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        point = origin + middle * ray
        if point[2] > height_at(point[None, :2])[0]:
            low = middle
        else:
            high = middle
    point = origin + high * ray
    return Hit(point, float(high), _normal(point, height_at))


def _normal(point: np.ndarray, height_at: HeightFunction) -> np.ndarray:
    """The surface's normal below a point; straight up at the edge of the known ground."""
    step = _SLOPE_STEP_M
    shifts = np.array([[step, 0.0], [-step, 0.0], [0.0, step], [0.0, -step]])
    east, west, north, south = height_at(point[:2] + shifts)
    slope = np.array([(east - west) / (2 * step), (north - south) / (2 * step)])
    if not np.isfinite(slope).all():
        return np.array([0.0, 0.0, 1.0])
    normal = np.array([-slope[0], -slope[1], 1.0])
    return np.asarray(normal / np.linalg.norm(normal))


def _too_far(distance: float, limits: Limits) -> NoIntersectionError:
    return NoIntersectionError(
        f"{distance:.0f} m away, farther than max_distance_m ({limits.max_distance_m:g} m)"
    )
