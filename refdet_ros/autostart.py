"""Configuring and activating without being asked."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from rclpy.clock import Clock

from refdet_ros.device_recovery import RETRY_S

if TYPE_CHECKING:
    from refdet_ros.node import DetectorNode

_POLL_S = 0.05


class Autostart:
    """Brings a node up, and tries again later if that fails and may go well another time.

    The model is opened before the transition begins, because a transition keeps the executor's
    thread: meanwhile the node answers, even if engines are built for ten minutes.

    Args:
        clock: for the timer; not one that a simulation can stop.
        build_only: instead of activating, end the process once the node is configured, or cannot
            be.
    """

    def __init__(self, node: DetectorNode, clock: Clock, build_only: bool) -> None:
        self._node = node
        self._build_only = build_only
        self._next_s = 0.0
        self._timer = node.create_timer(_POLL_S, self._go_on, clock=clock)

    def _go_on(self) -> None:
        if time.monotonic() < self._next_s:
            return
        # First of all, so that nothing unforeseen below is repeated with every tick.
        self._next_s = time.monotonic() + RETRY_S
        node = self._node
        if node.lifecycle == "unconfigured":
            if not node.worth_another_try:
                return
            if not node.model_is_opened():
                self._next_s = 0.0
                return
            node.trigger_configure()
        if self._build_only:
            self._timer.cancel()
            ready = node.lifecycle == "inactive"
            if ready:
                node.get_logger().info("build_only: everything is there, the node ends.")
            node.end(0 if ready else 1)
            return
        if node.lifecycle == "inactive":
            node.trigger_activate()
        if node.lifecycle == "inactive":
            node.start_over()
        if node.lifecycle in ("active", "finalized"):
            self._timer.cancel()
