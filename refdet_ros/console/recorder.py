"""Records what the console receives into an mcap bag.

Frames go in as JPEG, on ``<image topic>/compressed``: at 720p that is 2 instead of 40 MB a
second. Everything else goes in as it came. The bag plays with ``play_bag``, ``ros2 bag play`` and
on the console.
"""

from __future__ import annotations

import array
import queue
import shutil
import threading
import time
from pathlib import Path
from typing import Any, Callable, Dict, List, Literal, Optional, Tuple

from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy

from refdet_core.errors import SourceError
from refdet_ros.bags.reading import COMPRESSED_TYPE
from refdet_ros.bags.types import typestore_for
from refdet_ros.console.frames import Frame, Rung
from refdet_ros.console.ros.detector import DetectorLink
from refdet_ros.console.ros.side import RosSide

QUALITY = Rung(100_000, 90)
_WAITING = 30  # messages; more means the disk or the encoder cannot keep up
_CHECK_EVERY = 50
_METADATA_VERSION: Literal[8] = 8  # what Humble reads as well
_TYPES = {
    "detections": "vision_msgs/msg/Detection2DArray",
    "targets": "refdet_msgs/msg/TargetArray",
    "templates": "refdet_msgs/msg/TemplateArray",
}
_LATCHED = ("templates",)

Item = Tuple[str, int, Any]


class Recorder:
    """One recording. The session offers frames; the recorder subscribes to the other topics.

    Args:
        folder: the new bag; its parent is made if need be.
        free_bytes: the recording ends when less is left on the disk.
        on_end: called from the writer's thread when it ends by itself, with the reason.

    Raises:
        SourceError: the bag cannot be written.
    """

    def __init__(
        self,
        ros: RosSide,
        link: DetectorLink,
        image_topic: str,
        folder: Path,
        free_bytes: int,
        on_end: Callable[[str], None],
    ) -> None:
        self.folder = folder
        self.started_s = time.time()
        self.frames = 0
        self.dropped = 0
        self.bytes = 0
        self._ros = ros
        self._free_bytes = free_bytes
        self._on_end = on_end
        self._queue: queue.Queue[Optional[Item]] = queue.Queue(_WAITING)
        self._subscriptions: List[Any] = []
        suffix = "/compressed"
        image = image_topic if image_topic.endswith(suffix) else image_topic + suffix
        types = {image: COMPRESSED_TYPE}
        types.update((link.topic(name), kind) for name, kind in _TYPES.items())
        self._image = image
        self._open(types)
        self._thread = threading.Thread(target=self._write, name="recorder", daemon=True)
        self._thread.start()
        ros.in_ros(lambda: self._subscribe(link))

    def offer(self, frame: Frame) -> None:
        """Record a frame, or drop it if the writer cannot keep up."""
        self._put(self._image, frame)

    def close(self) -> None:
        """End the recording; the bag is complete after that."""
        self._unsubscribe()
        if self._thread.is_alive() and threading.current_thread() is not self._thread:
            self._queue.put(None)
            self._thread.join()

    def plain(self) -> Dict[str, Any]:
        """The state for the browser."""
        return {
            "name": self.folder.name,
            "seconds": time.time() - self.started_s,
            "frames": self.frames,
            "dropped": self.dropped,
            "bytes": self.bytes,
        }

    def _open(self, types: Dict[str, str]) -> None:
        try:
            from rosbags.rosbag2 import StoragePlugin, Writer
        except ImportError as error:
            raise SourceError(
                "Recording needs the rosbags package, 0.10 or newer: 'pip install rosbags'."
            ) from error
        try:
            self.folder.parent.mkdir(parents=True, exist_ok=True)
            store = typestore_for(types.values())
            self._writer = Writer(
                self.folder, version=_METADATA_VERSION, storage_plugin=StoragePlugin.MCAP
            )
            self._writer.open()
            self._connections = {
                topic: self._writer.add_connection(topic, kind, typestore=store)
                for topic, kind in types.items()
            }
        except Exception as error:
            raise SourceError(
                f"The recording '{self.folder}' cannot be written: {error}"
            ) from error

    def _subscribe(self, link: DetectorLink) -> None:
        from refdet_ros.bags.player import message_type

        for name, kind in _TYPES.items():
            quality = QoSProfile(
                depth=10,
                reliability=ReliabilityPolicy.RELIABLE,
                durability=DurabilityPolicy.TRANSIENT_LOCAL
                if name in _LATCHED
                else DurabilityPolicy.VOLATILE,
            )
            topic = link.topic(name)
            self._subscriptions.append(
                self._ros.node.create_subscription(
                    message_type(kind),
                    topic,
                    lambda cdr, topic=topic: self._put(topic, cdr),
                    quality,
                    raw=True,
                )
            )

    def _unsubscribe(self) -> None:
        def destroy() -> None:
            while self._subscriptions:
                self._ros.node.destroy_subscription(self._subscriptions.pop())

        self._ros.in_ros(destroy)

    def _put(self, topic: str, content: Any) -> None:
        try:
            self._queue.put_nowait((topic, time.time_ns(), content))
        except queue.Full:
            self.dropped += 1

    def _write(self) -> None:
        reason = ""
        count = 0
        try:
            while True:
                item = self._queue.get()
                if item is None:
                    break
                topic, time_ns, content = item
                if isinstance(content, Frame):
                    content = _as_compressed(content)
                    self.frames += 1
                self._writer.write(self._connections[topic], time_ns, content)
                self.bytes += len(content)
                count += 1
                if count % _CHECK_EVERY == 0 and self._is_full():
                    reason = "The recording has ended: the disk is nearly full."
                    break
        except Exception as error:
            reason = f"The recording has ended: {error}"
        try:
            self._writer.close()
        except Exception as error:
            reason = reason or f"The recording could not be completed: {error}"
        if reason:
            self._ros.post(self._on_end, reason)

    def _is_full(self) -> bool:
        return shutil.disk_usage(self.folder).free < self._free_bytes


def _as_compressed(frame: Frame) -> bytes:
    """The frame as a serialised ``CompressedImage``."""
    if frame.compressed:
        return frame.cdr
    from rclpy.serialization import serialize_message
    from sensor_msgs.msg import CompressedImage

    data = array.array("B", frame.encode(QUALITY).jpeg)
    encoding = "bgr8; jpeg compressed bgr8"
    message = CompressedImage(header=frame.message().header, format=encoding, data=data)
    return bytes(serialize_message(message))
