"""What takes long, told on the terminal while it happens."""

from __future__ import annotations

import logging
import sys
from contextlib import contextmanager
from typing import Iterator


@contextmanager
def told_on_stderr() -> Iterator[None]:
    """Within it, what ``refdet_core`` logs is shown: an engine build takes minutes."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("refdet: %(message)s"))
    log = logging.getLogger("refdet_core")
    level_before = log.level
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    try:
        yield
    finally:
        log.setLevel(level_before)
        log.removeHandler(handler)
