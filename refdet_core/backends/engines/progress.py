"""Progress messages of an engine build, which takes minutes."""

from __future__ import annotations

import logging
import threading
import time
from types import TracebackType
from typing import Optional, Type

_LOG = logging.getLogger(__name__)

PERIOD_S = 10.0
"""Time between two messages."""


class Progress:
    """Inside its ``with`` block, a thread logs the current phase and the elapsed time every ten
    seconds.

    TensorRT lets other Python threads run while it builds.

    Args:
        task: the slow task, for example "Building the engine".
    """

    def __init__(self, task: str, period_s: float = PERIOD_S) -> None:
        self._task = task
        self._period_s = period_s
        self._phase = "starting"
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._talk, name="progress", daemon=True)
        self._since_s = time.monotonic()

    def phase(self, text: str) -> None:
        """Set the current phase. Any thread may call it, as often as needed."""
        self._phase = text

    @property
    def elapsed_s(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self._since_s

    def __enter__(self) -> Progress:
        self._since_s = time.monotonic()
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: Optional[Type[BaseException]],
        error: Optional[BaseException],
        traceback: Optional[TracebackType],
    ) -> None:
        self._ended.set()
        self._thread.join()

    def _talk(self) -> None:
        while not self._ended.wait(self._period_s):
            _LOG.info("%s: %.0f s, %s", self._task, self.elapsed_s, self._phase)
