"""The demo's footage: `vtest.avi` from the Debian/Ubuntu package `opencv-doc`, without root."""

from __future__ import annotations

import gzip
import hashlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import List, Optional

from refdet_core.errors import SourceError

PACKAGE = "opencv-doc"
CLIP = "vtest.avi"
CLIP_SIZE = 8_131_690
# The same file since OpenCV 2.x; annotations.json matches only this one.
CLIP_SHA256 = frozenset({"45cddc9490be69345cbdab64ca583be65987e864ca408038e648db99e10516cf"})
INSTALLED = Path("/usr/share/doc/opencv-doc")
OWN_VIDEO = "or use your own: make demo VIDEO=clip.mp4 TEMPLATE=photo.jpg ROI=x,y,w,h"


def fetch_footage(cache_dir: Path) -> Path:
    """Return the path of a verified `vtest.avi`, downloading it (96 MB) the first time."""
    target = Path(cache_dir) / CLIP
    if _is_known(target):
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    if _take_clip(INSTALLED, target):
        return target
    for tool in ("apt-get", "dpkg"):
        if shutil.which(tool) is None:
            raise SourceError(
                f"The demo's clip comes from the Debian package {PACKAGE} and {tool} is not here: "
                f"copy {CLIP} from OpenCV's samples/data to {target}, {OWN_VIDEO}."
            )
    with tempfile.TemporaryDirectory(prefix="footage-", dir=str(target.parent)) as scratch:
        tree = Path(scratch) / "tree"
        package = _download(Path(scratch))
        _run(["dpkg", "-x", str(package), str(tree)], f"Unpacking {package.name} failed")
        if not _take_clip(tree, target):
            raise SourceError(
                f"{package.name} holds no {CLIP} that the annotations belong to: "
                f"copy it from OpenCV's samples/data to {target}, {OWN_VIDEO}."
            )
    return target


def _download(scratch: Path) -> Path:
    """`apt-get download` with the system's package lists, else with private ones (no root)."""
    folder = scratch / "package"
    folder.mkdir()
    command = ["apt-get", "-q", "-o", "APT::Sandbox::User=", "download", PACKAGE]
    if _attempt(command, folder) is not None:
        state = scratch / "apt"
        (state / "lists" / "partial").mkdir(parents=True)
        (state / "cache" / "archives" / "partial").mkdir(parents=True)
        private = [
            "apt-get", "-q", "-o", "APT::Sandbox::User=",
            "-o", f"Dir::State::Lists={state / 'lists'}", "-o", f"Dir::Cache={state / 'cache'}",
        ]  # fmt: skip
        way_out = (
            f"try `sudo apt-get update && sudo apt-get install {PACKAGE}` and run this again, "
            f"{OWN_VIDEO}"
        )
        _run([*private, "update"], "Fetching apt's package lists failed", way_out, folder)
        failure = f"Downloading {PACKAGE} failed"
        _run([*private, "download", PACKAGE], failure, way_out, folder)
    packages = sorted(folder.glob(f"{PACKAGE}_*.deb"))
    if not packages:
        raise SourceError(f"apt-get said it downloaded {PACKAGE}, but left no file; {OWN_VIDEO}.")
    return packages[-1]


def _take_clip(tree: Path, target: Path) -> bool:
    """Copy the known clip from anywhere below `tree` (plain or gzipped) to `target`."""
    for found in sorted(tree.rglob(CLIP + "*")) if tree.is_dir() else []:
        if found.name not in (CLIP, CLIP + ".gz") or not found.is_file():
            continue
        partial = target.with_name(f".{target.name}.{os.getpid()}")
        try:
            opener = gzip.open if found.suffix == ".gz" else open
            with opener(found, "rb") as source, partial.open("wb") as copy:
                shutil.copyfileobj(source, copy)
            if _is_known(partial):
                partial.replace(target)
                return True
        except OSError as error:
            raise SourceError(
                f"Copying {found} to {target} failed: {error}; {OWN_VIDEO}."
            ) from error
        finally:
            if partial.exists():
                partial.unlink()
    return False


def _is_known(path: Path) -> bool:
    """Whether `path` is exactly the annotated clip."""
    if not path.is_file() or path.stat().st_size != CLIP_SIZE:
        return False
    return hashlib.sha256(path.read_bytes()).hexdigest() in CLIP_SHA256


def _attempt(command: List[str], folder: Optional[Path] = None) -> Optional[str]:
    """Run a command; None on success, else its last line of output."""
    done = subprocess.run(
        command,
        cwd=None if folder is None else str(folder),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if done.returncode == 0:
        return None
    return (done.stdout.strip().splitlines() or [f"exit status {done.returncode}"])[-1]


def _run(
    command: List[str], failure: str, way_out: str = OWN_VIDEO, folder: Optional[Path] = None
) -> None:
    """Run a command; raises SourceError if it fails."""
    said = _attempt(command, folder)
    if said is not None:
        raise SourceError(f"{failure} ({said}): {way_out}.")
