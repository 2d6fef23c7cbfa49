"""``python -m benchmarks.console``: cost and delay of the console, measured in one run.

A camera (720p, 15 Hz), the detector that follows one target, and the console are processes of
their own. Goals: the detector pays nothing for a browser; the console's process takes at most 35 %
of a core with one browser, and with five at most 2.5 times that; the delay from a frame's stamp to
its being drawn in a real Chromium is, 95 % of the time, within 150 ms on this machine and within
400 ms over 500 kbit/s; memory grows by less than 5 MB in 30 minutes (``--minutes 30``).
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.console.browsers import Chromium, LightBrowsers
from benchmarks.console.throttle import Throttle
from refdet_core.errors import RefdetError

SIZE, RATE_HZ = (1280, 720), 15.0
RADIO_KBIT = 500.0
GOALS = {
    "console, one browser: % of a core": 35.0,
    "five browsers, times one": 2.5,
    "loopback: p95 ms": 150.0,
    "500 kbit/s: p95 ms": 400.0,
    "memory growth, MB in 30 minutes": 5.0,
}
_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")


def share(cpu_s: Callable[[], float], seconds: float) -> float:
    """Per cent of a core that a process takes during the next seconds."""
    before, started = cpu_s(), time.perf_counter()
    time.sleep(seconds)
    return 100 * (cpu_s() - before) / (time.perf_counter() - started)


class Console:
    """The console's process. Use it as a context manager."""

    def __init__(self, folder: Path) -> None:
        self._log = folder / "console.log"
        command = [sys.executable, "-m", "refdet_ros.console", "--port", "0"]
        with self._log.open("w") as output:
            self._process = subprocess.Popen(
                [*command, "--recordings", str(folder)], stdout=output, stderr=output
            )
        deadline = time.monotonic() + 180
        while not (found := re.search(r"open (\S+)", self._log.read_text())):
            if time.monotonic() > deadline or self._process.poll() is not None:
                raise RefdetError("The console does not start: " + self._log.read_text())
            time.sleep(0.1)
        self.url = found.group(1)
        self.port = int(re.search(r":(\d+)/", self.url).group(1))  # type: ignore[union-attr]

    def cpu_s(self) -> float:
        """Seconds of CPU so far."""
        fields = self._read("stat").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICKS

    def memory_mb(self) -> float:
        """Resident memory."""
        return int(self._read("statm").split()[1]) * _PAGE / 1e6

    def _read(self, name: str) -> str:
        return (Path("/proc") / str(self._process.pid) / name).read_text()

    def __enter__(self) -> Console:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.send_signal(signal.SIGINT)
        self._process.wait(15)


def delays(url: str, seconds: float) -> dict[str, float]:
    """Of a real browser, after the link has settled."""
    with Chromium(url) as browser:
        browser.latencies_ms(min(10.0, seconds))
        times = browser.latencies_ms(seconds)
    if not times.size:
        raise RefdetError("No picture was drawn.")
    p50, p95 = np.percentile(times, (50, 95))
    return {"pictures a second": times.size / seconds, "p50 ms": p50, "p95 ms": p95}


@contextmanager
def running(settings: dict[str, str]) -> Iterator[tuple[Any, Any, Any, Path]]:
    """The detector's process, active, an observer of it, a camera that films for it, and a folder
    for the console."""
    # Before ROS is started: it reads its environment once.
    from refdet_ros.node_process import NodeProcess, prepare_dds

    prepare_dds(random.randint(1, 100))
    from benchmarks.speed.node_probe import Camera, Observer

    observer = Observer()
    camera = None
    try:
        with tempfile.TemporaryDirectory() as name, NodeProcess(settings) as node:
            observer.wait_until(node, "state", "active")
            camera = Camera(SIZE, "raw", RATE_HZ)
            yield node, observer, camera, Path(name)
    finally:
        if camera is not None:
            camera.stop()
        observer.close()


