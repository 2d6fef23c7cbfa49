"""Publishes a bag's messages unchanged, at their recorded pace."""

from __future__ import annotations

import importlib
import logging
import threading
import time
from dataclasses import dataclass, field
from typing import Any, Callable, Mapping, Sequence

from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy

from refdet_core.errors import ConfigError, SourceError
from refdet_ros.bags.cdr import has_header, restamp
from refdet_ros.bags.parts import BagMessage, BagTopic
from refdet_ros.bags.reading import Bag

RELIABILITIES = ("recorded", "reliable", "best_effort")
_LATE_S = 0.005
_LOG = logging.getLogger(__name__)


@dataclass
class PlayReport:
    """The result of playing a bag.

    Attributes:
        counts: messages published by topic (its name in the bag).
        wall_s: seconds from the first to the last message.
        late: messages published more than 5 ms late.
        worst_late_s: the largest delay in seconds.
        stopped: whether playing ended before the end of the bag.
    """

    counts: dict[str, int] = field(default_factory=dict)
    wall_s: float = 0.0
    late: int = 0
    worst_late_s: float = 0.0
    stopped: bool = False

    def rate_hz(self, topic: str) -> float | None:
        """Achieved messages per second of one topic; None for fewer than two messages."""
        count = self.counts.get(topic, 0)
        return (count - 1) / self.wall_s if count > 1 and self.wall_s > 0 else None


class Pacer:
    """Computes when a message is due: bag time since the first message, divided by the rate."""

    def __init__(self, rate: float) -> None:
        self._rate = rate
        self._start_s: float | None = None
        self._first_ns = 0

    def restart(self) -> None:
        """Make the next message due at once."""
        self._start_s = None

    def delay_s(self, time_ns: int, now_s: float) -> float:
        """Seconds until a message is due; negative when it is late.

        Args:
            time_ns: the message's bag time.
            now_s: monotonic seconds.
        """
        if self._start_s is None:
            self._start_s, self._first_ns = now_s, time_ns
        return self._start_s + (time_ns - self._first_ns) / 1e9 / self._rate - now_s


class BagPlayer:
    """Publishes topics of a bag through a node.

    Args:
        node: creates the publishers. Its namespace and remaps apply only to relative names; names
            in bags are absolute.
        bag: stays open while playing.
        topics: names in the bag; None: all with an installed type.
        remap: new names by name in the bag.
        rate: playing speed, 1 is real time.
        restamp_now: set header stamps to the time of publishing.
        reliability: ``recorded`` offers the bag's QoS, as 'ros2 bag play' does.
        on_publish: called before each message with its topic, stamp (restamped, else bag time)
            in nanoseconds and its number within the topic.

    Raises:
        ConfigError: the bag lacks a topic, or a setting is out of range.
        SourceError: no topic can be played because its type is not installed here.
    """

    def __init__(
        self,
        node: Node,
        bag: Bag,
        topics: Sequence[str] | None = None,
        remap: Mapping[str, str] | None = None,
        rate: float = 1.0,
        restamp_now: bool = False,
        reliability: str = "recorded",
        on_publish: Callable[[str, int, int], None] | None = None,
    ) -> None:
        if not 0.001 <= rate <= 1000:
            raise ConfigError(f"The playing rate must be between 0.001 and 1000, got {rate:g}.")
        if reliability not in RELIABILITIES:
            raise ConfigError(
                "Unknown reliability '{}'; valid are {}.".format(
                    reliability, ", ".join(RELIABILITIES)
                )
            )
        self._node = node
        self._bag = bag
        self._rate = rate
        self._restamp = restamp_now
        self._on_publish = on_publish
        self._stop = threading.Event()
        self._publishers: dict[str, Any] = {}
        self._restampable: dict[str, bool] = {}
        known = {topic.name: topic for topic in bag.topics}
        for name in list(topics or []) + list(remap or {}):
            if name not in known:
                raise ConfigError(
                    "The bag '{}' has no topic '{}'; it has: {}.".format(
                        bag.path, name, ", ".join(known)
                    )
                )
        for name in topics if topics is not None else known:
            self._add(known[name], (remap or {}).get(name, name), reliability)
        if not self._publishers:
            raise SourceError(
                f"None of the topics of '{bag.path}' can be played: their message types are not "
                "installed here."
            )

    def subscribers(self) -> int:
        """Number of matched subscriptions, all topics together."""
        return sum(publisher.get_subscription_count() for publisher in self._publishers.values())

    def wait_for_subscribers(self, timeout_s: float) -> bool:
        """Wait until every topic has a subscriber; returns whether that was in time."""
        deadline = time.monotonic() + timeout_s
        while not all(
            publisher.get_subscription_count() for publisher in self._publishers.values()
        ):
            if time.monotonic() > deadline or self._stop.wait(0.02):
                return False
        return True

    def play(self, loop: bool = False, on_time: Callable[[int], None] | None = None) -> PlayReport:
        """Publish until the bag ends, :meth:`stop` is called or Ctrl-C is pressed.

        Args:
            loop: start again at the end.
            on_time: called with each message's bag time before it is published (for /clock).
        """
        report = PlayReport()
        pacer = Pacer(self._rate)
        first_s = time.monotonic()
        try:
            while not self._stop.is_set():
                pacer.restart()
                for message in self._bag.messages(list(self._publishers)):
                    delay = pacer.delay_s(message.time_ns, time.monotonic())
                    if delay > 0 and self._stop.wait(delay):
                        break
                    late = -pacer.delay_s(message.time_ns, time.monotonic())
                    report.late += late > _LATE_S
                    report.worst_late_s = max(report.worst_late_s, late)
                    if on_time is not None:
                        on_time(message.time_ns)
                    if not report.counts:
                        first_s = time.monotonic()
                    self._publish(message, report)
                    report.wall_s = time.monotonic() - first_s
                if not loop:
                    break
        except KeyboardInterrupt:
            self._stop.set()
        report.stopped = self._stop.is_set()
        return report

    def stop(self) -> None:
        """End :meth:`play` from another thread."""
        self._stop.set()

    def close(self) -> None:
        """Remove the publishers."""
        for publisher in self._publishers.values():
            self._node.destroy_publisher(publisher)
        self._publishers.clear()

    def _add(self, topic: BagTopic, name: str, reliability: str) -> None:
        message_class = message_type(topic.msgtype)
        if message_class is None:
            _LOG.warning(
                "Not played: '%s', because %s is not installed here.", topic.name, topic.msgtype
            )
            return
        self._restampable[topic.name] = has_header(message_class)
        if self._restamp and not self._restampable[topic.name]:
            _LOG.warning("'%s' keeps its times: %s has no header.", topic.name, topic.msgtype)
        profile = qos_profile(topic.qos, reliability)
        self._publishers[topic.name] = self._node.create_publisher(message_class, name, profile)

    def _publish(self, message: BagMessage, report: PlayReport) -> None:
        number = report.counts.get(message.topic, 0)
        stamp_ns = message.time_ns
        cdr = message.cdr
        if self._restamp and self._restampable[message.topic]:
            stamp_ns = time.time_ns()
            cdr = restamp(cdr, stamp_ns)
        if self._on_publish is not None:
            self._on_publish(message.topic, stamp_ns, number)
        # Bytes are published directly, without a message object.
        self._publishers[message.topic].publish(cdr)
        report.counts[message.topic] = number + 1


