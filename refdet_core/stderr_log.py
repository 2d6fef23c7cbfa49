"""Reports slow steps on the terminal while they run."""

from __future__ import annotations

import logging
import sys
from contextlib import contextmanager
from typing import Iterator


@contextmanager
def log_to_stderr() -> Iterator[None]:
    """Show what ``refdet_core`` logs inside the ``with`` block: an engine build takes minutes."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("refdet: %(message)s"))
    log = logging.getLogger("refdet_core")
    before = log.level, log.propagate
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    log.propagate = False  # else the root logger may show it again
    try:
        yield
    finally:
        log.setLevel(before[0])
        log.propagate = before[1]
        log.removeHandler(handler)
