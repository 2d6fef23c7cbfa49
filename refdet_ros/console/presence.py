"""The presence of each target over the last two minutes."""

from __future__ import annotations

from collections import deque
from typing import Deque, Dict, List, Optional, Tuple

from refdet_ros.console.results import Result

SPAN_S = 120.0
BIN_S = 0.25


class Presence:
    """A curve for each target, in steps of a quarter of a second.

    With a search that follows, the value is the target's presence; with one that looks at every
    frame anew it is the score of its best detection, None where there was none.
    """

    def __init__(self) -> None:
        self._bins: Deque[Tuple[int, Dict[str, Optional[float]]]] = deque()
        self._told = 0

    def add(self, result: Result, templates: List[str], now_s: float) -> None:
        """Take a frame's result (``now_s`` is wall-clock time) and the templates in use."""
        values: Dict[str, Optional[float]] = dict.fromkeys(templates)
        for box in result.boxes:
            values[box.template_id] = max(box.score, values.get(box.template_id) or 0.0)
        for target in result.targets:
            values[target.template_id] = target.presence
        number = int(now_s / BIN_S)
        if self._bins and self._bins[-1][0] >= number:
            self._bins[-1][1].update(values)
        else:
            self._bins.append((number, values))
        while self._bins and self._bins[0][0] < number - SPAN_S / BIN_S:
            self._bins.popleft()

    def points(self, after: int = 0) -> Tuple[int, List[Tuple[float, Dict[str, Optional[float]]]]]:
        """The finished steps after a mark, and the new mark.

        Returns:
            the mark, and for each step its wall-clock second and the value by template id.
        """
        finished = [item for item in list(self._bins)[:-1] if item[0] > after]
        mark = finished[-1][0] if finished else after
        return mark, [(number * BIN_S, values) for number, values in finished]

    def forget(self) -> None:
        """Start over."""
        self._bins.clear()
