"""Packs what a GPU without a network needs, in pieces that can be carried one after the other.

    python -m benchmarks.gpu.pack [--data ../shared/data] [--output runs/gpu/pieces]
        [--piece-mb 60] [--python 3.12] [--no-code] [--no-wheels]

Footage, the repository's files and the wheels of TensorRT-RTX become one archive, cut into pieces.
There, ``python3 unpack.py PIECES TARGET`` checks, joins, unpacks and installs them.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks.gpu import unpack
from benchmarks.gpu.footage import write_footage

ROOT = Path(__file__).resolve().parents[2]
WHEELS = (
    "tensorrt-rtx-cu13-libs==1.7.1.116",
    "tensorrt-rtx-cu13-bindings==1.7.1.116",
    "cuda-bindings==13.5.0",
    "cuda-pathfinder==1.9.1",
)
"""See docs/gpu.md for those that are not available."""
_GLIBC = (39, 35, 34, 31, 28, 27, 24, 17)  # pip matches a platform exactly
_CODE = ("benchmarks", "refdet_core", "refdet_ros/__init__.py", "refdet_ros/demo", "test/gpu")


def pack(output: Path, parts: Path, piece_bytes: int) -> dict[str, int]:
    """Cut an archive of the folder ``parts`` into pieces.

    Returns:
        The size of each piece by name.
    """
    shutil.rmtree(output, ignore_errors=True)
    output.mkdir(parents=True)
    with tempfile.TemporaryFile() as file:
        with tarfile.open(fileobj=file, mode="w") as archive:
            for path in sorted(parts.iterdir()):
                archive.add(path, path.name)
        file.seek(0)
        whole, pieces = hashlib.sha256(), {}
        while content := file.read(piece_bytes):
            name = f"piece-{len(pieces):02d}"
            (output / name).write_bytes(content)
            whole.update(content)
            facts = {"size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
            pieces[name] = facts
    manifest = {"sha256": whole.hexdigest(), "pieces": pieces}
    (output / unpack.MANIFEST).write_text(json.dumps(manifest, indent=1), encoding="utf-8")
    shutil.copyfile(unpack.__file__, output / "unpack.py")
    return {name: int(facts["size"]) for name, facts in pieces.items()}


def copy_code(target: Path) -> None:
    """The tracked files that :mod:`benchmarks.gpu` runs on."""
    command = ["git", "-C", str(ROOT), "ls-files", "-z", *_CODE]
    names = subprocess.run(command, capture_output=True, check=True).stdout.decode().split("\0")
    for name in filter(None, names):
        path = target / name
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, path)


def fetch_wheels(target: Path, python: str, names: Sequence[str] = WHEELS) -> None:
    """Wheels for that Python on x86-64 Linux, whatever this machine is.

    Raises:
        subprocess.CalledProcessError: pip cannot get one of them.
    """
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
    command += ["--only-binary=:all:", "--implementation", "cp", "--python-version", python]
    for minor in _GLIBC:
        command += ["--platform", f"manylinux_2_{minor}_x86_64"]
    subprocess.run([*command, "--dest", str(target), *names], check=True)


def main() -> None:
    """Pack and print the size."""
    parser = argparse.ArgumentParser(description="Packs what benchmarks.gpu needs elsewhere.")
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument(
        "--cache", type=Path, default=Path("demo_output"), help="of the demo's clip"
    )
    parser.add_argument("--output", type=Path, default=Path("runs/gpu/pieces"))
    parser.add_argument("--piece-mb", type=float, default=60, help="MiB, (%(default)s)")
    parser.add_argument("--python", default="3.12", help="there (%(default)s)")
    parser.add_argument("--no-code", action="store_true", help="the repository is there already")
    parser.add_argument("--no-wheels", action="store_true", help="TensorRT is there already")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        parts = Path(scratch)
        footage = write_footage(parts / unpack.FOOTAGE, options.data, options.cache)
        print(f"Footage: {footage.source}")
        if not options.no_code:
            copy_code(parts / unpack.CODE)
        if not options.no_wheels:
            fetch_wheels(parts / unpack.WHEELS, options.python)
        sizes = pack(options.output, parts, int(options.piece_mb * 2**20))
    print(f"{options.output}: {len(sizes)} pieces, {sum(sizes.values()) / 2**20:.0f} MiB")


if __name__ == "__main__":
    main()
