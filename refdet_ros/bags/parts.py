"""What a bag is made of: its storage files, whole or damaged, read in one way."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Iterator, Sequence

from refdet_core.closeable import Closeable
from refdet_core.errors import SourceError
from refdet_ros.bags.compression import plain


@dataclass(frozen=True)
class BagTopic:
    """A topic of a bag.

    Attributes:
        qos: the recorded QoS profile (rosbags' ``Qos``), None where none was recorded.
    """

    name: str
    msgtype: str
    count: int
    qos: Any


@dataclass(frozen=True)
class BagMessage:
    """A message as recorded: bag time in nanoseconds and serialised bytes (CDR)."""

    topic: str
    msgtype: str
    time_ns: int
    cdr: bytes


class BagPart(Closeable):
    """A bag, or one of its storage files.

    Attributes:
        topics: with the number of messages that can be read.
        start_ns, end_ns: bag time of the first and the last message; 0 if there is none.
        problem: what is missing, as a sentence; empty if it is whole.
    """

    topics: list[BagTopic]
    start_ns: int
    end_ns: int
    problem: str = ""

    @abstractmethod
    def messages(self, topics: Sequence[str] | None, start_ns: int) -> Iterator[BagMessage]:
        """Messages of these topics (None: all), from this bag time on and in its order."""


class WholePart(BagPart):
    """A bag folder, or one storage file, as the rosbags package reads it by its index.

    Raises:
        SourceError: rosbags cannot be imported.
        Exception: whatever rosbags, its parsers and its database driver raise for a damaged bag.
    """

    def __init__(self, path: Path) -> None:
        self._reader = _reader(path)
        self._closed = False
        self._reader.open()
        self.topics = []
        for connection in self._reader.connections:
            profiles = connection.ext.offered_qos_profiles
            # rosbags 0.9 (the last for Python 3.8) passes on the text unparsed: go without.
            profiles = [] if isinstance(profiles, str) else profiles
            self.topics.append(
                BagTopic(
                    connection.topic,
                    connection.msgtype,
                    connection.msgcount,
                    profiles[0] if profiles else None,
                )
            )
        count = self._reader.message_count
        self.start_ns = self._reader.start_time if count else 0
        self.end_ns = self._reader.end_time - 1 if count else 0

    def messages(self, topics: Sequence[str] | None, start_ns: int) -> Iterator[BagMessage]:
        chosen = [
            connection
            for connection in self._reader.connections
            if topics is None or connection.topic in topics
        ]
        if not chosen:
            return
        for connection, time_ns, data in self._reader.messages(connections=chosen, start=start_ns):
            yield BagMessage(connection.topic, connection.msgtype, time_ns, plain(bytes(data)))

    def close(self) -> None:
        """Close the files. Closing twice is harmless."""
        if not self._closed:
            self._closed = True
            self._reader.close()


def _reader(path: Path) -> Any:
    try:
        from rosbags.rosbag2 import Reader
    except ImportError as error:
        raise SourceError(
            f"Reading bags needs the rosbags package, which cannot be imported ({error}); install "
            "it with 'pip install rosbags'."
        ) from error
    return Reader(path)
