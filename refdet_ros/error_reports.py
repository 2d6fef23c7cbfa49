"""Reports the node's errors to the log, to clients and to the diagnostics."""

from __future__ import annotations

import traceback
from typing import Callable, Optional

from rclpy.node import Node

from refdet_core.errors import DeviceLostError, EngineRefusedError, RefdetError

ERROR_LOG_PERIOD_S = 5.0


class ErrorReports:
    """Logs each error once and keeps the newest for the diagnostics.

    Args:
        node: supplies the log and the name.

    Attributes:
        fault: why the last transition failed, as a sentence; empty when it did not.
        last_error: the last frame or request that failed.
    """

    def __init__(self, node: Node) -> None:
        self._node = node
        self._failure: Optional[Exception] = None  # the exception behind the fault
        self.fault = ""
        self.last_error = ""

    @property
    def worth_another_try(self) -> bool:
        """Whether the failed transition may succeed later with the same settings."""
        return not isinstance(self._failure, EngineRefusedError)

    @property
    def fatal_fault(self) -> str:
        """The fault, if only a new process can use the device again; else empty."""
        return self.fault if isinstance(self._failure, DeviceLostError) else ""

    def attempt(self, what: str, action: Callable[[], None]) -> bool:
        """Run the action of a transition; rclpy would swallow its exceptions.

        Args:
            what: the transition's name, for the sentence "cannot configure: ...".

        Returns:
            Whether it succeeded.
        """
        try:
            action()
        except Exception as error:
            fault = f"cannot {what}: {error}"
            self._failure = error
            if not self.worth_another_try:
                name = self._node.get_fully_qualified_name()
                fault += (
                    " There is no automatic retry: change a setting, for example precision, "
                    f"then 'ros2 lifecycle set {name} configure'."
                )
            # Autostart would repeat it with each retry; a shutdown interrupts on purpose.
            if fault != self.fault and self._node.context.ok():
                self._node.get_logger().error(
                    fault if isinstance(error, RefdetError) else traceback.format_exc()
                )
            self.fault = fault
            return False
        self.fault, self._failure = "", None
        return True

    def refusal(self, what: str, error: Exception) -> str:
        """The message for the client. An internal error is logged with its trace."""
        if isinstance(error, RefdetError):
            self._node.get_logger().warning(f"{what} refused: {error}")
            return str(error)
        self._node.get_logger().error(_trace(error))
        self.last_error = f"{what} failed: {error!r}"
        return f"Internal error, see the node's log: {error!r}"

    def frame_failed(self, error: Exception) -> None:
        """Report a failed frame or a lost device. Called in the worker's thread."""
        self.last_error = text = str(error) or type(error).__name__
        log = self._node.get_logger()
        if isinstance(error, DeviceLostError):
            log.error(f"The device was lost, it is opened again: {text}")
            return
        if not isinstance(error, RefdetError):
            text = _trace(error)
        log.error(f"A frame failed: {text}", throttle_duration_sec=ERROR_LOG_PERIOD_S)


def _trace(error: Exception) -> str:
    return "".join(traceback.format_exception(type(error), error, error.__traceback__))
