"""When each frame was taken, as seconds that only go forward."""

from __future__ import annotations

from typing import Optional, Tuple


class FrameClock:
    """Seconds since the first frame, from the frames' stamps where these go forward.

    Stamps may stand still, be missing, or jump back (a bag that starts again, a simulation reset,
    joined videos). Then the time between arrivals counts, so that an unseen target is still lost
    after the usual time. Counting from the first frame keeps the digits of small differences.
    """

    def __init__(self) -> None:
        self._time_s = 0.0
        self._stamped: Optional[Tuple[int, float]] = None
        self._arrived_s: Optional[float] = None

    def time_s(self, stamp_ns: Optional[int], arrived_s: float) -> float:
        """Seconds since the first frame.

        Args:
            stamp_ns: of the frame; None if it has none.
            arrived_s: when it arrived, on a clock that never goes back.
        """
        if stamp_ns is not None and self._stamped is not None and stamp_ns > self._stamped[0]:
            since_s = (stamp_ns - self._stamped[0]) * 1e-9
            self._time_s = max(self._time_s, self._stamped[1] + since_s)
        elif self._arrived_s is not None:
            self._time_s += max(0.0, arrived_s - self._arrived_s)
        if stamp_ns is not None:
            self._stamped = stamp_ns, self._time_s
        self._arrived_s = arrived_s
        return self._time_s
