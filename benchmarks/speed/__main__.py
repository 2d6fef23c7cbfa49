"""Measures the speed of refdet, side by side in one run.

    python -m benchmarks.speed [--only NAME ...] [--bundle DIR] [--backend onnxruntime]
        [--rounds 20] [--data ../shared/data] [--output runs/benchmark]

Ratios within a run mean more than milliseconds: all cases of a section take turns, so that a noisy
machine disturbs all equally, and medians are shown. results.json, table.md and benchmark.png are
written to the output folder after every section. A section that lacks something (a GPU, TensorRT,
ROS, weights) is a line with the reason.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from benchmarks.speed import (
    backends,
    cold_start,
    cpu_settings,
    end_to_end,
    int8,
    node,
    peers,
    roofline,
    scaling,
    stages,
)
from benchmarks.speed.machine import describe
from benchmarks.speed.report import Report, section_markdown, table, write_report
from benchmarks.speed.section import Section, skipped
from benchmarks.speed.settings import Settings
from refdet_core.backends import BACKEND_NAMES
from refdet_core.errors import RefdetError

SECTIONS: dict[str, Callable[[Settings], Section]] = {
    "end-to-end": end_to_end.measure,
    "stages": stages.measure,
    "roofline": roofline.measure,
    "backends": backends.measure,
    "templates": scaling.templates,
    "frame-sizes": scaling.frame_sizes,
    "tiles": scaling.tiles,
    "cpu-settings": cpu_settings.measure,
    "int8": int8.measure,
    "cold-start": cold_start.cold_start,
    "memory": cold_start.memory,
    "peers": peers.measure,
    "node": node.measure,
}


def run(settings: Settings, names: list[str], folder: Path) -> list[str]:
    """Measure the sections, print and write each one; returns the failed ones."""
    machine = describe()
    print(table(("machine", ""), list(machine.items())))
    found: dict[str, Section] = {}
    failed: list[str] = []
    no_picture = ""
    for name in names:
        started = time.monotonic()
        try:
            section = SECTIONS[name](settings)
        except RefdetError as error:
            section = skipped(name, str(error))
        except Exception as error:  # earlier and later sections are kept
            section = skipped(name, f"it failed with {type(error).__name__}: {error}")
            failed.append(name)
        found[name] = section
        print(f"\n{section_markdown(section)}\n({time.monotonic() - started:.0f} s)", flush=True)
        write_report(Report(machine, settings, found), folder)
        no_picture = draw(found, folder)
    print(f"\nresults.json, table.md and benchmark.png are in {folder}. {no_picture}".rstrip())
    return failed


def draw(sections: Mapping[str, Section], folder: Path) -> str:
    """Write ``benchmark.png``; returns the reason if matplotlib is missing."""
    try:
        from benchmarks.speed.plots import write_plot
    except ImportError as error:
        return f"There is no picture ({error}); 'make setup-test' brings what draws it."
    write_plot(sections, folder / "benchmark.png")
    return ""


def arguments() -> argparse.ArgumentParser:
    """The command line."""
    defaults = Settings()
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.speed", description="How fast refdet is, in ratios of one run."
    )
    parser.add_argument(
        "--only", nargs="+", default=list(SECTIONS), choices=SECTIONS, metavar="NAME"
    )
    parser.add_argument("--bundle", type=Path, help="the model (default: the released one)")
    parser.add_argument(
        "--backend", default=defaults.backend, choices=BACKEND_NAMES[1:],
        help="of what does not compare backends (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--threads", type=int, default=defaults.threads, help="of the CPU (0: one for each core)"
    )
    parser.add_argument("--rounds", type=int, default=defaults.rounds, help="(%(default)s)")
    parser.add_argument(
        "--budget", type=float, default=defaults.budget_s, metavar="S",
        help="a comparison ends early after this time (%(default)g s)",
    )  # fmt: skip
    parser.add_argument(
        "--node-seconds", type=float, default=defaults.node_seconds, metavar="S",
        help="of steady flow at each rate (%(default)g)",
    )  # fmt: skip
    parser.add_argument("--data", type=Path, default=defaults.data, help="videos and weights")
    parser.add_argument(
        "--output", type=Path, default=Path("runs/benchmark"), help="folder (%(default)s)"
    )
    parser.epilog = "sections: " + ", ".join(SECTIONS)
    return parser


def main() -> None:
    """Measure, print, write."""
    options = arguments().parse_args()
    settings = Settings(
        options.bundle,
        options.backend,
        options.threads,
        options.rounds,
        options.budget,
        options.node_seconds,
        options.data,
    )
    failed = run(settings, options.only, options.output)
    if failed:
        sys.exit("Failed: " + ", ".join(failed))


if __name__ == "__main__":
    main()
