"""Configuring and activating without being asked."""

from __future__ import annotations

import time
from typing import Any, Callable, Protocol

from rclpy.clock import Clock

from refdet_ros.device_recovery import RETRY_S

_POLL_S = 0.05


class StartableNode(Protocol):
    """What starting a node by itself needs of it."""

    create_timer: Callable[..., Any]
    get_logger: Callable[[], Any]
    trigger_configure: Callable[[], Any]
    trigger_activate: Callable[[], Any]
    trigger_cleanup: Callable[[], Any]

    @property
    def lifecycle(self) -> str:
        """``unconfigured``, ``inactive``, ``active`` or ``finalized``."""

    @property
    def worth_another_try(self) -> bool:
        """Whether what failed may succeed later with the same settings."""

    def model_is_opened(self) -> bool:
        """Begin to open the model if that was not begun; True once it has ended, well or not."""

    def end(self, exit_code: int) -> None:
        """End the process."""


class Autostart:
    """Brings a node up, and tries again later if that fails and may go well another time.

    The model is opened before the transition begins, because a transition keeps the executor's
    thread: meanwhile the node answers, even if engines are built for ten minutes.

    Args:
        clock: for the timer; not one that a simulation can stop.
        build_only: instead of activating, end the process once the node is configured, or cannot
            be.
    """

    def __init__(self, node: StartableNode, clock: Clock, build_only: bool) -> None:
        self._node = node
        self._build_only = build_only
        self._next_s = 0.0
        self._timer = node.create_timer(_POLL_S, self._tick, clock=clock)

    def _tick(self) -> None:
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
            node.trigger_cleanup()  # the fault stays in the diagnostics
        if node.lifecycle in ("active", "finalized"):
            self._timer.cancel()
