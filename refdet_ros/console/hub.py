"""All known detectors, found by their diagnostics."""

from __future__ import annotations

import asyncio
from typing import Any, Callable, Dict, List, Optional

from refdet_ros.console.frames import Encoder
from refdet_ros.console.options import ConsoleOptions
from refdet_ros.console.ros.side import MAX_DETECTORS, RosSide, Status
from refdet_ros.console.session import DetectorSession
from refdet_ros.console.uploads import Uploads


class Hub:
    """State shared by all browsers. Use it from the event loop only.

    Attributes:
        sessions: by the detector's fully qualified name.
    """

    def __init__(self, options: ConsoleOptions, ros_arguments: Optional[List[str]] = None) -> None:
        self.options = options
        self.encoder = Encoder()
        self.uploads = Uploads(options.limits)
        self.sessions: Dict[str, DetectorSession] = {}
        self.on_change: List[Callable[[], None]] = []
        self.ros = RosSide(asyncio.get_running_loop(), self._on_status, ros_arguments)

    def plain_detectors(self) -> Dict[str, Any]:
        """The detectors to choose from."""
        return {"detectors": [session.plain_status() for session in self._sorted()]}

    def choose(self, node: Optional[str]) -> Optional[DetectorSession]:
        """The detector of that name, or the first one without a name."""
        if node:
            return self.sessions.get(node)
        return next(iter(self._sorted()), None)

    def close(self) -> None:
        """End recordings and leave ROS."""
        for session in self.sessions.values():
            session.stop_recording()
        self.ros.close()
        self.encoder.close()

    def _sorted(self) -> List[DetectorSession]:
        return [self.sessions[name] for name in sorted(self.sessions)]

    def _on_status(self, status: Status) -> None:
        session = self.sessions.get(status.node)
        is_new = session is None
        if session is None:
            if len(self.sessions) >= MAX_DETECTORS:
                return
            session = DetectorSession(self.ros, status.node, self.encoder)
            self.sessions[status.node] = session
        session.status(status)
        if is_new:
            for changed in list(self.on_change):
                changed()
