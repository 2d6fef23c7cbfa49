"""Positions of the targets from the node ``locate``; none if it does not run."""

from __future__ import annotations

import math
import time
from typing import Any, Callable, Dict, List, Optional

from refdet_ros.console.events import Event, Position
from refdet_ros.console.ros.side import RosSide

TOPIC = "locations"
_FRESH_S = 3.0


class Positions:
    """The newest location of each target.

    Args:
        topic: of the detector's namespace.
    """

    def __init__(self, ros: RosSide, topic: Callable[[str], str]) -> None:
        self._newest: Dict[str, Dict[str, Any]] = {}
        self._at_s: Dict[str, float] = {}
        try:
            from refdet_msgs.msg import TargetLocationArray
        except ImportError:  # messages built before there was such a node
            return
        ros.in_ros(
            lambda: ros.node.create_subscription(
                TargetLocationArray, topic(TOPIC), lambda message: ros.post(self.add, message), 10
            )
        )

    def add(self, message: Any) -> None:
        """Take the locations of one frame; of several of one template the most probable."""
        best: Dict[str, Any] = {}
        for item in message.locations:
            if item.template_id not in best or item.score > best[item.template_id].score:
                best[item.template_id] = item
        for name, item in best.items():
            self._newest[name] = _plain(item)
            self._at_s[name] = time.time()

    def plain(self) -> Dict[str, Any]:
        """The newest location of each target by template id, with its age in seconds."""
        now_s = time.time()
        return {
            name: {**content, "age": now_s - self._at_s[name]}
            for name, content in self._newest.items()
        }

    def of(self, template_id: str) -> Optional[Position]:
        """The target's position on Earth, if it is recent."""
        content = self._newest.get(template_id)
        fresh = time.time() - self._at_s.get(template_id, 0.0) < _FRESH_S
        if content is None or not fresh or content["latitude"] is None:
            return None
        return Position(content["latitude"], content["longitude"], content["altitude"])

    def keep_only(self, template_ids: List[str]) -> None:
        """Forget all other targets."""
        for gone in set(self._newest) - set(template_ids):
            del self._newest[gone], self._at_s[gone]


def _plain(item: Any) -> Dict[str, Any]:
    geo = item.has_position and item.has_geo
    has_bearing = any((item.bearing.x, item.bearing.y, item.bearing.z))
    spread = None
    if item.has_position:
        covariance = item.track_position_covariance
        spread = _finite(math.sqrt(max(0.0, covariance[0] + covariance[4])))
    velocity = item.track_velocity
    return {
        "azimuth": _finite(item.azimuth_deg) if has_bearing else None,
        "elevation": _finite(item.elevation_deg) if has_bearing else None,
        "distance": _finite(item.distance) if item.has_position else None,
        "uncertainty": spread,
        "speed": _finite(math.hypot(velocity.x, velocity.y)) if item.has_position else None,
        "latitude": _finite(item.latitude) if geo else None,
        "longitude": _finite(item.longitude) if geo else None,
        "altitude": _finite(item.altitude) if geo else None,
        "problem": item.problem,
    }


def _finite(value: float) -> Optional[float]:
    return float(value) if math.isfinite(value) else None


def places(events: List[Event]) -> List[Any]:
    """The events that have a position, for a map."""
    from refdet_ros.locate.export import Place

    return [
        Place(
            f"{event.template_id} {event.kind}",
            event.position.latitude,
            event.position.longitude,
            event.position.altitude,
            event.time_s,
            {"event": event.kind, "target": event.template_id, "track": event.track_id},
        )
        for event in events
        if event.position is not None
    ]
