"""The console's ROS node, in its own thread beside the event loop."""

from __future__ import annotations

import asyncio
import contextlib
import re
import threading
from collections import deque
from dataclasses import dataclass, field
from typing import Any, Callable, Deque, Dict, List, Optional

import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions

SUFFIX = ": refdet"
_NODE_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(/[A-Za-z_][A-Za-z0-9_]*)*\Z")
MAX_DETECTORS = 32


class NoAnswerError(Exception):
    """A service does not exist, or does not answer in time."""


@dataclass(frozen=True)
class Status:
    """One entry of ``/diagnostics`` that a detector wrote.

    Attributes:
        node: fully qualified name, for example ``/drone1/detector``.
        level: 0 fine, 1 warning, 2 error, 3 stale.
        message: the sentence for the operator.
    """

    node: str
    level: int
    message: str
    values: Dict[str, str] = field(default_factory=dict)


class RosSide:
    """A node whose callbacks run in its own thread and call functions in the event loop.

    Args:
        loop: where everything that is received goes to.
        on_status: called in the loop with each diagnostic of a detector.
        arguments: ROS arguments (remaps, namespace).
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        on_status: Callable[[Status], None],
        arguments: Optional[List[str]] = None,
    ) -> None:
        self._loop = loop
        self._on_status = on_status
        self._context = rclpy.Context()
        rclpy.init(
            args=arguments or [],
            context=self._context,
            # The server ends the process in order.
            signal_handler_options=SignalHandlerOptions.NO,
        )
        self.node: Node = rclpy.create_node("console", context=self._context)
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self.node)
        self.node.create_subscription(DiagnosticArray, "/diagnostics", self._on_diagnostics, 10)
        self._functions: Deque[Callable[[], None]] = deque()
        self._thread = threading.Thread(target=self._spin, name="ros", daemon=True)
        self._thread.start()

    def post(self, function: Callable[..., None], *arguments: Any) -> None:
        """Call a function in the event loop; from any thread."""
        with contextlib.suppress(RuntimeError):  # the loop has ended
            self._loop.call_soon_threadsafe(function, *arguments)

    def in_ros(self, function: Callable[[], None]) -> None:
        """Call a function in the ROS thread, where it may create and destroy subscriptions.

        They are called in the order in which they were given; the executor's own tasks are not.
        """
        self._functions.append(function)
        self._executor.create_task(self._call_functions)

    async def call(self, client: Any, request: Any, timeout_s: float, attempts: int = 1) -> Any:
        """A service's response.

        Args:
            attempts: the first answer may be lost while DDS still discovers where it goes; a
                request that does no harm twice may be sent again.

        Raises:
            NoAnswerError: with a sentence.
        """
        deadline = self._loop.time() + min(3.0, timeout_s)
        while not client.service_is_ready():
            if self._loop.time() > deadline:
                raise NoAnswerError(f"The service {client.srv_name} is not there.")
            await asyncio.sleep(0.05)
        for _ in range(attempts):
            answered: asyncio.Future[Any] = self._loop.create_future()
            future = client.call_async(request)
            future.add_done_callback(lambda done, to=answered: self.post(_pass_on, done, to))
            try:
                return await asyncio.wait_for(answered, timeout_s / attempts)
            except asyncio.TimeoutError:
                client.remove_pending_request(future)
        raise NoAnswerError(
            f"{client.srv_name} has not answered within {timeout_s:g} s; see the detector's log."
        )

    def close(self) -> None:
        """Leave ROS."""
        self._executor.shutdown(timeout_sec=1.0)
        self._thread.join(timeout=2.0)
        self.node.destroy_node()
        self._context.try_shutdown()

    def _call_functions(self) -> None:
        while self._functions:
            self._functions.popleft()()

    def _spin(self) -> None:
        while self._context.ok():
            try:
                with contextlib.suppress(ExternalShutdownException):
                    self._executor.spin()
                return
            except Exception as error:
                if self._context.ok():
                    self.node.get_logger().error(f"A callback failed: {error!r}")

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        for status in message.status:
            name = status.name[: -len(SUFFIX)]
            # Anyone may write there, so the name is checked before topics are made of it.
            if not status.name.endswith(SUFFIX) or not _NODE_NAME.match(name):
                continue
            level = status.level if isinstance(status.level, int) else status.level[0]
            values = {item.key: item.value for item in status.values}
            self.post(self._on_status, Status("/" + name, level, status.message, values))


def _pass_on(done: Any, to: asyncio.Future[Any]) -> None:
    if to.done():
        return
    error = done.exception()
    if error is not None:
        to.set_exception(error)
    else:
        to.set_result(done.result())