def shares(console: Console, node: Any, seconds: float) -> dict[str, float]:
    """What the console's and the detector's processes take, by the number of browsers."""
    time.sleep(3)
    figures = {"console, no browser: % of a core": share(console.cpu_s, seconds)}
    for count in (1, 5):
        with LightBrowsers(console.url, count):
            time.sleep(8)  # until the pictures have their size
            figures[f"console, {count} browser(s): % of a core"] = share(console.cpu_s, seconds)
            if count == 1:
                figures["detector, one browser: % of a core"] = share(node.cpu_s, seconds)
    return figures


def measure(seconds: float, minutes: float, costs: bool = True) -> dict[str, Any]:
    """Everything, by name; without ``costs`` the delays alone."""
    figures: dict[str, Any] = {"load before": os.getloadavg()[0]}
    with running({"search": "auto"}) as (node, observer, _, folder):
        before = observer.fresh_values(node)
        observer.wait_until(node, "frames received", f">{before['frames received']}")
        observer.set_template(SIZE, in_camera=True)
        if costs:
            figures["detector alone: % of a core"] = share(node.cpu_s, seconds)
        with Console(folder) as console:
            if costs:
                figures.update(shares(console, node, seconds))
            figures["loopback"] = delays(console.url, seconds)
            values = observer.fresh_values(node)
            figures["of it the detector, p95 ms"] = float(values.get("latency p95 (ms)", "nan"))
            with Throttle(console.port, RADIO_KBIT) as radio:
                url = f"http://127.0.0.1:{radio.port}/"
                figures["500 kbit/s"] = delays(url, seconds)
            if minutes:
                with LightBrowsers(console.url, 1):
                    time.sleep(60)
                    start_mb = console.memory_mb()
                    time.sleep(60 * minutes)
                    figures[f"memory growth, MB in {minutes:g} minutes"] = (
                        console.memory_mb() - start_mb
                    )
    figures["load after"] = os.getloadavg()[0]
    return figures


def watch_memory(minutes: float) -> dict[str, Any]:
    """Memory alone, with one light browser and the detector paused.

    Each frame is then passed on at once, at the camera's rate, also on a machine that is busy.
    """
    with (
        running({"enabled": "false"}) as (_, _, camera, folder),
        Console(folder) as console,
        LightBrowsers(console.url, 1),
    ):
        time.sleep(60)
        started, before = time.perf_counter(), camera.sent
        samples_mb = [console.memory_mb()]
        used_s = console.cpu_s()
        while time.perf_counter() - started < 60 * minutes:
            time.sleep(min(60.0, 60 * minutes))
            samples_mb.append(console.memory_mb())
        passed_s = time.perf_counter() - started
        return {
            "minutes": passed_s / 60,
            "camera, Hz": (camera.sent - before) / passed_s,
            "console: % of a core": 100 * (console.cpu_s() - used_s) / passed_s,
            "memory at the start, MB": samples_mb[0],
            "memory at the end, MB": samples_mb[-1],
            "most memory, MB": max(samples_mb),
            "load": os.getloadavg()[0],
        }


def lines(figures: dict[str, Any], prefix: str = "") -> list[str]:
    """One line for each figure."""
    result = []
    for name, value in figures.items():
        if isinstance(value, dict):
            result += lines(value, f"{name}: ")
        else:
            result.append(f"{prefix + name:44s} {value:8.1f}")
    return result


def main(argv: Sequence[str] | None = None) -> int:
    """Run the benchmark; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.console",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--seconds", type=float, default=20.0, help="for each figure")
    parser.add_argument("--delays-only", action="store_true", help="leave out what it costs")
    parser.add_argument("--minutes", type=float, default=0.0, help="of watching memory (30)")
    parser.add_argument(
        "--memory-only", action="store_true", help="watch memory alone, with the detector paused"
    )
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    args = parser.parse_args(argv)
    try:
        if args.memory_only:
            figures = watch_memory(args.minutes or 30.0)
        else:
            figures = measure(args.seconds, args.minutes, costs=not args.delays_only)
    except RefdetError as error:
        print(f"console: {error}", file=sys.stderr)
        return 1
    print("\n".join(lines(figures)))
    print("\ngoals:\n" + "\n".join(lines(GOALS)))
    if args.json:
        args.json.write_text(json.dumps(figures, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
