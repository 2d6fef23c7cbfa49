"""The detector's result for one frame, in the form sent to browsers."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Dict, Optional, Tuple

SEARCHING, TRACKING, LOST = "searching", "tracking", "lost"
_STATES = {0: SEARCHING, 1: TRACKING, 2: LOST}

BoxXYWH = Tuple[float, float, float, float]


@dataclass(frozen=True)
class Box:
    """A detection in frame pixels."""

    template_id: str
    track_id: str
    score: float
    xywh: BoxXYWH


@dataclass(frozen=True)
class TargetView:
    """The state of one target.

    Attributes:
        window: the part of the frame that was looked at closely, None if none was.
    """

    template_id: str
    state: str
    track_id: str
    presence: float
    window: Optional[BoxXYWH]


@dataclass(frozen=True)
class Result:
    """Detections and target states of the frame with this stamp."""

    stamp_ns: int
    boxes: Tuple[Box, ...]
    targets: Tuple[TargetView, ...]

    def plain(self) -> Dict[str, Any]:
        """A dict for JSON."""
        return {
            "boxes": [asdict(box) for box in self.boxes],
            "targets": [asdict(target) for target in self.targets],
        }


def stamp_ns_of(header: Any) -> int:
    """A header's stamp in nanoseconds."""
    return int(header.stamp.sec) * 1_000_000_000 + int(header.stamp.nanosec)


def boxes_from(message: Any) -> Tuple[Box, ...]:
    """The detections of a ``Detection2DArray``, best first."""
    boxes = []
    for item in message.detections:
        if not item.results:
            continue
        best, box = item.results[0].hypothesis, item.bbox
        x, y = box.center.position.x - box.size_x / 2, box.center.position.y - box.size_y / 2
        xywh = (round(x, 1), round(y, 1), round(box.size_x, 1), round(box.size_y, 1))
        boxes.append(Box(best.class_id, item.id, round(best.score, 3), xywh))
    return tuple(sorted(boxes, key=lambda box: -box.score))


def targets_from(message: Any) -> Tuple[TargetView, ...]:
    """The targets of a ``TargetArray``."""
    return tuple(
        TargetView(
            item.template_id,
            _STATES.get(item.state, SEARCHING),
            item.track_id,
            round(item.presence, 3),
            (item.window.x_offset, item.window.y_offset, item.window.width, item.window.height)
            if item.window.width
            else None,
        )
        for item in message.targets
    )
