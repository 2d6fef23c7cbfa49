"""TensorRT's messages in Python's log."""

from __future__ import annotations

import logging
from collections import deque
from typing import Any, Callable, Deque

_LOG = logging.getLogger("refdet_core.backends.tensorrt")
_ERRORS_KEPT = 3


def make_log(
    trt: Any,
    warning_level: int = logging.WARNING,
    on_message: Callable[[str], None] = lambda message: None,
) -> Any:
    """A ``trt.ILogger`` that passes messages on and keeps the errors.

    TensorRT's calls return False or None when they fail; only the log says why. The log's method
    ``reason()`` returns that, the newest errors joined, and forgets them.

    Args:
        warning_level: level of TensorRT's warnings in Python's log. Errors go there as debugging
            messages, because the exception repeats them.
        on_message: receives every message as well.
    """

    class Log(trt.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self._errors: Deque[str] = deque(maxlen=_ERRORS_KEPT)
            self._warning = "it gives no reason"

        def log(self, severity: Any, msg: str) -> None:
            level = logging.DEBUG
            if severity in (trt.ILogger.INTERNAL_ERROR, trt.ILogger.ERROR):
                self._errors.append(msg)
            elif severity == trt.ILogger.WARNING:
                self._warning = msg  # TensorRT only warns where there is no GPU
                level = warning_level
            if severity != trt.ILogger.VERBOSE:
                _LOG.log(level, "TensorRT: %s", msg)
            on_message(msg)

        def reason(self) -> str:
            text = " | ".join(self._errors) or self._warning
            self._errors.clear()
            return text

    return Log()
