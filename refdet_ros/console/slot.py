"""The newest frame for one browser, and the picture that travels ahead of its result."""

from __future__ import annotations

from typing import Optional, Tuple

from refdet_ros.console.pairing import JUMP_NS, Shown

_FRESH_S, _OVERDUE_S = 0.03, 0.1


class Slot:
    """Holds one frame until the link is ready for it. Times are monotonic seconds.

    At most one picture travels ahead of its result, so that no picture is in the way of a result.
    """

    def __init__(self) -> None:
        self._newest: Optional[Shown] = None
        self._offered_s = 0.0
        self._awaited: Optional[Tuple[int, Shown]] = None

    def offer(self, shown: Shown, now_s: float) -> Optional[Tuple[int, Shown]]:
        """Put a frame in, in place of an older one.

        Returns:
            The number of the picture that went ahead and now has its answer: its own frame with
            the result, or a later frame if it gets none.
        """
        answered = None
        if self._awaited is not None and not shown.pending:
            number, awaited = self._awaited
            if not _is_before(shown, awaited):
                self._awaited, answered = None, (number, shown)
                if shown.frame.stamp_ns == awaited.frame.stamp_ns:
                    return answered
        if self._newest is None or not _is_before(shown, self._newest):
            self._newest, self._offered_s = shown, now_s
        return answered

    def wait_s(self, now_s: float) -> Optional[float]:
        """How long the frame should stay here; None: until something changes.

        A frame that has waited for the link is old. It is left out for the next one, unless that
        does not come soon.
        """
        if self._newest is None or (self._newest.pending and self._awaited is not None):
            return None
        waited_s = now_s - self._offered_s
        return 0.0 if waited_s <= _FRESH_S else max(0.0, _OVERDUE_S - waited_s)

    def take(self, number: int) -> Shown:
        """Take the frame out, to be sent as the picture of this number."""
        shown, self._newest = self._newest, None
        assert shown is not None
        if shown.pending:
            self._awaited = (number, shown)
        return shown

    def clear(self) -> None:
        """Forget everything."""
        self._newest = self._awaited = None


def _is_before(one: Shown, other: Shown) -> bool:
    """Whether a frame is the earlier one; not if the camera started anew since."""
    return 0 < other.frame.stamp_ns - one.frame.stamp_ns < JUMP_NS
