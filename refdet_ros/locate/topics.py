"""The topics ``located/<target>/...``, for tools that know only standard types."""

from __future__ import annotations

import re
from typing import Any, Callable, Dict, List, Set

from geometry_msgs.msg import PoseWithCovarianceStamped, TwistWithCovarianceStamped, Vector3Stamped
from rclpy.node import Node
from sensor_msgs.msg import NavSatFix
from std_msgs.msg import Header

from refdet_ros.locate.messages import (
    LocatedTarget,
    geo_point_type,
    to_bearing,
    to_fix,
    to_geo_point,
    to_measured_pose,
    to_pose,
    to_twist,
)

FOLDER = "located"
MAX_TARGETS = 50
_DEPTH = 10


def topic_token(template_id: str, taken: Set[str]) -> str:
    """A unique part of a topic name for a template's id.

    ROS 2 allows letters, digits and single underscores, and no digit first.
    """
    token = re.sub(r"[^A-Za-z0-9]+", "_", template_id).strip("_")
    if not token or token[0].isdigit():
        token = f"target_{token}".rstrip("_")
    unique, number = token, 2
    while unique in taken:
        unique, number = f"{token}_{number}", number + 1
    return unique


class TargetTopics:
    """Publishers for each target that was seen, until its template is cleared."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._geo_point_type = geo_point_type()
        self._topics: Dict[str, Dict[str, Any]] = {}
        self._tokens: Dict[str, str] = {}

    def publish(self, target: LocatedTarget, camera: Header, fixed: Header) -> None:
        """Publish what is known of a target, on topics with subscribers.

        Args:
            camera: header with the frame's stamp and the optical frame.
            fixed: header with the frame's stamp and the fixed frame.
        """
        topics = self._topics_of(target.template_id)
        location, track, place = target.location, target.track, target.place

        def send(name: str, make: Callable[[], Any]) -> None:
            publisher = topics.get(name)
            if publisher is not None and publisher.get_subscription_count():
                publisher.publish(make())

        if location.bearing_camera is not None:
            vector = location.bearing_camera
            send("bearing_camera", lambda: to_bearing(vector, camera))
        if location.bearing is not None:
            bearing = location.bearing
            send("bearing", lambda: to_bearing(bearing, fixed))
        if location.position is not None:
            position = location.position
            send("position", lambda: to_measured_pose(position, fixed))
        if track is not None:
            send("track", lambda: to_pose(track.position, track.covariance, fixed))
            send("velocity", lambda: to_twist(track, fixed))
            if place is not None:
                send("fix", lambda: to_fix(place, track.covariance, fixed))
                send("geopoint", lambda: to_geo_point(self._geo_point_type, place, fixed))

    def keep(self, template_ids: Set[str]) -> None:
        """Remove the topics of all other templates."""
        for template_id in set(self._topics) - template_ids:
            for publisher in self._topics.pop(template_id).values():
                self._node.destroy_publisher(publisher)
            self._tokens.pop(template_id)

    def names(self) -> List[str]:
        """The targets' parts of topic names."""
        return sorted(self._tokens.values())

    def _topics_of(self, template_id: str) -> Dict[str, Any]:
        if template_id in self._topics:
            return self._topics[template_id]
        if len(self._topics) >= MAX_TARGETS:
            self._node.get_logger().warning(
                f"Only {MAX_TARGETS} targets get topics of their own; '{template_id}' is in "
                "'locations' alone.",
                throttle_duration_sec=60.0,
            )
            return {}
        token = topic_token(template_id, set(self._tokens.values()))
        types = {
            "bearing_camera": Vector3Stamped,
            "bearing": Vector3Stamped,
            "position": PoseWithCovarianceStamped,
            "track": PoseWithCovarianceStamped,
            "velocity": TwistWithCovarianceStamped,
            "fix": NavSatFix,
        }
        if self._geo_point_type is not None:
            types["geopoint"] = self._geo_point_type
        self._tokens[template_id] = token
        self._topics[template_id] = {
            name: self._node.create_publisher(kind, f"{FOLDER}/{token}/{name}", _DEPTH)
            for name, kind in types.items()
        }
        return self._topics[template_id]
