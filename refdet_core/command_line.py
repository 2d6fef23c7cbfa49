"""What the commands share: their parser, and how they end."""

from __future__ import annotations

import argparse
import re
import signal
import sys
from typing import Callable, List, Optional, Sequence

from refdet_core.errors import RefdetError

NUMBER_LISTS = ("--roi", "--init", "--contrast")
"""Options whose value may begin with a negative number."""


def parser_with_examples(prog: str, description: str, examples: str) -> argparse.ArgumentParser:
    """A parser whose help ends with ``examples``, line breaks kept."""
    return argparse.ArgumentParser(
        prog=prog,
        description=description,
        epilog=examples,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def join_negative_values(arguments: Sequence[str]) -> List[str]:
    """Command-line arguments with ``--roi -5,10,20,20`` as ``--roi=-5,10,20,20``.

    argparse takes a separate value that begins with a minus for an option.
    """
    joined: List[str] = []
    for argument in arguments:
        if joined and joined[-1] in NUMBER_LISTS and re.match(r"-[\d.]", argument):
            joined[-1] += "=" + argument
        else:
            joined.append(argument)
    return joined


def run_command(
    name: str,
    run: Callable[[], Optional[int]],
    error_code: int = 1,
    when_stopped: str = "stopped.",
) -> int:
    """Run a command and return its exit code; None from ``run`` is 0.

    A :class:`~refdet_core.errors.RefdetError` is printed as one line on stderr and gives
    ``error_code``; Ctrl-C prints ``when_stopped`` and gives 130.
    """
    try:
        return run() or 0
    except RefdetError as error:
        print(f"{name}: {error}", file=sys.stderr)
        return error_code
    except KeyboardInterrupt:
        print(f"{name}: {when_stopped}", file=sys.stderr)
        return 130


def stop_on_sigterm() -> None:
    """Let SIGTERM end this program as Ctrl-C does, so that it cleans up."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
