"""Positions for the 3D views of RViz and Foxglove, computed only while somebody subscribes."""

from __future__ import annotations

import importlib
from typing import Any, List, Optional, Sequence

import numpy as np
from builtin_interfaces.msg import Duration
from rclpy.node import Node
from std_msgs.msg import ColorRGBA, Header

from refdet_ros.locate.messages import LocatedTarget, to_point, to_vector
from refdet_ros.locate.rotations import from_matrix
from refdet_ros.locate.transforms import Transform

_CHI2_3D_95 = 7.815
_LIFETIME_S = 2
_LINE_M = 0.15
_TEXT_M = 2.0
_LEAST_AXIS_M = 0.2


class MarkerPublisher:
    """``located/markers``: line of sight, 95 % ellipsoid and name of each target.

    Without visualization_msgs it publishes nothing.
    """

    def __init__(self, node: Node) -> None:
        try:
            self._types = importlib.import_module("visualization_msgs.msg")
        except ImportError:
            self._publisher = None
            return
        self._publisher = node.create_publisher(self._types.MarkerArray, "located/markers", 10)

    def publish(
        self, targets: Sequence[LocatedTarget], pose: Optional[Transform], header: Header
    ) -> None:
        """Publish the targets that have a position.

        Args:
            pose: of the camera in the header's frame.
        """
        if self._publisher is None or not self._publisher.get_subscription_count():
            return
        markers: List[Any] = []
        for number, target in enumerate(targets):
            if target.track is not None and pose is not None:
                markers += self._of(target, number, pose, header)
        self._publisher.publish(self._types.MarkerArray(markers=markers))

    def _of(self, target: LocatedTarget, number: int, pose: Transform, header: Header) -> List[Any]:
        assert target.track is not None
        kind = self._types.Marker
        position = target.track.position
        line = self._marker(kind.LINE_LIST, "line of sight", number, header, 0.6)
        line.points = [to_point(pose.translation), to_point(position)]
        line.scale.x = _LINE_M
        ball = self._marker(kind.SPHERE, "95 %", number, header, 0.4)
        ball.pose.position = to_point(position)
        spreads, axes = np.linalg.eigh(target.track.covariance)
        axes[:, 2] = np.cross(axes[:, 0], axes[:, 1])  # right-handed
        r = ball.pose.orientation
        r.x, r.y, r.z, r.w = map(float, from_matrix(axes))
        sides = 2 * np.sqrt(np.maximum(spreads, 0) * _CHI2_3D_95)
        ball.scale = to_vector(np.maximum(sides, _LEAST_AXIS_M))
        text = self._marker(kind.TEXT_VIEW_FACING, "name", number, header, 1.0)
        text.pose.position = to_point(position + np.array([0.0, 0.0, _TEXT_M]))
        text.text = target.template_id
        text.scale.z = _TEXT_M
        return [line, ball, text]

    def _marker(self, kind: int, namespace: str, number: int, header: Header, alpha: float) -> Any:
        marker = self._types.Marker(header=header, ns=namespace, id=number, type=kind)
        marker.color = ColorRGBA(r=1.0, g=0.55, b=0.0, a=alpha)
        marker.lifetime = Duration(sec=_LIFETIME_S)
        marker.pose.orientation.w = 1.0
        return marker
