"""Forwards Python's log of ``refdet_core`` and ``refdet_ros`` to the node's log."""

from __future__ import annotations

import logging
from typing import Any, List, Tuple

SOURCES = ("refdet_core", "refdet_ros")


class PythonLog(logging.Handler):
    """Passes every message of :data:`SOURCES` to a ROS logger, from any thread.

    Args:
        logger: the node's logger; it decides which levels are shown.

    Attributes:
        newest: the last message above debug level; empty before the first.
    """

    def __init__(self, logger: Any) -> None:
        super().__init__()
        self.newest = ""
        self._logger = logger
        self._sources: List[Tuple[logging.Logger, int]] = []
        for name in SOURCES:
            source = logging.getLogger(name)
            self._sources.append((source, source.level))
            source.setLevel(logging.DEBUG)
            source.addHandler(self)

    def close(self) -> None:
        """Stop listening. Closing twice is harmless."""
        while self._sources:
            source, level_before = self._sources.pop()
            source.removeHandler(self)
            source.setLevel(level_before)
        super().close()

    def emit(self, record: logging.LogRecord) -> None:
        try:
            text = self.format(record)
        except Exception:
            self.handleError(record)
            return
        # One source line per level: rclpy refuses a line that changes its level.
        if record.levelno >= logging.ERROR:
            self._logger.error(text)
        elif record.levelno >= logging.WARNING:
            self._logger.warning(text)
        elif record.levelno >= logging.INFO:
            self._logger.info(text)
        else:
            self._logger.debug(text)
            return
        self.newest = record.getMessage()
