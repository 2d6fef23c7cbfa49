"""``refdet doctor``."""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from typing import Dict, List, Optional, Sequence, Tuple

from refdet_core.doctor.check_process import run_checks
from refdet_core.doctor.machine import ASKED as ASKED_OF_THE_MACHINE
from refdet_core.doctor.machine import gpu_section, machine_section
from refdet_core.doctor.model import backend_section, bundle_section, engine_section
from refdet_core.doctor.packages import ASKED as ASKED_OF_PACKAGES
from refdet_core.doctor.packages import package_section
from refdet_core.doctor.report import Section, as_json, as_text, healthy
from refdet_core.doctor.ros_environment import ros_section

DESCRIPTION = (
    "Print versions, device, model bundles, engines and the ROS environment, and for each problem "
    "what it means and what to do. The exit code is 0 if the node can run here, else 1."
)


def add_doctor_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments that :func:`doctor` reads."""
    # Like those of other commands, but not from detector_arguments.py, whose imports may be what is
    # broken.
    parser.add_argument(
        "--bundle",
        type=Path,
        metavar="NAME",
        help="also check this model bundle (a released one or a folder), and open it",
    )
    parser.add_argument(
        "--backend",
        default="auto",
        metavar="NAME",
        help="the backend to open it with (default: auto)",
    )
    parser.add_argument(
        "--config",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="a setting of the backend, such as engine_folder=DIR (may be repeated)",
    )
    parser.add_argument("--json", action="store_true", help="print JSON")


def doctor(options: argparse.Namespace) -> int:
    """Print the report; returns the exit code."""
    sections = examine(options.backend, options.bundle, options.config)
    if options.json:
        print(json.dumps(as_json(sections), indent=2))
    else:
        print(as_text(sections, coloured=sys.stdout.isatty()))
    return 0 if healthy(sections) else 1


def examine(backend: str, bundle: Optional[Path], settings: Sequence[str]) -> List[Section]:
    """Run all checks.

    Args:
        backend: the backend's name in settings.
        bundle: a bundle besides the released ones; it is opened instead of the
            node's default.
        settings: ``key=value`` for the backend.
    """
    folder, names = _bundles(bundle or Path("auto"), backend)
    checks: Dict[str, Sequence[str]] = {
        name: (name,) for name in (*ASKED_OF_PACKAGES, *ASKED_OF_THE_MACHINE)
    }
    checks["engines"] = ("engines", folder, *settings)
    checks["backend"] = ("backend", backend, folder, *settings)
    if bundle is not None and str(bundle) not in names:
        names.append(folder)
    checks.update((f"bundle {name}", ("bundle", name)) for name in names)
    results = run_checks(checks)
    bundles = {name: results[f"bundle {name}"] for name in names}
    return [
        package_section(results),
        machine_section(),
        gpu_section(results),
        bundle_section(bundles),
        engine_section(results["engines"]),
        backend_section(backend, results["backend"]),
        ros_section(results["numpy"], os.environ),
    ]


def _bundles(bundle: Path, backend: str) -> Tuple[str, List[str]]:
    """Folder of the bundle that the node takes for this setting, and the released ones' names."""
    try:
        # Need packages that may be missing or broken.
        from refdet_core.bundle import released_names
        from refdet_core.search_bundle import search_bundle
    except Exception:  # what is missing is in the report
        return str(bundle.resolve()), ["base"]
    return str(search_bundle(bundle, backend).resolve()), released_names()


def main(arguments: Optional[Sequence[str]] = None) -> int:
    """The command alone, for machines on which the other commands cannot be imported."""
    parser = argparse.ArgumentParser(prog="refdet doctor", description=DESCRIPTION)
    add_doctor_arguments(parser)
    return doctor(parser.parse_args(arguments))
