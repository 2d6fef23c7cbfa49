"""One camera message: decode it, search it, publish the result, record the times."""

from __future__ import annotations

import time
from typing import Dict, Optional, Sequence

from rclpy.clock import Clock
from std_msgs.msg import Header

from refdet_core.contrast import Contrast
from refdet_core.detector import Detector
from refdet_core.frame_clock import FrameClock
from refdet_core.types import TRACKING, TargetStatus
from refdet_ros.camera import CameraMessage, to_bgr
from refdet_ros.counters import Statistics
from refdet_ros.publishing import ResultPublisher


class FrameProcessor:
    """Searches camera messages and publishes what it finds. Only the worker's thread uses it.

    Args:
        clock: the node's clock; it measures ages and latencies.

    Attributes:
        targets: the state of each target in the newest frame; see ``FrameResult``.
    """

    def __init__(self, publisher: ResultPublisher, statistics: Statistics, clock: Clock) -> None:
        self._publisher = publisher
        self._statistics = statistics
        self._clock = clock
        self._frame_clock = FrameClock()
        self.targets: Dict[str, TargetStatus] = {}

    def process(
        self,
        detector: Detector,
        message: CameraMessage,
        arrived_s: float,
        max_age_s: float,
        contrast: Contrast,
    ) -> None:
        """Search one message and publish the result under the message's own header.

        Args:
            arrived_s: ``time.perf_counter()`` when the message arrived.
            max_age_s: older messages are dropped; 0 takes all.
            contrast: makes pictures of more than 8 bits uint8.

        Raises:
            RefdetError: the message cannot be decoded, or the backend failed.
        """
        age_s = self._age_s(message.header)
        if 0 < max_age_s < age_s:
            self._statistics.dropped("stale")
            return
        started = time.perf_counter()
        frame_bgr = to_bgr(message, contrast.frame)
        converted = time.perf_counter()
        result = detector.detect(
            frame_bgr,
            heatmaps=self._publisher.wants_heatmap,
            time_s=self._frame_clock.time_s(_stamp_ns(message.header), arrived_s),
        )
        self.targets = result.targets
        detected = time.perf_counter()
        self._publisher.publish_frame(message.header, frame_bgr, result)
        published = time.perf_counter()
        times_ms = {
            "wait": (started - arrived_s) * 1e3,
            "convert": (converted - started) * 1e3,
            **result.timings_ms,
            "detect": (detected - converted) * 1e3,
            "publish": (published - detected) * 1e3,
        }
        if _stamp_ns(message.header) is not None:
            times_ms["latency"] = self._age_s(message.header) * 1e3
            times_ms["overhead"] = times_ms["latency"] - times_ms["detect"]
        self._statistics.published(times_ms)

    def forget_targets(self, template_ids: Sequence[str]) -> None:
        """Drop the states of these targets: their templates were replaced or cleared."""
        self.targets = {
            name: status for name, status in self.targets.items() if name not in template_ids
        }

    def is_tracked(self, template_id: str) -> bool:
        """Whether the newest frame's search tracked this target."""
        status = self.targets.get(template_id)
        return status is not None and status.state == TRACKING

    def _age_s(self, header: Header) -> float:
        """Seconds since the stamp on the node's clock; 0 for a frame without a stamp."""
        stamp_ns = _stamp_ns(header)
        if stamp_ns is None:
            return 0.0
        return float(self._clock.now().nanoseconds - stamp_ns) * 1e-9


def _stamp_ns(header: Header) -> Optional[int]:
    """The stamp in nanoseconds; None if it is zero, which means "no time" in ROS."""
    return (header.stamp.sec * 1_000_000_000 + header.stamp.nanosec) or None
