"""Stores engines on the disk: complete or not at all, and never confused with another.

The file is ``<bundle>-<graph>-<precision>-<key>.engine``, with a JSON file beside it. The key is a
hash of everything the engine was built from and for. The JSON file lists that with checksum and
size, so that people can read it and a program can say why an engine does not match.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import logging
import os
import re
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, Iterator, Optional, Tuple

from refdet_core.backends.engines.progress import PERIOD_S
from refdet_core.errors import BackendError

_LOG = logging.getLogger(__name__)

LOCK_FILE = "engines.lock"
_POLL_S = 0.2

Identity = Dict[str, Any]
"""What an engine was built from and for, as JSON values; three of them form its name."""


@dataclass(frozen=True)
class StoredEngine:
    """A serialised engine and the content of its JSON file."""

    data: bytes
    sidecar: Dict[str, Any]


class EngineStore:
    """The engines in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path(self, identity: Identity) -> Path:
        """The path of the engine with this identity."""
        name = "-".join(str(identity[part]) for part in ("bundle", "graph", "precision"))
        key = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:16]
        return self.folder / f"{_as_file_name(name)}-{key}.engine"

    def find(self, identity: Identity) -> Tuple[Optional[StoredEngine], str]:
        """The engine, or None and the reason why it cannot be used, as the end of a sentence."""
        path = self.path(identity)
        try:
            sidecar = json.loads(_sidecar_path(path).read_text(encoding="utf-8"))
            data = path.read_bytes()
            expected = {name: sidecar[name] for name in ("identity", "sha256", "size")}
        except FileNotFoundError:
            return None, self._why_there_is_none(identity)
        except (OSError, ValueError, KeyError, TypeError) as error:
            return None, f"{path.name} cannot be read ({type(error).__name__}: {error})"
        if expected["identity"] != identity:
            return None, f"{path.name} is not what its name says: " + _difference(
                expected["identity"], identity
            )
        if len(data) != expected["size"]:
            return None, f"{path.name} has {len(data)} bytes instead of {expected['size']}"
        if hashlib.sha256(data).hexdigest() != expected["sha256"]:
            return None, f"{path.name} is damaged, its checksum is another"
        return StoredEngine(data, sidecar), ""

    def newest(self, identity: Identity, whatever: str) -> Optional[Identity]:
        """The identity of the newest usable engine that differs at most in ``whatever``."""
        relatives = sorted(self._relatives(identity), key=lambda item: item[0], reverse=True)
        for _, other in relatives:
            if set(_changed(other, identity)) <= {whatever} and self.find(other)[0] is not None:
                return other
        return None

    def keep(self, identity: Identity, data: bytes, facts: Dict[str, Any]) -> StoredEngine:
        """Write an engine and its JSON file; a reader sees the old or the new one.

        Args:
            facts: further content of the JSON file.

        Raises:
            BackendError: the folder is full or not writable; no partial file is left behind.
        """
        path = self.path(identity)
        sidecar = describe(identity, data, facts)
        try:
            write_whole(path, data)
            write_whole(_sidecar_path(path), json.dumps(sidecar, indent=1).encode())
        except OSError as error:
            raise BackendError(
                f"The engine of {len(data) / 1e6:.1f} MB cannot be kept as {path}: "
                f"{error.strerror or error}. Make room, or choose another engine_folder."
            ) from error
        return StoredEngine(data, sidecar)

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Let one process at a time build into the folder; others wait and log that.

        The system releases the lock of a process that dies.

        Raises:
            BackendError: the folder is not writable.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            file = open(self.folder / LOCK_FILE, "a")  # noqa: SIM115 - its errors are not the body's
        except OSError as error:
            raise BackendError(
                f"Engines cannot be kept in '{self.folder}': {error.strerror or error}. Choose "
                "another engine_folder."
            ) from error
        with file:
            self._wait_for(file)
            self._remove_unfinished()
            yield

    def _wait_for(self, file: Any) -> None:
        started, logged = time.monotonic(), -PERIOD_S
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except BlockingIOError:
                waited = time.monotonic() - started
                if waited - logged >= PERIOD_S:
                    logged = waited
                    _LOG.info(
                        "Another process builds engines in '%s'; waiting for it, %.0f s so far.",
                        self.folder,
                        waited,
                    )
                time.sleep(_POLL_S)
            except OSError as error:
                raise BackendError(
                    f"'{self.folder}' is on a file system without locks ({error.strerror or error})"
                    "; choose another engine_folder."
                ) from error

    def _remove_unfinished(self) -> None:
        """Remove partial files of a killed process; only the lock's holder writes."""
        with suppress(OSError):  # then the next process does
            for path in self.folder.glob("*.unfinished"):
                path.unlink()

    def _why_there_is_none(self, identity: Identity) -> str:
        """Compare with the most similar engine to say what has changed."""
        nearest: Optional[Identity] = None
        for _, other in self._relatives(identity):
            if nearest is None or len(_changed(other, identity)) < len(_changed(nearest, identity)):
                nearest = other
        if nearest is None or not _changed(nearest, identity):
            return "there is none yet"
        return "the one that is there is for other settings: " + _difference(nearest, identity)

    def _relatives(self, identity: Identity) -> Iterator[Tuple[float, Identity]]:
        """Engines of the same bundle, graph and precision: time of writing and identity."""
        own = self.path(identity)
        start = own.name[: own.name.rindex("-") + 1]
        for path in self.folder.glob("*.engine.json"):
            if not path.name.startswith(start):
                continue
            try:
                written_s = path.stat().st_mtime
                other = dict(json.loads(path.read_text(encoding="utf-8"))["identity"])
            except (OSError, ValueError, KeyError, TypeError):
                continue
            yield written_s, other


def describe(identity: Identity, data: bytes, facts: Dict[str, Any]) -> Dict[str, Any]:
    """The content of the JSON file beside an engine."""
    digest = hashlib.sha256(data).hexdigest()
    return {"identity": identity, "size": len(data), "sha256": digest, **facts}


def write_whole(path: Path, content: bytes) -> None:
    """Write a file completely or not at all, even if the power fails.

    Raises:
        OSError: it could not be written; the previous file is unchanged.
    """
    unfinished = path.with_name(f"{path.name}.{os.getpid()}.unfinished")
    try:
        with open(unfinished, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(path)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise


def _sidecar_path(path: Path) -> Path:
    return path.with_name(path.name + ".json")


def _as_file_name(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]", "_", text)


def _changed(old: Identity, new: Identity) -> Dict[str, Tuple[Any, Any]]:
    return {
        name: (old.get(name), new.get(name))
        for name in sorted({*old, *new})
        if old.get(name) != new.get(name)
    }


def _difference(old: Any, new: Identity) -> str:
    """The first few values that differ, each shortened."""
    if not isinstance(old, dict):
        return "its JSON file says nothing about it"
    parts = [
        f"{name} was {_short(before)}, is {_short(now)}"
        for name, (before, now) in _changed(old, new).items()
    ]
    return "; ".join(parts[:3])


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 40 else text[:37] + "..."
