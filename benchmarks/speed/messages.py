"""The node's work around the detector: camera messages in, result messages out."""

from __future__ import annotations

import importlib

import numpy as np

from refdet_core.detector import Detector
from refdet_core.errors import BackendError
from refdet_core.types import FrameResult

_MODULES = ("std_msgs.msg", "sensor_msgs.msg", "vision_msgs.msg", "refdet_msgs.msg")


class Messages:
    """One picture as camera messages.

    Raises:
        BackendError: the ROS packages are not installed here.
    """

    def __init__(self, frame_bgr: np.ndarray) -> None:
        try:
            for module in _MODULES:
                importlib.import_module(module)
        except ImportError as error:
            raise BackendError(
                f"ROS 2 is not installed here ({error}); 'make setup' makes an environment with it."
            ) from error
        from std_msgs.msg import Header

        from refdet_ros.conversions import to_compressed, to_image

        self._header = Header(frame_id="camera")
        self.by_transport = {
            "raw": to_image(frame_bgr, "bgr8", self._header),
            "compressed": to_compressed(frame_bgr, "bgr8", self._header),
        }

    def decode(self, transport: str) -> np.ndarray:
        """The picture of the message, decoded as in the node."""
        from refdet_ros.camera import to_bgr

        return np.asarray(to_bgr(self.by_transport[transport]))

    def encode(self, result: FrameResult, frame_size: tuple[int, int]) -> bytes:
        """The result's messages, serialised as for publishing."""
        from rclpy.serialization import serialize_message

        from refdet_ros.publishing import to_detections, to_targets

        return bytes(
            serialize_message(to_detections(result, self._header))
            + serialize_message(to_targets(result, self._header, frame_size))
        )

    def through(self, transport: str, detector: Detector) -> bytes:
        """A frame's whole way through the node, without the middleware."""
        frame_bgr = self.decode(transport)
        result = detector.detect(frame_bgr)
        return self.encode(result, (frame_bgr.shape[1], frame_bgr.shape[0]))
