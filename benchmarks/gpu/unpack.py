"""Joins the pieces of :mod:`benchmarks.gpu.pack` and unpacks them.

    python3 unpack.py PIECES TARGET

Needs Python alone: a copy of this file travels beside the pieces. Every piece and the whole are
checked first; what is missing or damaged is named, and nothing is unpacked.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import subprocess
import sys
import tarfile
from pathlib import Path

MANIFEST = "manifest.json"
SITE, WHEELS, CODE, FOOTAGE = "site", "wheels", "code", "footage"


def unpack(pieces: Path, target: Path) -> list[str]:
    """Unpack everything to ``target`` and install the wheels to ``target/site``.

    Returns:
        The names of what was unpacked.

    Raises:
        ValueError: a piece is missing or damaged; the message lists all of them.
    """
    manifest = json.loads((pieces / MANIFEST).read_text(encoding="utf-8"))
    whole, problems = io.BytesIO(), []
    for name, facts in manifest["pieces"].items():
        path = pieces / name
        if not path.is_file():
            problems.append(f"{name} is missing")
            continue
        content = path.read_bytes()
        if len(content) != facts["size"] or _sha256(content) != facts["sha256"]:
            problems.append(f"{name} is damaged")
        whole.write(content)
    if problems:
        raise ValueError("; ".join(problems) + ". Carry these pieces again.")
    if _sha256(whole.getvalue()) != manifest["sha256"]:
        raise ValueError("The pieces are not of one archive. Carry all of them again.")
    whole.seek(0)
    with tarfile.open(fileobj=whole) as archive:
        archive.extractall(target, filter="data")
    wheels = sorted((target / WHEELS).glob("*.whl"))
    if wheels:
        _install(wheels, target / SITE)
    return sorted(path.name for path in target.iterdir())


def _install(wheels: list[Path], site: Path) -> None:
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps"]
    command += ["--no-compile", "--no-cache-dir", "--upgrade", "--target", str(site)]
    subprocess.run([*command, *map(str, wheels)], check=True)


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def main() -> None:
    """Unpack and print the command to run."""
    parser = argparse.ArgumentParser(description="Unpacks the pieces for benchmarks.gpu.")
    parser.add_argument("pieces", type=Path)
    parser.add_argument("target", type=Path)
    options = parser.parse_args()
    try:
        names = unpack(options.pieces, options.target)
    except (OSError, ValueError, KeyError, tarfile.TarError) as error:
        sys.exit(f"{options.pieces} cannot be unpacked: {error}")
    print(f"{options.target}: {', '.join(names)}")
    code = f"cd {options.target / CODE} && " if CODE in names else ""
    print(
        f"{code}PYTHONPATH={options.target / SITE} python3 -m benchmarks.gpu --footage "
        f"{options.target / FOOTAGE}"
    )


if __name__ == "__main__":
    main()
