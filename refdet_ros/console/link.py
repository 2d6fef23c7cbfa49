"""How much of a picture a browser's link carries, learned from its acknowledgements.

The browser acknowledges a picture when it has drawn it. The time that takes tells whether the
link is idle, busy or blocked: quality goes down quickly and up slowly, and while a picture is on
its way only as many follow as the link is known to carry, so that none waits in a queue.
"""

from __future__ import annotations

import math
from collections import deque
from typing import Deque, Dict, Tuple

from refdet_ros.console.frames import Rung

LADDER = (
    Rung(320, 35),
    Rung(480, 42),
    Rung(640, 50),
    Rung(854, 60),
    Rung(1280, 70),
    Rung(1920, 78),
)
_START = 1  # a radio link must carry the first pictures, too
_GROWTH = 1.9  # of a picture's bytes from one rung to the next
SLOW_S, FAST_S = 0.2, 0.09
"""Times from sending to drawn above which a picture is too large, and below which it may grow."""
_SLOW_OF = (2, 4)
_CALM = 8  # fast pictures in a row before the next rung is tried
_GIVE_UP_S = 4.0


class Link:
    """One browser's link. Times are monotonic seconds."""

    def __init__(self) -> None:
        self._rung = _START
        self._in_flight: Dict[int, float] = {}
        self._slow: Deque[bool] = deque(maxlen=_SLOW_OF[1])
        self._calm = 0
        self._patience = _CALM
        self.delay_s = 0.0
        self._sizes: Deque[Tuple[float, int]] = deque()

    @property
    def rung(self) -> Rung:
        """What to send next."""
        return LADDER[self._rung]

    def may_send(self, now_s: float) -> bool:
        """Whether the next picture would not wait behind others."""
        if not self._in_flight:
            return True
        oldest_s = now_s - min(self._in_flight.values())
        if oldest_s > _GIVE_UP_S:
            # Its acknowledgement is not coming any more (the page was in the background).
            self._in_flight.clear()
            return True
        # A second one only where the first arrives soon: then the two do not share the link.
        return len(self._in_flight) < 2 and self.delay_s < FAST_S and oldest_s < FAST_S

    def sent(self, number: int, size: int, now_s: float) -> None:
        """A picture of so many bytes went out."""
        self._in_flight[number] = now_s
        self._sizes.append((now_s, size))
        while self._sizes and self._sizes[0][0] < now_s - 3.0:
            self._sizes.popleft()

    def acknowledged(self, number: int, now_s: float) -> None:
        """The picture has been drawn."""
        started_s = self._in_flight.pop(number, None)
        if started_s is None:
            return
        # Drawn in order: what was sent earlier and not drawn was replaced by this one.
        for other in [key for key in self._in_flight if key < number]:
            del self._in_flight[other]
        delay_s = now_s - started_s
        self.delay_s += 0.3 * (delay_s - self.delay_s) if self.delay_s else delay_s
        self._slow.append(delay_s > SLOW_S)
        if sum(self._slow) >= _SLOW_OF[0] or delay_s > 3 * SLOW_S:
            self._step(-max(1, math.ceil(math.log(delay_s / SLOW_S, _GROWTH))))
            # A rung that failed is tried again later and later.
            self._patience = min(16 * _CALM, 2 * self._patience)
        elif delay_s < FAST_S:
            self._calm += 1
            if self._calm >= self._patience or self.delay_s * _GROWTH < FAST_S / 2:
                self._step(+1)
        else:
            self._calm = 0

    def kbit_per_s(self, now_s: float) -> float:
        """What pictures took of the link in the last three seconds."""
        return sum(size for at_s, size in self._sizes if at_s > now_s - 3.0) * 8 / 3000

    def _step(self, by: int) -> None:
        rung = min(max(self._rung + by, 0), len(LADDER) - 1)
        if rung != self._rung:
            self._rung = rung
            self._slow.clear()
        self._calm = 0
