"""An mcap file without its index, read record by record."""

from __future__ import annotations

import contextlib
import os
import struct
from typing import Any, BinaryIO, Iterator

from refdet_core.errors import SourceError
from refdet_ros.bags.compression import COMPRESSED_SUFFIX, zstd_stream
from refdet_ros.bags.parts import BagMessage
from refdet_ros.bags.salvaged_part import SalvagedPart, recorded_qos

_CHUNK = 0x06
_CHUNK_TIMES_AND_SIZES = 28


class McapPart(SalvagedPart):
    """An mcap file, also one that is compressed as a whole, read from its start to where it ends.

    Damaged chunks in the middle are left out.
    """

    repair = "'mcap recover' writes a whole copy of it."

    def _records(self) -> Iterator[BagMessage]:
        self._whole, self._left_out, self._read_bytes = False, 0, 0
        self._channels: dict[int, str] = {}
        self._schemas: dict[int, str] = {}
        with self.path.open("rb") as file:
            packed = self.path.suffix == COMPRESSED_SUFFIX
            try:
                for record in _mcap(zstd_stream(file) if packed else file, emit_chunks=True):
                    self._read_bytes = file.tell()
                    yield from self._messages_of(record)
            except Exception:
                if not packed:
                    yield from self._rest_of_chunk(file)
                raise

    def _messages_of(self, record: Any) -> Iterator[BagMessage]:
        """The messages in a record; the types of topics are remembered."""
        kind = type(record).__name__
        if kind == "Chunk":
            from mcap.stream_reader import breakup_chunk

            try:
                parts = breakup_chunk(record, validate_crc=True)
            except Exception:
                self._left_out += 1
                return
            for part in parts:
                yield from self._messages_of(part)
        elif kind == "Schema":
            self._schemas[record.id] = record.name
        elif kind == "Channel":
            self._channels[record.id] = record.topic
            self._types[record.topic] = self._schemas.get(record.schema_id, "")
            self._qos[record.topic] = recorded_qos(record.metadata.get("offered_qos_profiles", ""))
        elif kind == "Message" and record.channel_id in self._channels:
            yield self._message(self._channels[record.channel_id], record.log_time, record.data)
        self._whole = kind == "Footer"

    def _rest_of_chunk(self, file: BinaryIO) -> Iterator[BagMessage]:
        """The messages of a chunk that the file ends in the middle of."""
        file.seek(self._read_bytes)
        opcode = 0
        while opcode != _CHUNK:
            head = file.read(9)
            if len(head) < 9:
                return
            opcode, length = struct.unpack("<BQ", head)
            file.seek(0 if opcode == _CHUNK else length, os.SEEK_CUR)
        file.seek(_CHUNK_TIMES_AND_SIZES, os.SEEK_CUR)
        compression = file.read(int.from_bytes(file.read(4), "little"))
        file.seek(8, os.SEEK_CUR)
        if compression not in (b"", b"zstd"):
            return
        with contextlib.suppress(Exception):
            content = zstd_stream(file) if compression else file
            for record in _mcap(content, skip_magic=True):
                yield from self._messages_of(record)
                self._read_bytes = file.tell()

    def _end_problem(self) -> str:
        if self._left_out:
            return f"{self._left_out} damaged chunks are left out"
        return "" if self._whole else "its end is missing"

    def _position(self) -> str:
        return f"byte {self._read_bytes} of {self.path.stat().st_size}"


def _mcap(content: Any, **options: Any) -> Iterator[Any]:
    try:
        from mcap.stream_reader import StreamReader
    except ImportError as error:
        raise SourceError(
            "The mcap file has no index, probably because the recorder was cut off. Reading it all "
            f"the same needs the mcap package, which cannot be imported ({error}): 'pip install "
            "mcap'; or write a whole copy with 'mcap recover FILE.mcap -o WHOLE.mcap'."
        ) from error

    class Records(StreamReader):  # type: ignore[misc,unused-ignore]
        """Ends at zeros, which a file system leaves after a power loss; no record begins with
        one."""

        def _read_record(self, opcode: int, length: int) -> Any:
            if not opcode:
                raise ValueError("it ends in zeros")
            return super()._read_record(opcode, length)

    records: Iterator[Any] = Records(content, **options).records
    return records
