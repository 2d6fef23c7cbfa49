"""Reopens a device that was lost while frames were processed."""

from __future__ import annotations

import logging
import threading
import time
from typing import Any, Callable

from refdet_core.errors import DeviceLostError, RefdetError
from refdet_ros.worker import WorkerBusyError

RETRY_S = 5.0
_LOG = logging.getLogger(__name__)


class DeviceRecovery:
    """Reopens the backend after a :class:`DeviceLostError`, and retries until that works.

    It gives up if a new backend finds the device lost as well: after most CUDA errors the device
    stays lost until the process ends.

    Args:
        reopen: reopens the backend; called in the worker's thread.
        submit: queues a job for the worker's thread, without waiting for it.
        on_loss: called once per loss, in the worker's thread.

    Attributes:
        hopeless: only a new process can use the device again.
    """

    def __init__(
        self,
        reopen: Callable[[], None],
        submit: Callable[[Callable[[], None]], Any],
        on_loss: Callable[[Exception], None],
    ) -> None:
        self._reopen = reopen
        self._submit = submit
        self._on_loss = on_loss
        self.hopeless = False
        self._lock = threading.Lock()
        self._lost: str = ""
        self._lost_s = 0.0
        self._failure = ""
        self._next_s = 0.0
        self._trying = False

    @property
    def problem(self) -> str:
        """The device's problem as a sentence; empty while it works."""
        lost, failure = self._lost, self._failure
        if not lost:
            return ""
        return "the device was lost {:.0f} s ago and {}: {}{}".format(
            time.monotonic() - self._lost_s,
            "only a new process can have it back" if self.hopeless else "is being opened again",
            lost,
            f" The last attempt failed: {failure}" if failure else "",
        )

    def lost(self, error: DeviceLostError) -> None:
        """Report a loss. Call it in the worker's thread."""
        if not self._lost:
            self._lost_s = time.monotonic()
            self._lost = str(error)
            self._on_loss(error)
        self.tend()

    def tend(self) -> None:
        """Start the next attempt if it is due. Call it regularly, from any thread."""
        with self._lock:
            waits = self._trying or time.monotonic() < self._next_s
            if not self._lost or self.hopeless or waits:
                return
            self._trying = True
        try:
            self._submit(self._attempt)
        except WorkerBusyError:
            self._trying = False  # the node is shutting down

    def _attempt(self) -> None:
        try:
            self._reopen()
        except Exception as error:
            failure = str(error) if isinstance(error, RefdetError) else repr(error)
            hopeless = isinstance(error, DeviceLostError)
            if failure != self._failure and not hopeless:
                _LOG.error("The device cannot be opened again yet: %s", failure)
            self._failure, self.hopeless = failure, hopeless
        else:
            _LOG.info("The device is back after %.1f s.", time.monotonic() - self._lost_s)
            self._lost = self._failure = ""
        # Also after a success: a device that is lost with every frame must not keep the thread
        # busy.
        self._next_s = time.monotonic() + RETRY_S
        self._trying = False
