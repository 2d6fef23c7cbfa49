"""rosbag2's own compression, of whole files or of single messages."""

from __future__ import annotations

from typing import Any, BinaryIO

from refdet_core.errors import SourceError

COMPRESSED_SUFFIX = ".zstd"

_MAGIC = b"\x28\xb5\x2f\xfd"


def plain(data: bytes) -> bytes:
    """A message as it was before rosbag2 compressed it; CDR begins with a zero byte."""
    if not data.startswith(_MAGIC):
        return data
    return bytes(_zstandard().ZstdDecompressor().decompressobj().decompress(data))


def zstd_stream(file: BinaryIO) -> Any:
    """The content of a compressed file, to be read as a file."""
    return _zstandard().ZstdDecompressor().stream_reader(file, read_across_frames=True)


def _zstandard() -> Any:
    try:
        import zstandard
    except ImportError as error:
        raise SourceError(
            "The bag is compressed, which needs the zstandard package: 'pip install zstandard'."
        ) from error
    return zstandard
