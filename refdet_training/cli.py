"""The ``refdet-train`` command: from annotated video to a released bundle."""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Sequence

from refdet_core.command_line import run_command

COMMANDS = {
    "label": "label video that has no boxes, where two published trackers agree",
    "prepare": "turn labelled videos or photos into an indexed data set",
    "distil": "teach a small backbone what published networks see, without any boxes",
    "fit": "train, from a recipe (--config FILE) and any of its settings as --key value",
    "export": "write a bundle from a checkpoint, or check one for TensorRT 8.4",
    "import": "write a bundle of a published tracker",
    "join": "write a bundle whose network is the mean of several published ones",
    "publish": "fit a bundle's calibration and threshold, measure it, and store the results in it",
    "evaluate": "measure a bundle with the detection and the tracking protocol, and write a report",
    "cross-validate": "train and measure a recipe fold by fold, on places it has not seen",
}
"""What each command does. Its options are in the module of its name in ``commands``."""


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
    wanted = next((word for word in given if not word.startswith("-")), None)
    for name, text in COMMANDS.items():
        command = commands.add_parser(
            name, help=text, formatter_class=argparse.RawDescriptionHelpFormatter
        )
        if name != wanted:
            continue  # its module may import a trainer, which takes seconds
        module = importlib.import_module(f"refdet_training.commands.{name.replace('-', '_')}")
        command.description = (module.__doc__ or "").replace("``", "")
        module.add_arguments(command)
        command.set_defaults(run=module.run)
    return parser


if __name__ == "__main__":
    sys.exit(main())
