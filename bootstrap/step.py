"""The steps of the set-up: each runs once for each state of its inputs. Standard library only."""

from __future__ import annotations

import contextlib
import hashlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NoReturn

ROOT = Path(__file__).resolve().parent.parent
WORK = ROOT / "build" / "bootstrap"
LOG_LINES_SHOWN = 30

# Set by a sourced ROS 2 or another environment with the ROS 2 wheels. The tools that
# work on this environment must not see them.
FOREIGN_VARIABLES = (
    "AMENT_PREFIX_PATH",
    "CMAKE_PREFIX_PATH",
    "COLCON_PREFIX_PATH",
    "LD_LIBRARY_PATH",
    "PYTHONHOME",
    "PYTHONPATH",
    "RMW_IMPLEMENTATION",
    "ROS_DISTRO",
    "ROS_PYTHON_VERSION",
    "ROS_VERSION",
    "VIRTUAL_ENV",
    "_ROS_WHEELS_BOOTSTRAP_COMPLETE",
)


def say(text: str) -> None:
    """Print one line of progress."""
    print(f"set-up: {text}", flush=True)


def fail(text: str) -> NoReturn:
    """Exit with an error message."""
    print(f"set-up: {text}", file=sys.stderr, flush=True)
    raise SystemExit(1)


def environment(**extra: str) -> dict[str, str]:
    """The caller's environment variables, without those of another ROS 2."""
    clean = {k: v for k, v in os.environ.items() if k not in FOREIGN_VARIABLES}
    clean.update(extra)
    return clean


def digest(*inputs: Path | str) -> str:
    """Hash of texts and files, and of all files in folders, with their names."""
    result = hashlib.sha256()
    for item in inputs:
        if isinstance(item, str):
            files: list[Path] = []
            result.update(item.encode() + b"\0")
        else:
            # Changelogs (.rst) do not affect the build.
            inside = (p for p in item.rglob("*") if p.is_file() and p.suffix != ".rst")
            files = sorted(inside) if item.is_dir() else [item]
        for file in files:
            result.update(f"{file.relative_to(ROOT)}\0".encode())
            result.update(file.read_bytes() + b"\0")
    return result.hexdigest()


class Step:
    """A step that runs once for each state of its inputs.

    Args:
        key: hash of the inputs.
        state: folder for its stamp, which holds the key of the last success.
    """

    def __init__(self, name: str, key: str, state: Path) -> None:
        self.name = name
        self.key = key
        self.stamp = state / f"{name}.stamp"
        self.log = WORK / f"{name}.log"

    def done(self) -> bool:
        """Whether it has succeeded with these inputs."""
        return self.stamp.is_file() and self.stamp.read_text() == self.key

    @contextlib.contextmanager
    def running(self, announcement: str) -> Iterator[None]:
        """Announce the step; write its stamp if the body succeeds."""
        say(announcement)
        started = time.monotonic()
        self.stamp.unlink(missing_ok=True)
        WORK.mkdir(parents=True, exist_ok=True)
        self.log.unlink(missing_ok=True)
        yield
        self.stamp.parent.mkdir(parents=True, exist_ok=True)
        self.stamp.write_text(self.key)
        say(f"  done in {time.monotonic() - started:.0f} s")

    def call(self, command: Sequence[str | Path], env: dict[str, str] | None = None) -> None:
        """Run a command, with its output in the step's log. If it fails, the set-up ends."""
        with self.log.open("a") as log:
            print("$", *command, file=log, flush=True)
            code = subprocess.call(
                [str(word) for word in command],
                cwd=ROOT,
                env=env or environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        if code != 0:
            lines = self.log.read_text(errors="replace").splitlines()
            print("\n".join(lines[-LOG_LINES_SHOWN:]), file=sys.stderr)
            fail(
                f"step '{self.name}' failed (exit status {code}). "
                f"Above: the end of its log, {self.log.relative_to(ROOT)}"
            )
