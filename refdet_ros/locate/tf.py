"""Transforms from TF: through tf2_ros where it is installed, else through our own buffer."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rclpy.time import Time

from refdet_ros.locate.transforms import (
    NotYetError,
    Transform,
    TransformBuffer,
    TransformError,
    from_message,
)

_DEPTH = 100
_LATCHED = QoSProfile(
    depth=_DEPTH,
    reliability=ReliabilityPolicy.RELIABLE,
    durability=DurabilityPolicy.TRANSIENT_LOCAL,
)


def listen(node: Node) -> Any:
    """A buffer that follows ``/tf`` and ``/tf_static``.

    It has ``can_transform`` and ``lookup_transform`` of
    :class:`~refdet_ros.locate.transforms.TransformBuffer`, whichever package does the work.

    Raises:
        TransformError: neither tf2_ros nor tf2_msgs is installed.
    """
    try:
        return Tf2Buffer(node, importlib.import_module("tf2_ros"))
    except ImportError:
        return _listen_ourselves(node)


class Tf2Buffer:
    """``tf2_ros.Buffer`` with stamps in nanoseconds and our own exceptions."""

    def __init__(self, node: Node, tf2_ros: Any) -> None:
        self._tf2_ros = tf2_ros
        self._buffer = tf2_ros.Buffer()
        self._listener = tf2_ros.TransformListener(self._buffer, node)

    def can_transform(self, target_frame: str, source_frame: str, stamp_ns: int) -> bool:
        """Whether :meth:`lookup_transform` has an answer."""
        time = Time(nanoseconds=stamp_ns)
        return bool(self._buffer.can_transform(target_frame, source_frame, time))

    def lookup_transform(self, target_frame: str, source_frame: str, stamp_ns: int) -> Transform:
        """Where the source frame is in the target frame at a time.

        Raises:
            NotYetError: the time may lie after the newest transform on the way.
            TransformError: the frames are not connected.
        """
        time = Time(nanoseconds=stamp_ns)
        try:
            found = self._buffer.lookup_transform(target_frame, source_frame, time)
        except self._tf2_ros.ExtrapolationException as error:
            # tf2 does not tell in a field on which side; the caller waits a little in vain.
            raise NotYetError(f"{error}.".replace("..", ".")) from error
        except self._tf2_ros.TransformException as error:
            raise TransformError(f"{error}.".replace("..", ".")) from error
        translation, rotation = from_message(found.transform)
        return Transform(translation, rotation / np.linalg.norm(rotation))


def _listen_ourselves(node: Node) -> TransformBuffer:
    try:
        message_type = importlib.import_module("tf2_msgs.msg").TFMessage
    except ImportError as error:
        raise TransformError(
            "Neither tf2_ros nor tf2_msgs is installed: 'apt install ros-$ROS_DISTRO-tf2-ros', or "
            "without a ROS installation 'make setup'."
        ) from error
    buffer = TransformBuffer()

    def refuse(problem: str) -> None:
        node.get_logger().warning(problem, throttle_duration_sec=10.0)

    node.create_subscription(
        message_type, "/tf", lambda message: buffer.store(message, False, refuse), _DEPTH
    )
    node.create_subscription(
        message_type, "/tf_static", lambda message: buffer.store(message, True, refuse), _LATCHED
    )
    return buffer
