"""The ``refdet-train`` command: from annotated video to a released bundle.

refdet-train prepare   other people's formats to one indexed data set
refdet-train fit       train
refdet-train export    checkpoint to bundle
refdet-train import    a published tracker to bundle
refdet-train join      several bundles to one whose networks answer together
refdet-train publish   fit calibration and threshold, store scores in the bundle
refdet-train evaluate  measure a bundle, write a report
refdet-train cross-validate  train and measure fold by fold, on places never seen
"""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Sequence

from refdet_core.command_line import run_command

COMMANDS = ("prepare", "fit", "export", "import", "join", "publish", "evaluate", "cross-validate")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code (2: the input cannot be used)."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    options = _parser(given).parse_args(given)
    return run_command("refdet-train", lambda: options.run(options), error_code=2)


def _parser(given: Sequence[str]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="refdet-train", description="From annotated video to a model bundle."
    )
    commands = parser.add_subparsers(dest="command", required=True)
    # Importing the trainer takes seconds, so only the requested command is imported.
    wanted = [name for name in COMMANDS if given and name == given[0]] or COMMANDS
    for name in wanted:
        module = importlib.import_module(f"refdet_training.commands.{name.replace('-', '_')}")
        command = commands.add_parser(
            name,
            help=module.HELP,
            description=module.__doc__,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        module.add_arguments(command)
        command.set_defaults(run=module.run)
    return parser


if __name__ == "__main__":
    sys.exit(main())
