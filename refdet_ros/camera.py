"""The camera topic: the subscription, and the reason when no image arrives."""

from __future__ import annotations

import time
from typing import Any, Callable, Optional, Union

import numpy as np
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CompressedImage, Image

from refdet_core.image_files import Stretch
from refdet_ros.conversions import compressed_to_bgr, image_to_bgr

try:
    from rclpy.event_handler import SubscriptionEventCallbacks
except ImportError:  # Humble
    from rclpy.qos_event import SubscriptionEventCallbacks

CameraMessage = Union[Image, CompressedImage]
INPUT_TIMEOUT_S = 2.0

_POLICIES = {
    "sensor_data": (ReliabilityPolicy.BEST_EFFORT, DurabilityPolicy.VOLATILE),
    "reliable": (ReliabilityPolicy.RELIABLE, DurabilityPolicy.VOLATILE),
    "system_default": (ReliabilityPolicy.SYSTEM_DEFAULT, DurabilityPolicy.SYSTEM_DEFAULT),
}


def to_bgr(message: CameraMessage, stretch: Optional[Stretch] = None) -> np.ndarray:
    """The image of a raw or compressed message, ``(H, W, 3)`` uint8 BGR.

    Args:
        stretch: makes pictures of more than 8 bits uint8; None takes the range they use.

    Raises:
        ImageError: it cannot be decoded.
    """
    if isinstance(message, Image):
        return image_to_bgr(message, stretch)
    return compressed_to_bgr(message, stretch)


class Camera:
    """Subscription to ``image`` (or ``image/compressed``) that keeps the newest message.

    Args:
        transport: ``raw`` or ``compressed``.
        qos: a name of :data:`refdet_ros.parameters.IMAGE_QOS`.
        on_message: called in the executor's thread; must return at once.
    """

    def __init__(
        self, node: Node, transport: str, qos: str, on_message: Callable[[CameraMessage], None]
    ) -> None:
        self._node = node
        self._on_message = on_message
        self._qos = qos
        self._since = time.monotonic()
        self._incompatible = ""
        self.newest: Optional[CameraMessage] = None
        # Resolved first, so that remapping `image` also moves `image/compressed`.
        self.topic = node.resolve_topic_name("image") + (
            "/compressed" if transport == "compressed" else ""
        )
        reliability, durability = _POLICIES[qos]
        self._subscription = node.create_subscription(
            CompressedImage if transport == "compressed" else Image,
            self.topic,
            self._received,
            QoSProfile(depth=1, reliability=reliability, durability=durability),
            event_callbacks=SubscriptionEventCallbacks(incompatible_qos=self._refused),
        )
        # A launch file may also remap the compressed topic itself.
        self.topic = self._subscription.topic_name

    def problem(self) -> str:
        """Why no image arrives, as a sentence; empty while images arrive."""
        silent_s = time.monotonic() - self._since
        if silent_s < INPUT_TIMEOUT_S:
            return ""
        publishers = self._node.get_publishers_info_by_topic(self.topic)
        if not publishers:
            reason = "it has no publisher"
        elif self._incompatible:
            reason = self._incompatible
        else:
            reason = "it has {} publisher(s) of {}".format(
                len(publishers),
                ", ".join(sorted({publisher.topic_type for publisher in publishers})),
            )
        return f"no image on {self.topic} since {silent_s:.0f} s: {reason}"

    def destroy(self) -> None:
        """Unsubscribe."""
        self._node.destroy_subscription(self._subscription)

    def _received(self, message: CameraMessage) -> None:
        self._since = time.monotonic()
        self.newest = message
        self._on_message(message)

    def _refused(self, event: Any) -> None:
        """A publisher of the topic offers a weaker quality of service than requested."""
        self._incompatible = (
            "a publisher offers an incompatible quality of service "
            f"({_policy_name(event.last_policy_kind)}) to image_qos '{self._qos}'; "
            "set image_qos to sensor_data"
        )
        self._node.get_logger().warning(f"{self.topic}: {self._incompatible}")


def _policy_name(kind: Any) -> str:
    """The name of the event's policy, for example ``RELIABILITY``; it is an enum or its number."""
    from rclpy.qos import qos_policy_name_from_kind

    return str(qos_policy_name_from_kind(kind)).replace("_QOS_POLICY", "")
