"""Pin the newest versions that fit together: requirements/*.in to requirements/*.txt.

All packages of .venv are resolved together, for all supported Pythons, so that the files agree
with each other. The documentation has its own environment and is resolved separately. Run by
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
    """The pinned lines of an .in file and of the files it includes, within `constraints`."""
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
    """Write one file of pinned versions."""
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
        # A lower layer may pin a package with a marker (numpy==2 ; python_version…) and a higher
        # one without. Both lines stay; the versions are the same.
        extra = [line for line in lines if line not in below]
        write(layer, ([f"-r {LAYERS[position - 1]}.txt"] if position else []) + extra)
        below.update(lines)


if __name__ == "__main__":
    main()
