"""Reads rosbag2 bags (mcap or sqlite3) without ROS, also those that a crash left damaged.

A whole bag is read through the rosbags package. Of any other bag every storage file is read as far
as it goes, with a warning that says how far that is.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Iterator, Sequence

from refdet_core.closeable import Closeable
from refdet_core.errors import ConfigError, SourceError
from refdet_core.sources import natural_key
from refdet_ros.bags.compression import COMPRESSED_SUFFIX
from refdet_ros.bags.parts import BagMessage, BagPart, BagTopic, WholePart
from refdet_ros.bags.salvage import is_storage, salvage
from refdet_ros.bags.sqlite_part import is_cut_off, journals

IMAGE_TYPE = "sensor_msgs/msg/Image"
COMPRESSED_TYPE = "sensor_msgs/msg/CompressedImage"
IMAGE_TYPES = (IMAGE_TYPE, COMPRESSED_TYPE)
METADATA = "metadata.yaml"

_LOG = logging.getLogger(__name__)


class Bag(Closeable):
    """An open bag. Use it as a context manager.

    Args:
        path: a bag folder, or one storage file (``.mcap``, ``.db3``, or these with ``.zstd``).

    Attributes:
        topics: with the number of messages that can be read.
        problems: a sentence for everything that is missing. Each is logged as a warning, too.

    Raises:
        SourceError: there is no bag, nothing in it can be read, or it holds no messages.
    """

    def __init__(self, path: Path) -> None:
        self.path = Path(path)
        self.problems: list[str] = []
        if not self.path.exists():
            raise SourceError(f"The bag '{path}' does not exist.")
        self._parts = self._open()
        self.topics = _joined(self._parts)
        if not any(topic.count for topic in self.topics):
            self.close()
            raise SourceError(" ".join((f"The bag '{path}' holds no messages.", *self.problems)))
        for problem in self.problems:
            _LOG.warning(problem)

    @property
    def start_ns(self) -> int:
        """Bag time of the first message."""
        return min(part.start_ns for part in self._parts if part.end_ns)

    @property
    def duration_s(self) -> float:
        """Seconds from the first to the last message."""
        return (max(part.end_ns for part in self._parts) - self.start_ns) * 1e-9

    def messages(
        self, topics: Sequence[str] | None = None, start_s: float = 0.0
    ) -> Iterator[BagMessage]:
        """Messages in the order of their bag time, up to where the bag is damaged.

        Args:
            topics: only these; None: all.
            start_s: skip messages before this time, in seconds from the first message.
        """
        start_ns = self.start_ns + round(max(0.0, start_s) * 1e9)
        for part in self._parts:
            count = 0
            try:
                for message in part.messages(topics, start_ns):
                    count += 1
                    yield message
            except SourceError:
                raise
            except Exception as error:
                # Damage that the index did not show.
                self._report(f"'{self.path}' is damaged after {count} messages: {_reason(error)}")

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
        for part in self._parts:
            part.close()

    def _report(self, problem: str) -> None:
        if problem not in self.problems:
            self.problems.append(problem)
            _LOG.warning(problem)

    def _open(self) -> list[BagPart]:
        files = self._storage_files()
        if self.path.is_file() or (self.path / METADATA).is_file():
            unlisted = self._unlisted(files)
            if unlisted:
                self.problems.append(
                    f"{METADATA} of '{self.path}' does not list {', '.join(unlisted)}, probably "
                    "because the recorder was cut off; they are read all the same."
                )
            elif not any(_has_open_end(file) for file in files):
                try:
                    return [WholePart(self.path)]
                except SourceError:
                    raise
                except Exception as error:
                    if not files:
                        raise SourceError(
                            f"The bag '{self.path}' cannot be read: {_reason(error)}"
                        ) from error
                    if self.path.is_dir():
                        self.problems.append(f"'{self.path}': {_reason(error)}")
        elif files:
            self.problems.append(
                f"'{self.path}' has no {METADATA}, probably because the recorder was cut off; its "
                f"{len(files)} storage files are read. 'ros2 bag reindex {self.path}' writes it."
            )
        else:
            raise SourceError(
                f"'{self.path}' has no {METADATA} and no storage file; give the folder that 'ros2 "
                "bag record' or video_to_bag wrote."
            )
        parts = [_part(file) for file in files]
        self.problems += [part.problem for part in parts if part.problem]
        return sorted(parts, key=lambda part: part.start_ns)

    def _unlisted(self, files: Sequence[Path]) -> list[str]:
        if self.path.is_file():
            return []
        text = (self.path / METADATA).read_text(encoding="utf-8", errors="replace")
        names = [file.name for file in files]
        return [n for n in names if n not in text] if any(n in text for n in names) else []

    def _storage_files(self) -> list[Path]:
        if self.path.is_file():
            return [self.path]
        files = [file for file in self.path.iterdir() if file.is_file() and is_storage(file)]
        return sorted(files, key=lambda file: natural_key(file.name))


def absolute(topic: str) -> str:
    """A topic name as bags record it: ``image`` is ``/image``."""
    return "/" + topic.lstrip("/")


def topic_rate_hz(bag: Bag, topic: BagTopic) -> float | None:
    """Recorded messages per second of a topic; None for fewer than two messages."""
    times_ns = [message.time_ns for message in bag.messages([topic.name])]
    if len(times_ns) < 2 or times_ns[-1] <= times_ns[0]:
        return None
    return (len(times_ns) - 1) * 1e9 / (times_ns[-1] - times_ns[0])


def _part(file: Path) -> BagPart:
    if not _has_open_end(file) and not file.name.endswith(COMPRESSED_SUFFIX):
        try:
            return WholePart(file)
        except SourceError:
            raise
        except Exception:
            pass  # no index
    return salvage(file)


def _has_open_end(file: Path) -> bool:
    """Whether an sqlite3 file has a journal left or is cut off, which its index may not show."""
    return file.suffix == ".db3" and (bool(journals(file)) or is_cut_off(file))


def _joined(parts: Sequence[BagPart]) -> list[BagTopic]:
    topics: dict[str, BagTopic] = {}
    for part in parts:
        for topic in part.topics:
            before = topics.get(topic.name)
            count = topic.count + (before.count if before is not None else 0)
            topics[topic.name] = BagTopic(topic.name, topic.msgtype, count, topic.qos)
    return list(topics.values())


def _reason(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).rstrip(".") + "."
