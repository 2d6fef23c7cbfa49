"""Starts ``refdet`` even if packages are missing, so that ``refdet doctor`` always runs."""

from __future__ import annotations

import sys


def main() -> int:
    """Run the command; returns the exit code."""
    if sys.argv[1:2] == ["doctor"]:
        from refdet_core.doctor.command import main as doctor

        return doctor(sys.argv[2:])
    try:
        from refdet_core.cli import main as command
    except ImportError as error:
        print(f"refdet: {error}; `refdet doctor` says what to install.", file=sys.stderr)
        return 1
    return command()


if __name__ == "__main__":
    sys.exit(main())
