"""An sqlite3 file that was cut off or has a journal left, read row by row."""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
import tempfile
from pathlib import Path
from typing import Iterator

from refdet_core.errors import SourceError
from refdet_ros.bags.compression import COMPRESSED_SUFFIX, zstd_stream
from refdet_ros.bags.parts import BagMessage
from refdet_ros.bags.salvaged_part import SalvagedPart, recorded_qos

JOURNAL_SUFFIXES = ("-wal", "-journal")

_PAGES = slice(28, 32)


class SqlitePart(SalvagedPart):
    """An sqlite3 file, with its journal if the recorder left one.

    SQLite would write to the file to apply the journal, so a copy of both is read then.
    """

    repair = "'sqlite3 FILE .recover' writes what is left of it as SQL."

    def __init__(self, path: Path) -> None:
        self._copy: tempfile.TemporaryDirectory[str] | None = None
        self._database = path
        if path.suffix == COMPRESSED_SUFFIX or journals(path):
            self._copy = tempfile.TemporaryDirectory(prefix="refdet_bag_")
            self._database = _copied(path, Path(self._copy.name))
        super().__init__(path)

    def close(self) -> None:
        if self._copy is not None:
            self._copy.cleanup()
            self._copy = None

    def _records(self) -> Iterator[BagMessage]:
        self._rows = 0
        # immutable: without locks and journals, which need a folder that can be written to.
        options = "" if self._copy is not None else "?mode=ro&immutable=1"
        connection = sqlite3.connect(f"{self._database.resolve().as_uri()}{options}", uri=True)
        try:
            # Or SQLite refuses a file that is shorter than its header says.
            connection.execute("PRAGMA writable_schema=ON")
            topics = {}
            columns = [row[1] for row in connection.execute("PRAGMA table_info(topics)")]
            qos = "offered_qos_profiles" if "offered_qos_profiles" in columns else "''"
            for number, name, msgtype, profiles in connection.execute(
                f"SELECT id, name, type, {qos} FROM topics"
            ):
                topics[number] = name
                self._types[name], self._qos[name] = msgtype, recorded_qos(profiles)
            # By id, so in the order of writing: the index by time may be lost.
            rows = connection.execute(
                "SELECT topic_id, timestamp, data FROM messages NOT INDEXED ORDER BY id"
            )
            for topic_id, time_ns, data in rows:
                self._rows += 1
                if topic_id in topics:
                    yield self._message(topics[topic_id], time_ns, bytes(data))
        finally:
            connection.close()

    def _end_problem(self) -> str:
        return "it is cut off" if is_cut_off(self._database) else ""

    def _position(self) -> str:
        return f"row {self._rows}"


def journals(path: Path) -> list[Path]:
    """What SQLite has written for a database but not applied yet."""
    files = [path.with_name(path.name + suffix) for suffix in JOURNAL_SUFFIXES]
    return [file for file in files if file.is_file() and file.stat().st_size > 0]


def is_cut_off(path: Path) -> bool:
    """Whether an sqlite3 file is shorter than its header says."""
    with path.open("rb") as file:
        header = file.read(100)
    if len(header) < 100 or not header.startswith(b"SQLite format 3\0"):
        return True
    page_bytes = int.from_bytes(header[16:18], "big")
    pages = int.from_bytes(header[_PAGES], "big")
    return path.stat().st_size < pages * (65536 if page_bytes == 1 else page_bytes)


def _copied(path: Path, folder: Path) -> Path:
    """A copy with its journals, not compressed."""
    needed = sum(file.stat().st_size for file in (path, *journals(path)))
    if shutil.disk_usage(folder).free < needed * (4 if path.suffix == COMPRESSED_SUFFIX else 1.1):
        raise SourceError(
            f"'{path}' has a journal or is compressed, so a copy of it must be read, but "
            f"'{folder}' has no room for {needed / 1e6:.0f} MB. Set TMPDIR to a larger disk."
        )
    copy = folder / path.name
    for file in (path, *journals(path)):
        shutil.copyfile(file, folder / file.name)
    if path.suffix != COMPRESSED_SUFFIX:
        return copy
    unpacked = copy.with_suffix("")
    # Everything up to the damage is unpacked by now.
    with copy.open("rb") as source, unpacked.open("wb") as target, contextlib.suppress(Exception):
        shutil.copyfileobj(zstd_stream(source), target)
    copy.unlink()
    return unpacked
