"""The next frame for one browser, and the picture that was sent before its result."""

from __future__ import annotations

from typing import Optional, Tuple

from refdet_ros.console.pairing import JUMP_NS, Shown

_FRESH_S = 0.03
_SOON_S = 0.07  # a frame that is not fresh is left out for one that comes within this
_SLACK_S = 0.03  # the next frame may be late by so much
_LONGEST_PAUSE_S = 1.0


class Slot:
    """Holds one frame until the link is ready for it. Times are monotonic seconds.

    At most one picture is sent before its result, so that the result does not wait behind another.
    """

    def __init__(self) -> None:
        self._newest: Optional[Shown] = None
        self._last: Optional[Shown] = None  # the newest frame that was offered, and when it came
        self._came_s = 0.0
        self._pause_s = 0.0  # between two frames, usually
        self._awaited: Optional[Tuple[int, Shown]] = None

    def offer(self, shown: Shown, now_s: float) -> Optional[Tuple[int, Shown]]:
        """Put a frame in, in place of an older one.

        Returns:
            The number of the picture that was sent before its result, once that is known: with its
            own frame and the result, or with a later frame if there is no result for it.
        """
        answered = None
        if self._awaited is not None and not shown.pending:
            number, awaited = self._awaited
            if not _is_before(shown, awaited):
                self._awaited, answered = None, (number, shown)
                if shown.frame.stamp_ns == awaited.frame.stamp_ns:
                    return answered
        if self._newest is None or not _is_before(shown, self._newest):
            self._newest = shown
        self._note_arrival(shown, now_s)
        return answered

    def wait_s(self, now_s: float) -> Optional[float]:
        """How long to wait before sending the frame; None: there is nothing to send now.

        A frame that has waited for the link is skipped if the next one is due soon.
        """
        if self._newest is None or (self._newest.pending and self._awaited is not None):
            return None
        waited_s = now_s - self._came_s
        next_s = self._pause_s - waited_s
        return 0.0 if waited_s <= _FRESH_S or next_s > _SOON_S else max(0.0, next_s + _SLACK_S)

    def take(self, number: int) -> Shown:
        """Take the frame out, to be sent as the picture of this number."""
        shown, self._newest = self._newest, None
        assert shown is not None
        if shown.pending:
            self._awaited = (number, shown)
        return shown

    def clear(self) -> None:
        """Forget everything."""
        self._newest = self._last = self._awaited = None

    def _note_arrival(self, shown: Shown, now_s: float) -> None:
        """Measure ages from a frame's own arrival, not from that of its result."""
        last = self._last
        if last is None:
            self._last, self._came_s = shown, now_s
        elif shown.frame is not last.frame and not _is_before(shown, last):
            pause_s = min(now_s - self._came_s, _LONGEST_PAUSE_S)
            self._pause_s += 0.2 * (pause_s - self._pause_s)
            self._last, self._came_s = shown, now_s


def _is_before(one: Shown, other: Shown) -> bool:
    """Whether one frame precedes the other; not if the camera started anew in between."""
    return 0 < other.frame.stamp_ns - one.frame.stamp_ns < JUMP_NS
