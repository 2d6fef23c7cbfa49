"""Reads rosbag2 bags (mcap or sqlite3) with the rosbags package, without ROS.

Every way a bag can be broken ends in a SourceError: rosbags passes on whatever its parsers
and database drivers raise, so its calls are guarded as a whole.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Iterator, Sequence

from refdet_core.closeable import Closeable
from refdet_core.errors import ConfigError, SourceError

IMAGE_TYPE = "sensor_msgs/msg/Image"
COMPRESSED_TYPE = "sensor_msgs/msg/CompressedImage"
IMAGE_TYPES = (IMAGE_TYPE, COMPRESSED_TYPE)


@dataclass(frozen=True)
class BagTopic:
    """A topic of a bag.

    Attributes:
        qos: the recorded QoS profile (rosbags' ``Qos``); None if none was recorded.
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


class Bag(Closeable):
    """An open bag. Use it as a context manager.

    Args:
        path: a bag folder, or one ``.mcap`` or ``.db3`` file.

    Raises:
        SourceError: there is no bag, it is damaged, or it holds no messages.
    """

    def __init__(self, path: Path) -> None:
        self.path = Path(path)
        self._reader = _open_reader(self.path)
        self._closed = False
        self.topics: list[BagTopic] = []
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
        if not self._reader.message_count:
            self.close()
            raise SourceError(f"The bag '{path}' holds no messages.")

    @property
    def duration_s(self) -> float:
        """Seconds from the first to the last message."""
        return float(max(0, self._reader.end_time - self._reader.start_time - 1)) / 1e9

    @property
    def start_ns(self) -> int:
        """Bag time of the first message."""
        return int(self._reader.start_time)

    def messages(
        self, topics: Sequence[str] | None = None, start_s: float = 0.0
    ) -> Iterator[BagMessage]:
        """Messages in the order of their bag time.

        Args:
            topics: only these; None: all.
            start_s: skip messages before this time, in seconds from the first message.
        """
        chosen = [
            connection
            for connection in self._reader.connections
            if topics is None or connection.topic in topics
        ]
        if not chosen:
            return
        try:
            start_ns = self.start_ns + round(start_s * 1e9) if start_s > 0 else None
            for connection, time_ns, data in self._reader.messages(chosen, start=start_ns):
                yield BagMessage(connection.topic, connection.msgtype, time_ns, bytes(data))
        except Exception as error:
            raise _damaged(self.path, error) from error

    def image_topic(self, name: str | None = None) -> BagTopic:
        """The topic that holds the camera images.

        Args:
            name: the topic; None if the bag has only one image topic.

        Raises:
            ConfigError: there is no such topic, or several without a name given.
        """
        images = [topic for topic in self.topics if topic.msgtype in IMAGE_TYPES]
        if name is not None:
            images = [topic for topic in images if topic.name == absolute(name)]
        if len(images) == 1 and images[0].count:
            return images[0]
        known = ", ".join(f"{topic.name} ({topic.msgtype})" for topic in self.topics)
        if len(images) > 1:
            raise ConfigError(
                f"The bag '{self.path}' has several image topics; choose one with --topic: {known}."
            )
        wanted = f"image topic '{name}'" if name is not None else "image topic"
        raise ConfigError(
            "The bag '{}' has no {} with messages; it has: {}.".format(
                self.path, wanted, known or "nothing"
            )
        )

    def close(self) -> None:
        """Close the files. Closing twice is harmless."""
        if not self._closed:
            self._closed = True
            self._reader.close()


def absolute(topic: str) -> str:
    """A topic name as bags record it: ``image`` is ``/image``."""
    return "/" + topic.lstrip("/")


def topic_rate_hz(bag: Bag, topic: BagTopic) -> float | None:
    """Recorded messages per second of a topic; None for fewer than two messages."""
    times_ns = [message.time_ns for message in bag.messages([topic.name])]
    if len(times_ns) < 2 or times_ns[-1] <= times_ns[0]:
        return None
    return (len(times_ns) - 1) * 1e9 / (times_ns[-1] - times_ns[0])


def _open_reader(path: Path) -> Any:
    try:
        from rosbags.rosbag2 import Reader
    except ImportError as error:
        raise SourceError(
            f"Reading bags needs the rosbags package, which cannot be imported ({error}); install "
            "it with 'pip install rosbags'."
        ) from error
    if not path.exists():
        raise SourceError(f"The bag '{path}' does not exist.")
    if path.is_dir() and not (path / "metadata.yaml").is_file():
        parts = sorted(file.name for file in path.iterdir() if file.suffix in (".mcap", ".db3"))
        hint = (
            f"give '{path / parts[0]}' itself, or repair the bag with 'ros2 bag reindex'"
            if parts
            else "give the folder that 'ros2 bag record' or video_to_bag wrote"
        )
        raise SourceError(f"'{path}' has no metadata.yaml; {hint}.")
    try:
        reader = Reader(path)
        reader.open()
        return reader
    except Exception as error:
        raise _damaged(path, error) from error


def _damaged(path: Path, error: Exception) -> SourceError:
    reason = str(error).strip() or type(error).__name__
    return SourceError("The bag '{}' cannot be read: {}".format(path, reason.rstrip(".") + "."))
