"""Files beside the engines that save time and nothing else."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Optional

from refdet_core.backends.engines.store import write_whole

_LOG = logging.getLogger(__name__)


class CacheFile:
    """One that cannot be read is as good as none; one that cannot be written costs the next build
    its time.

    Args:
        what: it holds, for people.
        path: None keeps nothing.
        is_stale: what is there is not to be used.
    """

    def __init__(self, what: str, path: Optional[Path], is_stale: bool = False) -> None:
        self._what = what
        self._path = path
        self._is_stale = is_stale

    def read(self) -> bytes:
        """Its content; empty if there is none."""
        if self._path is None or self._is_stale:
            return b""
        try:
            content = self._path.read_bytes()
        except FileNotFoundError:
            return b""
        except OSError as error:
            _LOG.warning("%s in %s cannot be read: %s", self._what, self._path, error)
            return b""
        _LOG.info("%s in %s are used again.", self._what, self._path)
        return content

    def write(self, content: bytes) -> None:
        """Keep it."""
        if self._path is None:
            return
        try:
            write_whole(self._path, content)
        except OSError as error:
            _LOG.warning(
                "%s cannot be kept in %s, the next build takes as long: %s",
                *(self._what, self._path, error),
            )
