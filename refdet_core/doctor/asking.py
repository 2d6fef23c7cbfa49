"""Questions that are answered in a process of their own.

Importing a package can fail in any way: it is missing, its libraries do not fit, it prints, hangs,
or kills the process. So every question of :mod:`refdet_core.doctor.questions` is asked in a new
interpreter, and whatever becomes of that is an answer.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Dict, Mapping, Sequence

TIMEOUT_S = 90.0
_AT_ONCE = 4
_ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Answer:
    """What became of a question.

    Attributes:
        facts: what it found out; empty if it failed.
        error: why it failed, else empty.
        missing: it failed because that package is not installed.
    """

    facts: Dict[str, Any] = field(default_factory=dict)
    error: str = ""
    missing: bool = False


def ask(name: str, arguments: Sequence[str] = (), timeout_s: float = TIMEOUT_S) -> Answer:
    """Ask one of the questions by its function's name."""
    # -P is newer than Python 3.8; the root goes first so that a file in the working folder that
    # is called like a package is not taken for it.
    path = os.pathsep.join([str(_ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    try:
        answer = subprocess.run(
            [sys.executable, "-m", "refdet_core.doctor.questions", name, *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=timeout_s,
            cwd=str(_ROOT),
            env={**os.environ, "PYTHONPATH": path},
            check=False,
        )
    except subprocess.TimeoutExpired:
        return Answer(error=f"no answer within {timeout_s:.0f} s")
    except OSError as error:
        return Answer(error=f"{sys.executable} cannot be started: {error}")
    if answer.returncode < 0:
        return Answer(error=f"it ended the process ({signal.Signals(-answer.returncode).name})")
    if answer.returncode == 0:
        # What a package prints while it is imported comes before.
        with contextlib.suppress(IndexError, ValueError, TypeError):
            return Answer(**json.loads(answer.stdout.decode(errors="replace").splitlines()[-1]))
    lines = answer.stderr.decode(errors="replace").splitlines()
    reason = next((line.strip() for line in reversed(lines) if line.strip()), "no answer")
    return Answer(error=f"{reason} (exit status {answer.returncode})")


def ask_all(questions: Mapping[str, Sequence[str]]) -> Dict[str, Answer]:
    """Ask several, some at a time.

    Args:
        questions: under any key the words of one: its name, then its arguments.
    """
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        running = {key: pool.submit(ask, words[0], words[1:]) for key, words in questions.items()}
        return {key: future.result() for key, future in running.items()}
