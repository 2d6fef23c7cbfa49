"""Signs of life from an engine build, which takes minutes."""

from __future__ import annotations

import logging
import threading
import time
from types import TracebackType
from typing import Optional, Type

_LOG = logging.getLogger(__name__)

PERIOD_S = 10.0
"""At least one line in this time."""


class Progress:
    """While it is entered, a thread says every ten seconds what is going on and for how long.

    TensorRT lets other Python threads run while it builds.

    Args:
        task: what takes so long, as in "Building the engine".
    """

    def __init__(self, task: str, period_s: float = PERIOD_S) -> None:
        self._task = task
        self._period_s = period_s
        self._phase = "starting"
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._talk, name="progress", daemon=True)
        self._since_s = time.monotonic()

    def phase(self, text: str) -> None:
        """What is going on from now on. May be called from any thread, as often as you like."""
        self._phase = text

    @property
    def elapsed_s(self) -> float:
        """Seconds since this was made."""
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
