"""Matches each camera frame with the results that carry its stamp.

A frame waits until the detector has answered it, so that a box is drawn on exactly the picture it
was found in. While the detector answers nothing (paused, not active, no model yet), frames pass at
once and without boxes. What is newer than the newest pair that was shown is kept, the rest is not.

A picture may travel while the detector looks at its frame: where the detector answers nearly all
frames, each is also shown as soon as it comes, as pending.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Any, Callable, Dict, Optional, Tuple

from refdet_ros.console.frames import Frame
from refdet_ros.console.results import Box, Result, TargetView

SILENCE_S = (0.6, 4.0)
"""Without a result for so long, the detector counts as silent: three times its usual pause
between two results, but within these bounds."""
_HEATMAP_SILENCE_S = 1.5
_KEPT_BYTES = 96 * 1024 * 1024
_KEPT = 64
JUMP_NS = 1_000_000_000
"""A stamp so far back means that the camera started anew, or that a bag plays again."""
_MOST = 0.7  # share of the frames that the detector answers, from which on the next are pending


@dataclass
class _Entry:
    frame: Optional[Frame] = None
    result: Optional[Result] = None
    heatmap: Optional[Any] = None


@dataclass(frozen=True)
class Shown:
    """A frame to be shown.

    Attributes:
        result: None where the detector did not look at the frame.
        heatmap: the message of the heatmap topic, where one was wanted and came.
        pending: the result will probably follow; then the frame comes once more, with it.
    """

    frame: Frame
    result: Optional[Result] = None
    heatmap: Optional[Any] = None
    pending: bool = False


class Pairing:
    """Frames and results in, pairs out, in the order of their stamps.

    Args:
        show: called with each pair.
        answered: called with every result, and the frame where it is at hand.
        ahead: whether frames may be shown as pending.
    """

    def __init__(
        self,
        show: Callable[[Shown], None],
        answered: Callable[[Result, Optional[Frame]], None] = lambda result, frame: None,
        ahead: bool = False,
    ) -> None:
        self._show = show
        self._answered = answered
        self._ahead = ahead
        self._share = 0.0
        self._entries: OrderedDict[int, _Entry] = OrderedDict()
        self._boxes: Dict[int, Tuple[Box, ...]] = {}
        self._targets: Dict[int, Tuple[TargetView, ...]] = {}
        self._newest_ns = 0
        self._answered_s = float("-inf")
        self._pause_s = 0.0
        self._heatmap_s = float("-inf")
        self.wants_heatmap = False

    def frame(self, frame: Frame, now_s: float) -> None:
        """A camera frame came; ``now_s`` is monotonic."""
        if frame.stamp_ns < self._newest_ns - JUMP_NS:
            # The camera or the bag started anew, so all entries are outdated.
            self._entries.clear()
            self._newest_ns = 0
        if now_s - self._answered_s > min(max(SILENCE_S[0], 3 * self._pause_s), SILENCE_S[1]):
            if frame.stamp_ns > self._newest_ns:
                self._forget_until(frame.stamp_ns)
                self._entries[frame.stamp_ns] = _Entry(frame)
                self._show(Shown(frame))
            return
        entry = self._entry(frame.stamp_ns, len(frame.cdr))
        if entry is not None:
            entry.frame = frame
            if self._ahead and self._share > _MOST and entry.result is None:
                self._show(Shown(frame, pending=True))
            self._offer(frame.stamp_ns, now_s)

    def boxes(self, stamp_ns: int, boxes: Tuple[Box, ...], now_s: float) -> None:
        """The detections of the frame with this stamp came."""
        self._boxes[stamp_ns] = boxes
        self._join(stamp_ns, now_s)

    def targets(self, stamp_ns: int, targets: Tuple[TargetView, ...], now_s: float) -> None:
        """The target states of the frame with this stamp came."""
        self._targets[stamp_ns] = targets
        self._join(stamp_ns, now_s)

    def heatmap(self, stamp_ns: int, message: Any, now_s: float) -> None:
        """The heatmap of the frame with this stamp came."""
        self._heatmap_s = now_s
        entry = self._entry(stamp_ns)
        if entry is not None:
            entry.heatmap = message
            self._offer(stamp_ns, now_s)

    def _join(self, stamp_ns: int, now_s: float) -> None:
        """Combine the two halves of a result once both are there, however late."""
        if stamp_ns not in self._boxes or stamp_ns not in self._targets:
            for half in (self._boxes, self._targets):
                while len(half) > _KEPT:
                    del half[next(iter(half))]
            return
        result = Result(stamp_ns, self._boxes.pop(stamp_ns), self._targets.pop(stamp_ns))
        pause_s = min(now_s - self._answered_s, SILENCE_S[1])
        self._pause_s += 0.2 * (pause_s - self._pause_s)
        self._answered_s = now_s
        self._count_answer(stamp_ns)
        entry = self._entry(stamp_ns)
        self._answered(result, entry.frame if entry is not None else None)
        if entry is not None:
            entry.result = result
            self._offer(stamp_ns, now_s)

    def _count_answer(self, stamp_ns: int) -> None:
        """Update the share of answered frames; unanswered ones before this count as left out."""
        for key, entry in self._entries.items():
            if key < stamp_ns and entry.frame is not None and entry.result is None:
                self._share *= 0.9
        self._share += 0.1 * (1 - self._share)

    def _entry(self, stamp_ns: int, size: int = 0) -> Optional[_Entry]:
        """The entry of a stamp, before so many bytes are added to it.

        None if something newer has been shown.
        """
        if stamp_ns <= self._newest_ns and stamp_ns not in self._entries:
            return None
        self._entries.setdefault(stamp_ns, _Entry())
        frames = [entry.frame for entry in self._entries.values() if entry.frame is not None]
        held = size + sum(len(frame.cdr) for frame in frames)
        while len(self._entries) > 1 and (len(self._entries) > _KEPT or held > _KEPT_BYTES):
            _, dropped = self._entries.popitem(last=False)
            held -= len(dropped.frame.cdr) if dropped.frame is not None else 0
        return self._entries.get(stamp_ns)

    def _offer(self, stamp_ns: int, now_s: float) -> None:
        """Show the entry if it is complete."""
        entry = self._entries[stamp_ns]
        if entry.frame is None or entry.result is None:
            return
        expected = self.wants_heatmap and now_s - self._heatmap_s < _HEATMAP_SILENCE_S
        if expected and entry.heatmap is None:
            # A heatmap that does not come must not hold back more than one frame.
            for earlier, other in list(self._entries.items()):
                if earlier < stamp_ns and other.frame and other.result:
                    self._emit(earlier, other)
            return
        self._emit(stamp_ns, entry)

    def _emit(self, stamp_ns: int, entry: _Entry) -> None:
        assert entry.frame is not None
        self._forget_until(stamp_ns)
        self._show(Shown(entry.frame, entry.result, entry.heatmap))

    def _forget_until(self, stamp_ns: int) -> None:
        self._newest_ns = max(self._newest_ns, stamp_ns)
        for key in [key for key in self._entries if key <= stamp_ns]:
            del self._entries[key]
