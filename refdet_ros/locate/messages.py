"""Makes messages from locations."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import Any, Optional

import numpy as np
from geometry_msgs.msg import (
    Point,
    PoseWithCovarianceStamped,
    TwistWithCovarianceStamped,
    Vector3,
    Vector3Stamped,
)
from refdet_msgs.msg import TargetLocation
from sensor_msgs.msg import NavSatFix, NavSatStatus
from std_msgs.msg import Header
from vision_msgs.msg import Detection2D

from refdet_ros.locate.geodesy import GeoPoint
from refdet_ros.locate.locator import Location, Position
from refdet_ros.locate.track import PositionTrack
from refdet_ros.locate.transforms import Transform


@dataclass(frozen=True)
class LocatedTarget:
    """One detection with its location and its track.

    Attributes:
        track: of the detection's target after this frame; None if it does not follow this
            detection or there is no position.
        place: the track's position on Earth; None if that is not known.
    """

    detection: Detection2D
    location: Location
    track: Optional[PositionTrack]
    place: Optional[GeoPoint]

    @property
    def template_id(self) -> str:
        """The detection's template id."""
        return str(self.detection.results[0].hypothesis.class_id)


def to_location(target: LocatedTarget) -> TargetLocation:
    """The entry of ``locations``."""
    hypothesis = target.detection.results[0].hypothesis
    location = target.location
    message = TargetLocation(
        template_id=hypothesis.class_id,
        track_id=target.detection.id,
        score=hypothesis.score,
        problem=location.problem,
    )
    if location.bearing_camera is not None:
        message.bearing_camera = to_vector(location.bearing_camera)
    if location.bearing is not None:
        message.bearing = to_vector(location.bearing)
        message.azimuth_deg = location.azimuth_deg
        message.elevation_deg = location.elevation_deg
    if location.position is None:
        return message
    position, track = location.position, target.track
    message.has_position = True
    message.position = to_point(position.point)
    message.position_covariance = position.covariance.ravel()
    message.distance = position.distance
    message.track_position = to_point(position.point if track is None else track.position)
    message.track_position_covariance = (
        position.covariance if track is None else track.covariance
    ).ravel()
    if track is not None:
        message.track_velocity = to_vector(track.velocity)
        message.track_velocity_covariance = track.velocity_covariance.ravel()
    if target.place is not None:
        message.has_geo = True
        message.latitude = target.place.latitude
        message.longitude = target.place.longitude
        message.altitude = target.place.altitude
    return message


def to_bearing(vector: np.ndarray, header: Header) -> Vector3Stamped:
    """A unit vector in the header's frame."""
    return Vector3Stamped(header=header, vector=to_vector(vector))


def to_pose(point: np.ndarray, covariance: np.ndarray, header: Header) -> PoseWithCovarianceStamped:
    """A position without a known orientation."""
    message = PoseWithCovarianceStamped(header=header)
    message.pose.pose.position = to_point(point)
    message.pose.covariance = _six_by_six(covariance)
    return message


def to_measured_pose(position: Position, header: Header) -> PoseWithCovarianceStamped:
    """The position of one frame."""
    return to_pose(position.point, position.covariance, header)


def to_twist(track: PositionTrack, header: Header) -> TwistWithCovarianceStamped:
    """The velocity, along the axes of the header's frame."""
    message = TwistWithCovarianceStamped(header=header)
    message.twist.twist.linear = to_vector(track.velocity)
    message.twist.covariance = _six_by_six(track.velocity_covariance)
    return message


def to_fix(place: GeoPoint, covariance: np.ndarray, header: Header) -> NavSatFix:
    """The place with its covariance east, north, up."""
    message = NavSatFix(
        header=header,
        latitude=place.latitude,
        longitude=place.longitude,
        altitude=place.altitude,
        position_covariance=covariance.ravel(),
        position_covariance_type=NavSatFix.COVARIANCE_TYPE_KNOWN,
    )
    message.status.status = NavSatStatus.STATUS_FIX
    return message


def geo_point_type() -> Optional[Any]:
    """``geographic_msgs/GeoPointStamped``, None where that package is not installed."""
    try:
        return importlib.import_module("geographic_msgs.msg").GeoPointStamped
    except ImportError:
        return None


def to_geo_point(message_type: Any, place: GeoPoint, header: Header) -> Any:
    """The place as a ``GeoPointStamped``."""
    message = message_type(header=header)
    message.position.latitude = place.latitude
    message.position.longitude = place.longitude
    message.position.altitude = place.altitude
    return message


def to_vector(vector: np.ndarray) -> Vector3:
    """``(3,)`` as a vector."""
    x, y, z = map(float, vector)
    return Vector3(x=x, y=y, z=z)


def to_point(point: np.ndarray) -> Point:
    """``(3,)`` as a point."""
    x, y, z = map(float, point)
    return Point(x=x, y=y, z=z)


def set_pose(pose: Any, transform: Transform) -> None:
    """Fill a ``geometry_msgs/Pose``."""
    pose.position = to_point(transform.translation)
    r = pose.orientation
    r.x, r.y, r.z, r.w = map(float, transform.rotation)


def _six_by_six(covariance: np.ndarray) -> np.ndarray:
    """A message's covariance of x, y, z and three rotations, of which nothing is known: 0."""
    whole = np.zeros((6, 6))
    whole[:3, :3] = covariance
    return whole.ravel()
