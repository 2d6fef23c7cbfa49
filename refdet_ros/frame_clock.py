"""When each frame was taken, as seconds that only go forward."""

from __future__ import annotations

from typing import Optional


class FrameClock:
    """Adds up the time between frames, from their stamps where these go forward.

    Stamps may stand still, be missing, or jump back (a bag that begins again, a simulation that
    is reset). Then the time between the arrivals counts, so that a target that is not seen is lost
    after as long as ever. Counting from the first frame keeps the digits of small differences.
    """

    def __init__(self) -> None:
        self._time_s = 0.0
        self._stamp_ns: Optional[int] = None
        self._arrived_s: Optional[float] = None

    def time_s(self, stamp_ns: Optional[int], arrived_s: float) -> float:
        """Seconds since the first frame.

        Args:
            stamp_ns: of the frame; None if it has none.
            arrived_s: when it arrived, on a clock that never goes back.
        """
        if stamp_ns is not None and self._stamp_ns is not None and stamp_ns > self._stamp_ns:
            self._time_s += (stamp_ns - self._stamp_ns) * 1e-9
        elif self._arrived_s is not None:
            self._time_s += max(0.0, arrived_s - self._arrived_s)
        self._stamp_ns, self._arrived_s = stamp_ns, arrived_s
        return self._time_s
