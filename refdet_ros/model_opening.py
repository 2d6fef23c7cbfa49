"""Opens the model in the background, so that the node answers meanwhile."""

from __future__ import annotations

import time
from concurrent.futures import wait

from refdet_ros.pipeline import Pipeline
from refdet_ros.python_log import PythonLog


class ModelOpening:
    """A pipeline that opens its model in its worker's thread.

    Args:
        log: its newest message shows the progress.
    """

    def __init__(self, pipeline: Pipeline, log: PythonLog) -> None:
        log.newest = ""
        self.pipeline = pipeline
        self._log = log
        self._since_s = time.monotonic()
        self._done = pipeline.open()

    def finished(self, wait_s: float = 0.0) -> bool:
        """Whether it has ended, successfully or not; waits at most ``wait_s`` seconds."""
        return bool(wait([self._done], timeout=wait_s).done)

    def opened(self) -> Pipeline:
        """The ready pipeline, once :meth:`finished`.

        Raises:
            RefdetError: the model or the backend cannot be used.
        """
        self._done.result()
        return self.pipeline

    @property
    def progress(self) -> str:
        """The elapsed time and the present step, in words."""
        newest = self._log.newest
        return "opening the model for {:.0f} s{}".format(
            time.monotonic() - self._since_s, f": {newest}" if newest else ""
        )
