"""Files beside the engines that only save time."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Optional

from refdet_core.backends.engines.store import write_whole

_LOG = logging.getLogger(__name__)


class CacheFile:
    """If it cannot be read or written, the next build only takes longer.

    Args:
        what: its content, for messages.
        path: the file; None: nothing is kept.
        is_stale: ignore the present content.
    """

    def __init__(self, what: str, path: Optional[Path], is_stale: bool = False) -> None:
        self._what = what
        self._path = path
        self._is_stale = is_stale

    def read(self) -> bytes:
        """The content; empty if there is none."""
        if self._path is None or self._is_stale:
            return b""
        try:
            content = self._path.read_bytes()
        except FileNotFoundError:
            return b""
        except OSError as error:
            _LOG.warning("%s in %s cannot be read: %s", self._what, self._path, error)
            return b""
        _LOG.info("%s in %s are reused.", self._what, self._path)
        return content

    def write(self, content: bytes) -> None:
        """Keep it."""
        if self._path is None:
            return
        try:
            write_whole(self._path, content)
        except OSError as error:
            _LOG.warning(
                "%s cannot be stored in %s, the next build takes as long: %s",
                *(self._what, self._path, error),
            )
