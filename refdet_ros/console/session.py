"""One detector, and everything that browsers see of it."""

from __future__ import annotations

import asyncio
import base64
import time
from pathlib import Path
from typing import Any, Dict, List, Optional, Protocol, Set

import cv2

from refdet_core.errors import SourceError
from refdet_ros.console.events import Change, EventLog
from refdet_ros.console.frames import Encoder, Frame, Rung, to_jpeg
from refdet_ros.console.pairing import Pairing, Shown
from refdet_ros.console.positions import Positions
from refdet_ros.console.presence import Presence
from refdet_ros.console.recorder import Recorder
from refdet_ros.console.results import BoxXYWH, Result
from refdet_ros.console.ros.detector import DetectorLink, Listener, TemplateView
from refdet_ros.console.ros.side import RosSide, Status
from refdet_ros.console.targets import TargetBook
from refdet_ros.console.words import plain_status

_EVENT_PICTURE = Rung(640, 75)
_COLOUR_BGR = (80, 220, 60)


class Watcher(Protocol):
    """A browser that watches a detector."""

    wants_heatmap: bool

    def offer(self, shown: Shown) -> None:
        """A new frame to show."""

    def tell(self, kind: str, content: Dict[str, Any]) -> None:
        """Something else has changed."""


class DetectorSession:
    """The state of one detector. Use it from the event loop only.

    Args:
        node: its fully qualified name.
    """

    def __init__(self, ros: RosSide, node: str, encoder: Encoder) -> None:
        self.node = node
        self.recorder: Optional[Recorder] = None
        self.presence = Presence()
        self.events = EventLog()
        self._ros = ros
        self._encoder = encoder
        self._watchers: Set[Watcher] = set()
        self._templates: List[TemplateView] = []
        self._status: Optional[Status] = None
        self._status_s = 0.0
        self._pairing = Pairing(self._show, self._answered, ahead=True)
        self._tasks: Set[asyncio.Task[None]] = set()
        monotonic = time.monotonic
        self.link = DetectorLink(
            ros,
            node,
            Listener(
                frame=self._on_frame,
                boxes=lambda stamp, boxes: self._pairing.boxes(stamp, boxes, monotonic()),
                targets=lambda stamp, targets: self._pairing.targets(stamp, targets, monotonic()),
                templates=self._on_templates,
                heatmap=lambda stamp, message: self._pairing.heatmap(stamp, message, monotonic()),
            ),
        )
        self.book = TargetBook(self.link)
        self.positions = Positions(ros, self.link.topic)

    @property
    def image_topic(self) -> str:
        """The detector's image topic; empty until its diagnostics name it."""
        return self._status.values.get("input topic", "") if self._status else ""

    def status(self, status: Status) -> None:
        """Take a diagnostic of this detector."""
        self._status, self._status_s = status, time.monotonic()
        self._tell("status", self.plain_status())
        self.update_watching()

    def plain_status(self) -> Dict[str, Any]:
        """The newest diagnostics in plain words."""
        if self._status is None:
            return {"node": self.node, "level": "stale", "message": "No diagnostics yet."}
        return plain_status(self._status, time.monotonic() - self._status_s)

    def plain_templates(self) -> Dict[str, Any]:
        """The templates with thumbnails."""
        return {
            "templates": [
                {
                    "template_id": view.template_id,
                    "references": view.references,
                    "created": view.created_s,
                    "thumbnails": [base64.b64encode(jpeg).decode() for jpeg in view.thumbnails],
                }
                for view in self._templates
            ],
            "undo": self.book.can_undo,
        }

    def tell_templates(self) -> None:
        """Send the templates and what can be undone."""
        self._tell("templates", self.plain_templates())

    def join(self, watcher: Watcher) -> None:
        """Add a browser that watches this detector."""
        self._watchers.add(watcher)
        self.update_watching()

    def leave(self, watcher: Watcher) -> None:
        """Remove a browser."""
        self._watchers.discard(watcher)
        self.update_watching()

    def update_watching(self) -> None:
        """Subscribe to the camera only while somebody watches: images take most of a link."""
        wanted = bool(self._watchers) or self.recorder is not None
        self.link.watch(self.image_topic if wanted else "")
        heatmap = any(watcher.wants_heatmap for watcher in self._watchers)
        self._pairing.wants_heatmap = heatmap
        self.link.watch_heatmap(heatmap)

    def record(self, folder: Path, free_bytes: int) -> None:
        """Begin a recording.

        Raises:
            SourceError: there is one already, or it cannot be written.
        """
        if self.recorder is not None:
            raise SourceError("A recording is running already.")
        if not self.image_topic:
            raise SourceError("The detector has not said yet where its camera is; try again.")
        self.recorder = Recorder(
            self._ros, self.link, self.image_topic, folder, free_bytes, self._recording_ended
        )
        self.update_watching()

    def stop_recording(self) -> Optional[str]:
        """End the recording; its name, None if there was none. Waits for the disk."""
        recorder, self.recorder = self.recorder, None
        if recorder is None:
            return None
        recorder.close()
        self.update_watching()
        return recorder.folder.name

    def _recording_ended(self, reason: str) -> None:
        self.recorder = None
        self.update_watching()
        self._tell("problem", {"message": reason})

    def _on_frame(self, frame: Frame) -> None:
        if self.recorder is not None:
            self.recorder.offer(frame)
        self._pairing.frame(frame, time.monotonic())

    def _tell(self, kind: str, content: Dict[str, Any]) -> None:
        for watcher in list(self._watchers):
            watcher.tell(kind, content)

    def _on_templates(self, views: List[TemplateView]) -> None:
        self._templates = views
        self.book.templates(views)
        names = [view.template_id for view in views]
        self.events.keep_only(names)
        self.positions.keep_only(names)
        self.tell_templates()

    def _show(self, shown: Shown) -> None:
        for watcher in list(self._watchers):
            watcher.offer(shown)

    def _answered(self, result: Result, frame: Optional[Frame]) -> None:
        now_s = time.time()
        self.presence.add(result, [view.template_id for view in self._templates], now_s)
        for change in self.events.add(result, frame, now_s):
            place = self.positions.of(change.event.template_id)
            if place is not None:
                change = self.events.placed(change, place)
            self._tell("event", change.event.plain())
            if change.frame is not None and change.event.xywh is not None:
                task = asyncio.get_running_loop().create_task(self._picture(change))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)

    async def _picture(self, change: Change) -> None:
        event, frame = change.event, change.frame
        assert frame is not None and event.xywh is not None
        try:
            jpeg = await self._encoder.run(_event_picture, frame, event.xywh)
        except Exception:  # a frame that cannot be decoded has no picture
            return
        self.events.complete(event.number, jpeg=jpeg)
        completed = self.events.get(event.number)
        if completed is not None:
            self._tell("event", completed.plain())


def _event_picture(frame: Frame, xywh: BoxXYWH) -> bytes:
    picture = frame.bgr().copy()
    x, y, width, height = (round(value) for value in xywh)
    thick = max(2, picture.shape[1] // 400)
    margin = 2 * thick
    cv2.rectangle(
        picture,
        (x - margin, y - margin),
        (x + width + margin, y + height + margin),
        _COLOUR_BGR,
        thick,
    )
    return to_jpeg(picture, _EVENT_PICTURE)
