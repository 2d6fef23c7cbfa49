"""At which scales a frame is searched for an object of this size.

A network finds objects best at one size: it sees smaller ones as blurred spots, and of larger ones
only a part. So an object whose size in the frame is known is searched at the scale that shows it at
that size, and at a coarser one, which costs next to nothing, in case it came closer. An object of
unknown size needs a pyramid: a few scales, each for its share of the sizes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Optional, Tuple

AUTOMATIC_SCALE = 0.0
MIN_SCALE, MAX_SCALE = 0.25, 4.0
"""The range of a scale set by the user."""

_STEPS_PER_OCTAVE = 2  # rounds scales, so that objects of similar sizes share a pass
_TOLERANCE = 1.0  # octaves around the best size within which the network still finds an object
_COARSEST, _FINEST = 0.125, 2.0  # enlarging further adds no detail
_MOST_PIXELS = 4.5e6  # of a pass over the frame in the network: a finer scale takes too long
# An object of unknown size: shares of the frame's shorter side, and how small is small enough.
_LEAST_SHARE, _MOST_SHARE, _LEAST_PX = 1 / 42, 3 / 8, 17.0
_GROWTH_PER_S = 0.25  # octaves: 60 m away, a drone that comes closer at 10 m/s


@dataclass(frozen=True)
class SizeRange:
    """The possible sizes of an object in the frame: square root of its box's area, pixels."""

    least_px: float
    most_px: float

    def after(self, passed_s: float) -> SizeRange:
        """The possible sizes some seconds later, as object or camera comes closer or leaves."""
        factor = 2 ** (_GROWTH_PER_S * min(max(0.0, passed_s), 60.0))
        return SizeRange(self.least_px / factor, self.most_px * factor)


def any_size(frame_size: Tuple[int, int]) -> SizeRange:
    """The sizes of an unknown object in a frame of ``(width, height)`` pixels."""
    side = min(frame_size)
    return SizeRange(min(_LEAST_PX, _LEAST_SHARE * side), _MOST_SHARE * side)


def search_scales(
    frame_size: Tuple[int, int], expected: Optional[SizeRange], best_object_px: float
) -> Tuple[float, ...]:
    """Network pixels per frame pixel of each pass over the frame, the most promising first.

    Args:
        frame_size: ``(width, height)`` in pixels.
        expected: the possible sizes of the object in this frame; None: any.
        best_object_px: the size at which the network finds objects best, in network pixels.
    """
    possible = any_size(frame_size)
    if expected is None:
        expected = possible
    # A size that was only predicted is limited to what is possible; a size that was seen is not.
    middle = math.sqrt(expected.least_px * expected.most_px)
    least = max(expected.least_px, min(possible.least_px, middle))
    most = min(expected.most_px, max(possible.most_px, middle))
    octaves = math.log2(most / least)
    count = max(1, math.ceil(octaves / (2 * _TOLERANCE) - 1e-6))
    sizes = [least * 2 ** ((i + 0.5) * octaves / count) for i in range(count)]
    sizes.sort(key=lambda size: abs(math.log2(size / middle)))
    scales = [_allowed(best_object_px / size, frame_size) for size in sizes]
    covered_px = best_object_px / min(scales) * 2**_TOLERANCE
    if covered_px < possible.most_px:
        scales.append(_allowed(min(scales) / 4**_TOLERANCE, frame_size))
    return tuple(dict.fromkeys(scales))


def _allowed(scale: float, frame_size: Tuple[int, int]) -> float:
    """The nearest step that neither enlarges too much nor costs too much."""
    most = min(_FINEST, math.sqrt(_MOST_PIXELS / (frame_size[0] * frame_size[1])))
    highest = math.floor(math.log2(most) * _STEPS_PER_OCTAVE + 1e-6)
    lowest = round(math.log2(_COARSEST) * _STEPS_PER_OCTAVE)
    step = round(math.log2(scale) * _STEPS_PER_OCTAVE)
    return float(2 ** (max(lowest, min(step, highest)) / _STEPS_PER_OCTAVE))
