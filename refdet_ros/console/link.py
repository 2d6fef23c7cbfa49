"""Chooses how large a picture to send to a browser, from how long the last ones took.

The browser acknowledges each picture once it has decoded it. After a late picture the next one is
smaller at once; it becomes larger only after several early ones.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass
from typing import Deque, Dict, Tuple

from refdet_ros.console.frames import STILL, Rung

LADDER = (
    Rung(240, 30),
    Rung(320, 36),
    Rung(400, 40),
    Rung(480, 43),
    Rung(560, 46),
    Rung(640, 50),
    Rung(800, 55),
    Rung(1024, 62),
    Rung(1280, 70),
    Rung(1600, 74),
    Rung(1920, 78),
)
GROWTH = 1.5
"""About how many times the bytes of a picture on the rung below."""
AIM_S, LATE_S = 0.16, 0.22
"""Time to send a picture, without the link's own round trip: a larger picture must be expected to
arrive within the first, and one that takes longer than the second is late."""
_START = 1  # a radio link must carry the first pictures, too
_STILL_RUNGS = 4  # GROWTH**4 times AIM_S
_EARLY = 3  # pictures in a row that must have left room for a larger one
_SHORTEST_S = 0.005
_LONGEST_ROUND_TRIP_S = 1.0
_MOST_IN_FLIGHT = 2
_GIVE_UP_S = 4.0


@dataclass(frozen=True)
class _Sent:
    at_s: float
    rung: int


class Link:
    """One browser's link. Times are monotonic seconds.

    Attributes:
        frame_width: of the camera; wider pictures would show no more.
    """

    def __init__(self) -> None:
        self.frame_width = LADDER[-1].width
        self._rung = _START
        self._in_flight: Dict[int, _Sent] = {}
        self._room: Deque[int] = deque(maxlen=_EARLY)
        self._sending_s = math.inf
        self._round_trip_s = 0.0
        self._sizes: Deque[Tuple[float, int]] = deque()

    @property
    def rung(self) -> Rung:
        """What to send next."""
        return LADDER[self._rung]

    @property
    def still(self) -> Rung:
        """For a held frame: as sharp as the link carries within about a second."""
        rung = self._rung + _STILL_RUNGS
        return LADDER[rung] if rung < len(LADDER) else STILL

    def may_send(self, now_s: float) -> bool:
        """Whether the next picture would not wait behind others."""
        if not self._in_flight:
            return True
        times_s = [picture.at_s for picture in self._in_flight.values()]
        if now_s - min(times_s) > _GIVE_UP_S:
            # The acknowledgement will not come: the page went to the background.
            self._in_flight.clear()
            return True
        # With a long round trip, the link is free long before the acknowledgement arrives.
        return (
            len(times_s) < _MOST_IN_FLIGHT
            and self._round_trip_s > self._sending_s
            and now_s - max(times_s) > self._sending_s
        )

    def sent(self, number: int, rung: Rung, size: int, now_s: float) -> None:
        """A picture of so many bytes went out."""
        self._in_flight[number] = _Sent(now_s, LADDER.index(rung))
        self._sizes.append((now_s, size))
        while self._sizes and self._sizes[0][0] < now_s - 3.0:
            self._sizes.popleft()

    def acknowledged(self, number: int, now_s: float, round_trip_s: float = 0.0) -> None:
        """The browser has the picture.

        Args:
            round_trip_s: time in which a few bytes go to the browser and back.
        """
        picture = self._in_flight.pop(number, None)
        if picture is None:
            return
        # Pictures arrive in order, and the browser does not acknowledge one it has skipped.
        for other in [key for key in self._in_flight if key < number]:
            del self._in_flight[other]
        self._round_trip_s = min(max(round_trip_s, 0.0), _LONGEST_ROUND_TRIP_S)
        sending_s = max(now_s - picture.at_s - self._round_trip_s, _SHORTEST_S)
        self._sending_s = sending_s
        # The highest rung on which this picture would have arrived in time.
        fitting = picture.rung + math.floor(math.log(AIM_S / sending_s, GROWTH))
        self._room.append(fitting)
        if sending_s > LATE_S:
            self._rung = max(0, min(self._rung, fitting))
        elif (
            len(self._room) == _EARLY
            and min(self._room) > self._rung
            and self.rung.width < min(self.frame_width, LADDER[-1].width)
        ):
            self._rung += 1

    def kbit_per_s(self, now_s: float) -> float:
        """Data rate of the pictures in the last three seconds."""
        return sum(size for at_s, size in self._sizes if at_s > now_s - 3.0) * 8 / 3000
