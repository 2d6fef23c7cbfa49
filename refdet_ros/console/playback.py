"""Plays a recorded bag to one browser: the frames with their recorded results."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, Optional

from rclpy.serialization import deserialize_message

from refdet_core.errors import RefdetError, SourceError
from refdet_ros.bags.cdr import read_stamp_ns
from refdet_ros.bags.parts import BagMessage
from refdet_ros.bags.reading import COMPRESSED_TYPE, IMAGE_TYPES, Bag
from refdet_ros.console.frames import Frame
from refdet_ros.console.pairing import Pairing, Shown
from refdet_ros.console.results import boxes_from, targets_from

_DETECTIONS = "vision_msgs/msg/Detection2DArray"
_TARGETS = "refdet_msgs/msg/TargetArray"
_TELL_S = 0.25
_LONGEST_WAIT_S = 0.5


def recordings(folder: Path) -> List[Dict[str, Any]]:
    """The bags in a folder, the newest first."""
    found = []
    for bag in folder.glob("*/metadata.yaml"):
        files = [file for file in bag.parent.iterdir() if file.is_file()]
        size = sum(file.stat().st_size for file in files)
        found.append({"name": bag.parent.name, "bytes": size, "time": bag.stat().st_mtime})
    return sorted(found, key=lambda entry: -entry["time"])


def find(folder: Path, name: Any) -> Path:
    """The bag of the folder that is listed under this name.

    Raises:
        SourceError: there is none.
    """
    # The name is compared with the list and never becomes a path.
    for entry in recordings(folder):
        if entry["name"] == name:
            return folder / str(name)
    raise SourceError("There is no such recording.")


class Playback:
    """Plays at the recorded pace; can pause and seek.

    Args:
        show: called with each frame and its result.
        tell: called with the state, several times a second.

    Raises:
        SourceError: the bag cannot be read, or holds no camera images.
    """

    def __init__(
        self,
        path: Path,
        show: Callable[[Shown], None],
        tell: Callable[[Dict[str, Any]], None],
    ) -> None:
        self._bag = Bag(path)
        self._show, self._tell = show, tell
        images = [topic for topic in self._bag.topics if topic.msgtype in IMAGE_TYPES]
        if not images:
            self._bag.close()
            raise SourceError(f"The recording '{path.name}' holds no camera images.")
        image = max(images, key=lambda topic: topic.count)
        results = [t.name for t in self._bag.topics if t.msgtype in (_DETECTIONS, _TARGETS)]
        self._topics = [image.name, *results]
        self._image = image
        self._has_results = len(results) >= 2
        self._name = path.name
        self._paused = False
        self._position_s = 0.0
        self._seek_s: Optional[float] = 0.0
        self._change = asyncio.Event()
        self._told_s = 0.0
        self._task = asyncio.get_running_loop().create_task(self._play())

    def pause(self, on: bool) -> None:
        """Pause or continue; after the end, start again."""
        self._paused = on
        if not on and self._position_s >= self._bag.duration_s - 0.1:
            self._seek_s = 0.0
        self._change.set()

    def seek(self, seconds: float) -> None:
        """Go to a time from the start."""
        self._seek_s = min(max(0.0, seconds), self._bag.duration_s)
        self._change.set()

    async def close(self) -> None:
        """Stop playing."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        self._bag.close()

    async def _play(self) -> None:
        try:
            while True:
                seek_s, self._seek_s = self._seek_s, None
                if seek_s is not None:
                    await self._play_from(seek_s)
                if self._seek_s is None:
                    # At the end of the bag.
                    self._paused = True
                    self._told(True)
                    self._change.clear()
                    await self._change.wait()
        except RefdetError as error:
            self._tell({"name": self._name, "problem": str(error)})

    async def _play_from(self, start_s: float) -> None:
        """Play until the end of the bag, or until somebody seeks."""
        pairing = Pairing(self._show)
        loop = asyncio.get_running_loop()
        messages = self._bag.messages(self._topics, start_s)
        begin_s: Optional[float] = None
        first = True
        while True:
            message = await loop.run_in_executor(None, _following, messages)
            if message is None:
                return
            at_s = (message.time_ns - self._bag.start_ns) / 1e9
            if begin_s is None:
                begin_s = time.monotonic() - at_s
            while True:
                if self._seek_s is not None:
                    return
                # After a seek, the first frame is shown even while paused.
                wait_s = begin_s + at_s - time.monotonic()
                if self._paused and not first:
                    paused_at_s = time.monotonic()
                    self._change.clear()
                    self._told(True)
                    await self._change.wait()
                    begin_s += time.monotonic() - paused_at_s
                elif wait_s > 0:
                    await asyncio.sleep(min(wait_s, _LONGEST_WAIT_S))
                else:
                    break
            self._position_s = at_s
            if self._feed(pairing, message):
                first = False
            self._told()

    def _feed(self, pairing: Pairing, message: BagMessage) -> bool:
        """Pass on one message; True if it was a frame."""
        now_s = time.monotonic()
        if message.topic == self._image.name:
            frame = Frame(
                message.cdr, read_stamp_ns(message.cdr), message.msgtype == COMPRESSED_TYPE
            )
            pairing.frame(frame, now_s)
            return True
        from refdet_msgs.msg import TargetArray
        from vision_msgs.msg import Detection2DArray

        if message.msgtype == _DETECTIONS:
            detections = deserialize_message(message.cdr, Detection2DArray)
            pairing.boxes(read_stamp_ns(message.cdr), boxes_from(detections), now_s)
        else:
            targets = deserialize_message(message.cdr, TargetArray)
            pairing.targets(read_stamp_ns(message.cdr), targets_from(targets), now_s)
        return False

    def _told(self, now: bool = False) -> None:
        if not now and time.monotonic() - self._told_s < _TELL_S:
            return
        self._told_s = time.monotonic()
        self._tell(
            {
                "name": self._name,
                "position": self._position_s,
                "duration": self._bag.duration_s,
                "paused": self._paused,
            }
        )


def _following(messages: Iterator[BagMessage]) -> Optional[BagMessage]:
    return next(messages, None)