def message_type(name: str) -> Any | None:
    """The class of ``package/msg/Name``; None if it is not installed."""
    package, _, rest = name.partition("/")
    folder, _, short = rest.partition("/")
    try:
        return getattr(importlib.import_module(f"{package}.{folder}"), short, None)
    except (ImportError, ValueError):
        return None


def qos_profile(recorded: Any, reliability: str = "recorded") -> QoSProfile:
    """The QoS profile to offer for a topic.

    Args:
        recorded: rosbags' ``Qos`` or None; then reliable, which suits every subscriber.
        reliability: one of :data:`RELIABILITIES`.
    """
    best_effort = recorded is not None and recorded.reliability.name == "BEST_EFFORT"
    if reliability != "recorded":
        best_effort = reliability == "best_effort"
    latched = recorded is not None and recorded.durability.name == "TRANSIENT_LOCAL"
    return QoSProfile(
        history=HistoryPolicy.KEEP_LAST,
        depth=max(1, recorded.depth) if recorded is not None else 10,
        reliability=ReliabilityPolicy.BEST_EFFORT if best_effort else ReliabilityPolicy.RELIABLE,
        durability=DurabilityPolicy.TRANSIENT_LOCAL if latched else DurabilityPolicy.VOLATILE,
    )


def parse_remaps(texts: Sequence[str]) -> dict[str, str]:
    """Turn ``/from:=/to`` texts into a mapping.

    Raises:
        ConfigError: a text has another form.
    """
    remaps: dict[str, str] = {}
    for text in texts:
        source, separator, target = text.partition(":=")
        if not separator or not source or not target:
            raise ConfigError(
                f"A remap is FROM:=TO, for example /image:=/camera/image, got '{text}'."
            )
        remaps["/" + source.lstrip("/")] = target
    return remaps


def topic_lines(report: PlayReport) -> list[str]:
    """One line per topic: number of messages and rate."""
    lines = []
    for topic, count in sorted(report.counts.items()):
        rate = report.rate_hz(topic)
        lines.append("{}: {} messages{}".format(topic, count, f" at {rate:.2f} Hz" if rate else ""))
    return lines
