"""A storage file that a crash or a full disk cut off, read as far as it goes."""

from __future__ import annotations

from abc import abstractmethod
from collections import Counter
from pathlib import Path
from typing import Any, Iterator, Sequence

from refdet_core.errors import SourceError
from refdet_ros.bags.compression import plain
from refdet_ros.bags.parts import BagMessage, BagPart, BagTopic


class SalvagedPart(BagPart):
    """One storage file, gone through once to learn what can be read of it.

    Raises:
        SourceError: a package for it is missing.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._types: dict[str, str] = {}
        self._qos: dict[str, Any] = {}
        counts: Counter[str] = Counter()
        times_ns: list[int] = []
        reason = "its end is missing"
        try:
            for message in self._records():
                counts[message.topic] += 1
                times_ns = [*times_ns[:1], message.time_ns]
            reason = self._end_problem()
        except SourceError:
            raise
        except Exception as error:
            reason = str(error).strip().rstrip(".") or type(error).__name__
        self.topics = [
            BagTopic(name, msgtype, counts[name], self._qos.get(name))
            for name, msgtype in self._types.items()
        ]
        self.start_ns, self.end_ns = (times_ns[0], times_ns[-1]) if times_ns else (0, 0)
        if reason:
            self.problem = (
                f"'{path}' is incomplete ({reason}); read are {sum(counts.values())} messages of "
                f"{(self.end_ns - self.start_ns) * 1e-9:.2f} s, up to {self._position()}. "
                f"{self.repair}"
            )

    @property
    @abstractmethod
    def repair(self) -> str:
        """The command that makes the file whole, as a sentence."""

    def messages(self, topics: Sequence[str] | None, start_ns: int) -> Iterator[BagMessage]:
        try:
            for message in self._records():
                if message.time_ns >= start_ns and (topics is None or message.topic in topics):
                    yield message
        except (SourceError, GeneratorExit):
            raise
        except Exception:
            return  # the end that was found before

    def close(self) -> None:
        """Nothing is kept open between two readings."""

    @abstractmethod
    def _records(self) -> Iterator[BagMessage]:
        """All messages; raises anything where the file is damaged. Fills types and QoS."""

    @abstractmethod
    def _end_problem(self) -> str:
        """What is missing even though everything could be read; empty if nothing is."""

    @abstractmethod
    def _position(self) -> str:
        """How far the file could be read, in words."""

    def _message(self, topic: str, time_ns: int, data: bytes) -> BagMessage:
        return BagMessage(topic, self._types[topic], time_ns, plain(data))


def recorded_qos(profiles: str) -> Any:
    """The first recorded QoS profile; None where there is none, or rosbags does not parse it."""
    try:
        from rosbags.rosbag2.metadata import parse_qos

        parsed = parse_qos(profiles)
    except Exception:
        return None
    return parsed[0] if parsed else None
