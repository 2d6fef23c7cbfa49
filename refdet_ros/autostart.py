"""Configures and activates the node automatically."""

from __future__ import annotations

import time
from typing import Any, Callable, Protocol

from rclpy.clock import Clock

from refdet_ros.device_recovery import RETRY_S

_POLL_S = 0.05


class StartableNode(Protocol):
    """The parts of a node that autostart uses."""

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
        """Whether the failed transition may succeed later with the same settings."""

    def model_is_opened(self) -> bool:
        """Start opening the model if necessary; True once that has ended, successfully or not."""

    def end(self, exit_code: int) -> None:
        """End the process."""


class Autostart:
    """Brings a node up, and retries if a failure may be temporary.

    The model is opened before the transition, because a transition blocks the executor's thread. So
    the node answers meanwhile, even if building engines takes ten minutes.

    Args:
        clock: the timer's clock; a simulation must not be able to stop it.
        build_only: do not activate; end the process once configuring has succeeded or failed.
    """

    def __init__(self, node: StartableNode, clock: Clock, build_only: bool) -> None:
        self._node = node
        self._build_only = build_only
        self._next_s = 0.0
        self._timer = node.create_timer(_POLL_S, self._tick, clock=clock)

    def _tick(self) -> None:
        if time.monotonic() < self._next_s:
            return
        # Set first, so that an exception below is not repeated with every tick.
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
                node.get_logger().info("build_only: the model is ready, the node ends.")
            node.end(0 if ready else 1)
            return
        if node.lifecycle == "inactive":
            node.trigger_activate()
        if node.lifecycle == "inactive":
            node.trigger_cleanup()  # the fault stays in the diagnostics
        if node.lifecycle in ("active", "finalized"):
            self._timer.cancel()
