"""Events: when each target was found, lost and found again, with a picture."""

from __future__ import annotations

import csv
import io
import time
import zipfile
from collections import deque
from dataclasses import dataclass, replace
from typing import Any, Deque, Dict, Iterable, List, Optional

from refdet_ros.console.frames import Frame
from refdet_ros.console.results import LOST, SEARCHING, TRACKING, BoxXYWH, Result

FOUND, BACK, LOST_EVENT = "found", "back", "lost"
KEPT = 200
_CONFIRM = 2  # frames in a row, with a search that looks at every frame anew
_GONE_S = 1.0


@dataclass(frozen=True)
class Position:
    """Where a target was on Earth, according to the node ``locate``."""

    latitude: float
    longitude: float
    altitude: Optional[float] = None


@dataclass(frozen=True)
class Event:
    """One change of a target.

    Attributes:
        time_s: wall clock of the console.
        xywh: where it was last seen in the frame, pixels.
        jpeg: the frame with the target marked; empty where no frame was at hand.
    """

    number: int
    kind: str
    template_id: str
    track_id: str
    stamp_ns: int
    time_s: float
    xywh: Optional[BoxXYWH]
    score: Optional[float]
    position: Optional[Position] = None
    jpeg: bytes = b""

    def plain(self) -> Dict[str, Any]:
        """A dict for JSON, without the picture."""
        return {
            "number": self.number,
            "kind": self.kind,
            "template_id": self.template_id,
            "track_id": self.track_id,
            "stamp": self.stamp_ns / 1e9,
            "time": self.time_s,
            "box": self.xywh,
            "score": self.score,
            "position": vars(self.position) if self.position else None,
            "picture": bool(self.jpeg),
        }


@dataclass
class _Known:
    """The state of a target between frames."""

    state: str = SEARCHING
    ever: bool = False
    in_a_row: int = 0
    seen_s: float = 0.0
    seen_ns: int = 0
    track_id: str = ""
    xywh: Optional[BoxXYWH] = None
    score: Optional[float] = None
    frame: Optional[Frame] = None


@dataclass(frozen=True)
class Change:
    """A new event, and the frame for its picture."""

    event: Event
    frame: Optional[Frame]


class EventLog:
    """Turns results into events. The newest :data:`KEPT` are kept."""

    def __init__(self) -> None:
        self.events: Deque[Event] = deque(maxlen=KEPT)
        self._known: Dict[str, _Known] = {}
        self._count = 0

    def add(self, result: Result, frame: Optional[Frame], now_s: float) -> List[Change]:
        """Take a frame's result (``now_s`` is wall-clock time); returns the new events."""
        best = {box.template_id: box for box in reversed(result.boxes)}
        states = {target.template_id: target for target in result.targets}
        changes = []
        for template_id in {*best, *states, *self._known}:
            known = self._known.setdefault(template_id, _Known())
            box = best.get(template_id)
            if box is not None:
                known.xywh, known.score, known.seen_ns = box.xywh, box.score, result.stamp_ns
                known.seen_s, known.in_a_row = now_s, known.in_a_row + 1
                known.track_id = box.track_id
                known.frame = frame
            else:
                known.in_a_row = 0
            target = states.get(template_id)
            state = target.state if target else self._judge(known, now_s)
            kind = _change(known.state, state, known.ever)
            known.state = state
            known.ever = known.ever or state == TRACKING
            if kind:
                changes.append(self._note(kind, template_id, known, now_s))
        return changes

    def last_seen(self) -> Dict[str, Dict[str, Any]]:
        """When (wall clock) and where each target was last seen, by template id."""
        return {
            name: {"time": known.seen_s, "box": known.xywh, "score": known.score}
            for name, known in self._known.items()
            if known.xywh is not None
        }

    def keep_only(self, template_ids: Iterable[str]) -> None:
        """Forget all other targets; their events stay."""
        for gone in set(self._known) - set(template_ids):
            del self._known[gone]

    def complete(self, number: int, **details: Any) -> None:
        """Add the picture or the position to an event."""
        for index, event in enumerate(self.events):
            if event.number == number:
                self.events[index] = replace(event, **details)

    def placed(self, change: Change, position: Position) -> Change:
        """Add the position to a new event."""
        self.complete(change.event.number, position=position)
        return replace(change, event=replace(change.event, position=position))

    def get(self, number: int) -> Optional[Event]:
        """The event of that number; None if there is none."""
        return next((event for event in self.events if event.number == number), None)

    def _judge(self, known: _Known, now_s: float) -> str:
        """The state of a target for searches that report none."""
        if known.in_a_row >= _CONFIRM or (
            known.state == TRACKING and now_s - known.seen_s <= _GONE_S
        ):
            return TRACKING
        return LOST if known.ever else SEARCHING

    def _note(self, kind: str, template_id: str, known: _Known, now_s: float) -> Change:
        self._count += 1
        event = Event(
            self._count,
            kind,
            template_id,
            known.track_id,
            known.seen_ns,
            now_s,
            known.xywh,
            known.score,
        )
        self.events.append(event)
        return Change(event, known.frame)


def _change(before: str, now: str, ever: bool) -> str:
    if now == TRACKING and before != TRACKING:
        return BACK if ever else FOUND
    return LOST_EVENT if before == TRACKING and now != TRACKING else ""


def as_zip(events: Iterable[Event]) -> bytes:
    """The events as ``events.csv`` with their pictures."""
    table = io.StringIO()
    writer = csv.writer(table)
    head = "number event target track time_utc frame_stamp x y width height score"
    writer.writerow([*head.split(), "latitude", "longitude", "picture"])
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_STORED) as files:
        for event in events:
            # Numbered, never named after a target: a name may hold any character.
            picture = f"pictures/{event.number:04d}_{event.kind}.jpg" if event.jpeg else ""
            place = event.position
            writer.writerow(
                [
                    event.number,
                    event.kind,
                    _as_text(event.template_id),
                    _as_text(event.track_id),
                    time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(event.time_s)),
                    f"{event.stamp_ns / 1e9:.9f}",
                    *(event.xywh or ("",) * 4),
                    "" if event.score is None else event.score,
                    place.latitude if place else "",
                    place.longitude if place else "",
                    picture,
                ]
            )
            if picture:
                files.writestr(picture, event.jpeg)
        files.writestr("events.csv", table.getvalue())
    return archive.getvalue()


def _as_text(value: str) -> str:
    """The text, changed so that no spreadsheet takes it for a formula."""
    return "'" + value if value[:1] in ("=", "+", "-", "@", "\t", "\r") else value
