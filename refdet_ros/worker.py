"""One thread for the heavy work, and a slot for its newest frame.

A camera at 30 Hz and a network that takes 80 ms need no queue, which would only delay results. The
subscription puts each frame into the slot, and the worker takes it from there.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from concurrent.futures import Future, wait
from typing import Any, Callable, Deque, Generic, Optional, Tuple, TypeVar

from refdet_core.errors import RefdetError

Frame = TypeVar("Frame")
Result = TypeVar("Result")

_POLL_S = 0.1


class WorkerBusyError(RefdetError):
    """The worker did not finish a job in time, or is not running."""


class Worker(Generic[Frame]):
    """Runs jobs and frames one by one, jobs first.

    Args:
        on_frame: processes a frame; called in the worker's thread.
        on_error: called with every exception of ``on_frame``, in the worker's thread.
        on_stop: called last in the worker's thread, whatever ends it.
        keep_waiting: polled while :meth:`call` waits; False ends the wait (shutdown).
    """

    def __init__(
        self,
        on_frame: Callable[[Frame], None],
        on_error: Callable[[Exception], None],
        on_stop: Callable[[], None] = lambda: None,
        keep_waiting: Callable[[], bool] = lambda: True,
    ) -> None:
        self._on_frame = on_frame
        self._on_error = on_error
        self._on_stop = on_stop
        self._keep_waiting = keep_waiting
        self._change = threading.Condition()
        self._slot: Optional[Frame] = None
        self._jobs: Deque[Tuple[Callable[[], Any], Future[Any]]] = deque()
        self._stopping = False
        # A daemon: a blocked backend must not keep the process alive after shutdown.
        self._thread = threading.Thread(target=self._run, name="refdet_worker", daemon=True)
        self._thread.start()

    def offer(self, frame: Frame) -> bool:
        """Put the newest frame into the slot; True if it replaced an untaken one."""
        with self._change:
            replaced = self._slot is not None
            self._slot = frame
            self._change.notify()
        return replaced

    def forget_frame(self) -> None:
        """Empty the slot."""
        with self._change:
            self._slot = None

    def submit(self, job: Callable[[], Result]) -> Future[Result]:
        """Queue a job for the worker's thread, before the next frame, without waiting.

        Raises:
            WorkerBusyError: the worker is not running.
        """
        future: Future[Result] = Future()
        with self._change:
            if self._stopping:
                raise WorkerBusyError("The detector is shutting down.")
            self._jobs.append((job, future))
            self._change.notify()
        return future

    def call(self, job: Callable[[], Result], timeout_s: float) -> Result:
        """Run a job in the worker's thread, before the next frame, and return its result.

        Raises:
            WorkerBusyError: it was not done within ``timeout_s`` seconds. A job that has not
                started is dropped.

                Exception: any exception of the job.
        """
        future = self.submit(job)
        deadline = time.monotonic() + timeout_s
        while True:
            if wait([future], timeout=_POLL_S).done:
                return future.result()
            if not self._keep_waiting():
                future.cancel()
                raise WorkerBusyError("The detector is shutting down.")
            if time.monotonic() > deadline:
                break
        if future.cancel():
            raise WorkerBusyError(
                f"The detector was busy for {timeout_s:g} s with a frame; nothing was changed. "
                "Try again."
            )
        raise WorkerBusyError(
            f"The detector did not finish within {timeout_s:g} s; the change may still take effect."
        )

    def stop(self, timeout_s: float) -> bool:
        """End the thread after its current work; False if that takes longer than ``timeout_s``."""
        with self._change:
            self._stopping = True
            self._slot = None
            for _, future in self._jobs:
                future.cancel()
            self._jobs.clear()
            self._change.notify()
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        try:
            self._work()
        finally:
            self._on_stop()

    def _work(self) -> None:
        while True:
            with self._change:
                while not (self._stopping or self._jobs or self._slot is not None):
                    self._change.wait()
                if self._stopping:
                    break
                work = self._jobs.popleft() if self._jobs else None
                frame = None
                if work is None:
                    frame, self._slot = self._slot, None
            if work is not None:
                _finish(*work)
            elif frame is not None:
                try:
                    self._on_frame(frame)
                except Exception as error:
                    self._on_error(error)


def _finish(job: Callable[[], Any], future: Future[Any]) -> None:
    """Run a job unless its caller gave up; the caller gets its result or exception."""
    if not future.set_running_or_notify_cancel():
        return
    try:
        future.set_result(job())
    except Exception as error:
        future.set_exception(error)
