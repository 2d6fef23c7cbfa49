"""One thread that does the heavy work, and the slot that holds the newest frame for it.

A camera at 30 Hz and a network that takes 80 ms need no queue: a queue only makes results
old. The subscription puts each frame into a slot of one, and the worker takes what is there.
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
    """The worker did not get a job done in time, or is not running."""


class Worker(Generic[Frame]):
    """Runs jobs and frames one after the other, jobs first.

    Args:
        on_frame: what to do with a frame; called in the worker's thread.
        on_error: told about every exception of ``on_frame``, in the worker's thread.
        on_stop: the last thing the worker's thread does, whatever ends it.
        keep_waiting: asked while :meth:`call` waits; False ends the waiting (shutdown).
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
        # A daemon: a backend that hangs must not keep the process alive after shutdown.
        self._thread = threading.Thread(target=self._run, name="refdet_worker", daemon=True)
        self._thread.start()

    def offer(self, frame: Frame) -> bool:
        """Put the newest frame into the slot; True if it replaced one that nobody had taken."""
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
        """Have a job run in the worker's thread, before the next frame, without waiting for it.

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
        """Run a job in the worker's thread, before the next frame, and return what it returns.

        Raises:
            WorkerBusyError: it was not done within ``timeout_s`` seconds. A job that had not
                begun is dropped.
            Exception: whatever the job raised.
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
        """End the thread after what it does now; False if that takes over ``timeout_s``."""
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
    """Run a job unless its caller gave up; its result or exception goes to the caller."""
    if not future.set_running_or_notify_cancel():
        return
    try:
        future.set_result(job())
    except Exception as error:
        future.set_exception(error)
