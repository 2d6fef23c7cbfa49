"""Rewrite requirements/*.txt from requirements/*.in with the newest versions that fit.

Everything that .venv holds is resolved at once, for all supported Pythons, and then shared out,
so that the three files always agree. The documentation has an environment of its own. Run with
`make lock`.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

REQUIREMENTS = Path(__file__).resolve().parent.parent / "requirements"
LAYERS = ["base", "satellite", "training", "test"]
APART = ["docs"]
OLDEST_PYTHON = "3.10"


def resolve(name: str, constraints: str) -> list[str]:
    """The locked lines of one .in file and all it includes, within `constraints`."""
    uv = Path(sys.executable).with_name("uv")
    command = [str(uv), "pip", "compile", "--quiet", "--universal", "--no-annotate", "--no-header"]
    command += ["--python-version", OLDEST_PYTHON, f"{name}.in"]
    if constraints:
        command += ["--constraints", "-"]
    answer = subprocess.run(
        command, cwd=REQUIREMENTS, input=constraints, capture_output=True, text=True, check=False
    )
    if answer.returncode != 0:
        raise SystemExit(answer.stderr)
    return answer.stdout.splitlines()


def write(name: str, lines: list[str]) -> None:
    """Write one locked file."""
    header = f"# Made by `make lock` from {name}.in. Do not edit."
    (REQUIREMENTS / f"{name}.txt").write_text("\n".join([header, *lines]) + "\n")


def main() -> None:
    """Write base.txt, satellite.txt, training.txt, test.txt and docs.txt."""
    for name in APART:
        write(name, resolve(name, ""))
    everything = "\n".join(resolve(LAYERS[-1], ""))
    below: set[str] = set()
    for position, layer in enumerate(LAYERS):
        lines = resolve(layer, everything)
        # A lower layer may say `numpy==2 ; marker` where a higher one needs it
        # without the marker; then both lines stay, and they agree.
        extra = [line for line in lines if line not in below]
        write(layer, ([f"-r {LAYERS[position - 1]}.txt"] if position else []) + extra)
        below.update(lines)


if __name__ == "__main__":
    main()
