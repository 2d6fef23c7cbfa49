"""The detector node as a process of its own, always cleaned up."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import IO, Mapping, Sequence

from refdet_core.errors import RefdetError

_PROFILE = Path("config") / "fastdds_shm.xml"
_LOG_TAIL = 15


def prepare_dds(domain_id: int) -> None:
    """Let this process and its children use a domain of their own and shared memory for images.

    Must run before ROS is started: the middleware reads these variables once.

    Raises:
        RefdetError: the Fast DDS profile is not installed.
    """
    profile = str(_find_profile())
    os.environ["ROS_DOMAIN_ID"] = str(domain_id)
    # Humble and Jazzy read the first, Kilted the second.
    os.environ["FASTRTPS_DEFAULT_PROFILES_FILE"] = profile
    os.environ["FASTDDS_DEFAULT_PROFILES_FILE"] = profile


class NodeProcess:
    """The node ``detector`` in its own process. Use it as a context manager.

    Args:
        parameters: by name, as ``-p`` arguments take them.
        log: file for everything the node prints; None: this process's own output.
        ros_arguments: more arguments after ``--ros-args``.
    """

    def __init__(
        self,
        parameters: Mapping[str, str],
        log: Path | None = None,
        ros_arguments: Sequence[str] = (),
    ) -> None:
        self.log = log
        self._parameters = parameters
        self._ros_arguments = ros_arguments
        self._process: subprocess.Popen[bytes] | None = None
        self._output: IO[bytes] | None = None

    def __enter__(self) -> NodeProcess:
        command = [sys.executable, "-m", "refdet_ros", "--ros-args", *self._ros_arguments]
        for name, value in self._parameters.items():
            command += ["-p", "{}:={}".format(name, value or '""')]
        self._output = self.log.open("wb") if self.log is not None else None
        try:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=self._output,
                stderr=subprocess.STDOUT if self._output is not None else None,
                # Ctrl-C reaches only the parent, which stops the node in order.
                start_new_session=True,
            )
        except OSError as error:
            self._close_log()
            raise RefdetError(f"The detector node cannot be started: {error}.") from error
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def check(self) -> None:
        """Raise a RefdetError with the end of the log if the node has ended by itself."""
        if self._process is not None and self._process.poll() is not None:
            where = "its messages are above." if self.log is None else f"the end of {self.log}:\n"
            raise RefdetError(
                f"The detector node ended with code {self._process.returncode}; "
                f"{where}{self.log_tail()}"
            )

    def cpu_s(self) -> float:
        """Processor time that the running node has used, all threads, in seconds."""
        assert self._process is not None, "the node is not running"
        text = Path(f"/proc/{self._process.pid}/stat").read_text(encoding="utf-8")
        fields = text.rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def log_tail(self) -> str:
        """The last lines in the log; empty without a log."""
        if self.log is None:
            return ""
        lines = self.log.read_text(encoding="utf-8", errors="replace").splitlines()
        return "\n".join("  " + line for line in lines[-_LOG_TAIL:])

    def stop(self) -> None:
        """End the node by SIGINT, then SIGTERM, then SIGKILL. Stopping twice is harmless."""
        process, self._process = self._process, None
        if process is not None:
            for number, patience_s in (
                (signal.SIGINT, 5.0),
                (signal.SIGTERM, 3.0),
                (signal.SIGKILL, 3.0),
            ):
                if process.poll() is not None:
                    break
                process.send_signal(number)
                try:
                    process.wait(patience_s)
                except subprocess.TimeoutExpired:
                    continue
        self._close_log()

    def _close_log(self) -> None:
        if self._output is not None:
            self._output.close()
            self._output = None


def _find_profile() -> Path:
    """In the source tree, else where the package is installed."""
    beside = Path(__file__).resolve().parents[1] / _PROFILE
    if beside.is_file():
        return beside
    try:
        from ament_index_python.packages import get_package_share_directory

        installed = Path(get_package_share_directory("refdet_ros")) / _PROFILE
    except (ImportError, LookupError, ValueError):
        installed = beside
    if not installed.is_file():
        raise RefdetError(
            f"'{installed}' is missing; run this in a complete clone, or install refdet_ros."
        )
    return installed
