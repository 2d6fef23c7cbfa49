"""What the node ``locate`` did in the last second, as one entry of ``/diagnostics``."""

from __future__ import annotations

from typing import Dict, List, Optional, Tuple

from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue

from refdet_ros.locate.geodesy import GeoPoint
from refdet_ros.locate.locator import Location


class Tally:
    """Counts frames and targets between two diagnostics.

    Attributes:
        fix_problem: why GNSS fixes cannot be used; empty if they can.
    """

    def __init__(self) -> None:
        self.fix_problem = ""
        self._begin()

    def _begin(self) -> None:
        self._frames = 0
        self._without_pose = 0
        self._pose_problem = ""
        self._located: Dict[str, int] = {}
        self._problems: Dict[str, str] = {}

    def frame(self, pose_problem: str) -> None:
        """Count a frame; the problem is empty where its camera pose is known."""
        self._frames += 1
        if pose_problem:
            self._without_pose += 1
            self._pose_problem = pose_problem

    def target(self, template_id: str, location: Location) -> None:
        """Count a detection."""
        if location.position is not None:
            self._located[template_id] = self._located.get(template_id, 0) + 1
            self._problems.pop(template_id, None)
        else:
            self._problems[template_id] = location.problem

    def to_diagnostics(
        self, name: str, detections_topic: str, origin: Optional[GeoPoint], stamp: Time
    ) -> DiagnosticArray:
        """The entry for the time since the last call; counting begins anew.

        Args:
            name: the node's fully qualified name.
            origin: of the fixed frame, if it is known.
        """
        level, sentence = self._verdict(detections_topic)
        values = [
            ("frames", str(self._frames)),
            ("frames without camera pose", str(self._without_pose)),
            ("camera pose", self._pose_problem or "known"),
            *((f"positions: {key}", str(count)) for key, count in self._located.items()),
            *((f"no position: {key}", text) for key, text in self._problems.items()),
            (
                "origin",
                "unknown"
                if origin is None
                else f"{origin.latitude:.7f}, {origin.longitude:.7f}, {origin.altitude:.1f} m",
            ),
            ("fix", self.fix_problem or "no problem"),
        ]
        status = DiagnosticStatus(
            level=level,
            # Not ": refdet", by which consoles know a detector.
            name="{}: positions".format(name.lstrip("/")),
            message=sentence,
            values=[KeyValue(key=key, value=value) for key, value in values],
        )
        array = DiagnosticArray(status=[status])
        array.header.stamp = stamp
        self._begin()
        return array

    def _verdict(self, detections_topic: str) -> Tuple[bytes, str]:
        if not self._frames:
            return (
                DiagnosticStatus.WARN,
                f"no detections on '{detections_topic}'; is the detector active?",
            )
        problems: List[str] = []
        if self._without_pose:
            problems.append(
                f"{self._without_pose} of {self._frames} frames without the camera's pose: "
                + self._pose_problem
            )
        problems += [
            f"'{key}' has no position: {text}"
            for key, text in self._problems.items()
            if text != self._pose_problem
        ]
        if problems:
            return DiagnosticStatus.WARN, "; ".join(problems)
        if not self._located:
            return DiagnosticStatus.OK, "nothing detected"
        names = ", ".join(f"'{key}'" for key in self._located)
        return DiagnosticStatus.OK, f"located {names}"
