"""Runs checks in separate processes.

Importing a package can fail in any way: it is missing, its libraries do not fit, it prints, hangs,
or kills the process. So every check of :mod:`refdet_core.doctor.checks` runs in a new interpreter,
and any outcome is a result.
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
class CheckResult:
    """The result of a check.

    Attributes:
        facts: its findings; empty if it failed.
        error: why it failed, else empty.
        missing: it failed because the package is not installed.
    """

    facts: Dict[str, Any] = field(default_factory=dict)
    error: str = ""
    missing: bool = False


def run_check(
    name: str, arguments: Sequence[str] = (), timeout_s: float = TIMEOUT_S
) -> CheckResult:
    """Run one check by its function's name."""
    # -P is newer than Python 3.8. The root goes first, so that a file in the working folder cannot
    # shadow a package.
    path = os.pathsep.join([str(_ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    try:
        result = subprocess.run(
            [sys.executable, "-m", "refdet_core.doctor.checks", name, *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=timeout_s,
            cwd=str(_ROOT),
            env={**os.environ, "PYTHONPATH": path},
            check=False,
        )
    except subprocess.TimeoutExpired:
        return CheckResult(error=f"no answer within {timeout_s:.0f} s")
    except OSError as error:
        return CheckResult(error=f"{sys.executable} cannot be started: {error}")
    if result.returncode < 0:
        return CheckResult(
            error=f"it ended the process ({signal.Signals(-result.returncode).name})"
        )
    if result.returncode == 0:
        # Packages may print during import, before the result.
        with contextlib.suppress(IndexError, ValueError, TypeError):
            return CheckResult(
                **json.loads(result.stdout.decode(errors="replace").splitlines()[-1])
            )
    lines = result.stderr.decode(errors="replace").splitlines()
    reason = next((line.strip() for line in reversed(lines) if line.strip()), "no answer")
    return CheckResult(error=f"{reason} (exit status {result.returncode})")


def run_checks(checks: Mapping[str, Sequence[str]]) -> Dict[str, CheckResult]:
    """Run several checks, some in parallel.

    Args:
        checks: by any key the name of a check and its arguments.
    """
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        running = {
            key: pool.submit(run_check, words[0], words[1:]) for key, words in checks.items()
        }
        return {key: future.result() for key, future in running.items()}
