"""Measures everything on a GPU in one run of under eight minutes, without ROS.

    python -m benchmarks.gpu [--dry-run] [--only STEP ...] [--footage DIR] [--output runs/gpu]

results.json and table.md are written to the output folder after every step. A step that cannot run
here gives the reason; one that fails leaves its exception in the report, and the others continue.
``--dry-run`` imports and checks everything that is needed and runs what needs no GPU.
"""

from __future__ import annotations

import argparse
import logging
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.gpu import (
    crop_kernel,
    detections,
    dry_run,
    engine_trials,
    engines,
    jetson_roofline,
    needs,
    rtx_targets,
    torch_cuda,
)
from benchmarks.gpu.settings import BUNDLES, Settings
from benchmarks.speed.machine import describe
from benchmarks.speed.report import Report, section_markdown, table, write_report
from benchmarks.speed.section import Section, skipped
from refdet_core.errors import RefdetError


@dataclass(frozen=True)
class Step:
    """One part of the run.

    Attributes:
        title: its heading.
        measure: runs it.
        obstacle: the reason why it cannot run here; empty if it can.
        check: what a dry run shows instead.
    """

    title: str
    measure: Callable[[Settings], list[Section]]
    obstacle: Callable[[], str]
    check: Callable[[Settings], list[Section]] = lambda settings: []


STEPS: dict[str, Step] = {
    "roofline": Step("The Jetsons' limits", jetson_roofline.measure, needs.nothing),
    "crops": Step("Crops cut on the GPU", crop_kernel.measure, needs.cuda_package, dry_run.kernels),
    "rtx": Step("TensorRT-RTX", rtx_targets.measure, needs.nothing),
    "torch": Step("PyTorch on CUDA", torch_cuda.measure, needs.torch_on_cuda),
    "tensorrt": Step("TensorRT engines", engines.measure, needs.tensorrt, dry_run.parser),
    "detections": Step("Detections in lower precision", detections.measure, needs.any_gpu),
    "trials": Step("TensorRT's trials", engine_trials.measure, needs.tensorrt),
}


def run(settings: Settings, names: list[str], folder: Path) -> list[str]:
    """Run the steps, print and write each one; returns the failed ones."""
    machine = describe()
    print(table(("machine", ""), list(machine.items())), flush=True)
    found: dict[str, Section] = {}
    failed: list[str] = []
    if settings.dry_run:
        here = dry_run.carried(settings)
        _add(found, "here", here)
        print("\n" + section_markdown(here[0]), flush=True)
    for name in names:
        step, began = STEPS[name], time.monotonic()
        try:
            sections = _sections(step, settings)
        except Exception as error:  # earlier and later steps are kept
            reason = f"{type(error).__name__}: {error}"
            numbers = {"traceback": traceback.format_exc()}
            notes = (f"Not measured: it failed with {reason}",)
            sections = [Section(step.title, notes=notes, numbers=numbers)]
            failed.append(name)
        _add(found, name, sections)
        print(f"\n({name}: {time.monotonic() - began:.0f} s)\n", flush=True)
        for section in sections:
            print(section_markdown(section), flush=True)
        write_report(Report(machine, settings, found, "GPU"), folder)
    print(f"\nresults.json and table.md are in {folder}.")
    return failed


def _sections(step: Step, settings: Settings) -> list[Section]:
    try:
        obstacle = step.obstacle()
        if obstacle:
            checked = step.check(settings) if settings.dry_run else []
            return [*checked, skipped(step.title, obstacle)]
        if settings.left_s <= 0:
            return [skipped(step.title, "there was no time left.")]
        return step.measure(settings)
    except RefdetError as error:
        return [skipped(step.title, str(error))]


def _add(found: dict[str, Section], name: str, sections: list[Section]) -> None:
    for number, section in enumerate(sections):
        found[name if len(sections) == 1 else f"{name}-{number + 1}"] = section


def arguments() -> argparse.ArgumentParser:
    """The command line."""
    defaults = Settings()
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.gpu", description="Measure an NVIDIA GPU in one run."
    )
    parser.add_argument("--dry-run", action="store_true", help="check what is needed, no GPU")
    parser.add_argument("--only", nargs="+", default=list(STEPS), choices=STEPS, metavar="STEP")
    parser.add_argument("--bundles", nargs="+", default=list(BUNDLES), help="(%(default)s)")
    parser.add_argument("--footage", type=Path, default=defaults.footage, help="(%(default)s)")
    parser.add_argument("--rounds", type=int, default=defaults.rounds, help="(%(default)s)")
    parser.add_argument(
        "--budget", type=float, default=defaults.budget_s, metavar="S",
        help="no case starts after this time (%(default)g s)",
    )  # fmt: skip
    parser.add_argument("--output", type=Path, default=Path("runs/gpu"), help="(%(default)s)")
    parser.epilog = "steps: " + ", ".join(STEPS)
    return parser


def main() -> None:
    """Measure, print, write."""
    options = arguments().parse_args()
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    settings = Settings(
        options.footage,
        options.output / "work",
        options.budget,
        options.rounds,
        tuple(options.bundles),
        dry_run=options.dry_run,
    )
    failed = run(settings, options.only, options.output)
    if failed:
        sys.exit("Failed: " + ", ".join(failed))


if __name__ == "__main__":
    main()
