"""The shapes an engine takes.

A profile gives every input a smallest, a usual and a largest shape. TensorRT picks the kernels that
work for all and are fastest for the usual one, and reserves memory for the largest. A single
profile would fit nothing well: the detector gets large tiles while it searches, and small square
windows while it tracks. So each gets a profile. The largest tile is no larger than necessary,
because memory grows with its area and number, and a Jetson shares its memory with everything else.

A DLA takes only fixed shapes, so its engine takes one frame of the largest size.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Dict, Tuple

from refdet_core.backends.config import BackendConfig
from refdet_core.bundle import Bundle

Shape = Tuple[int, ...]

_USUAL_TILE = (976, 576)  # of a 1280x720 frame that is searched for something small
_LARGEST_WINDOW = 512  # the window is twice as wide where the target may have moved far
_MOST_WINDOWS = 5  # number of window scales, as in SiamFC


@dataclass(frozen=True)
class ShapeRange:
    """Smallest, usual and largest shape of one input."""

    least: Shape
    usual: Shape
    most: Shape


@dataclass(frozen=True)
class Profile:
    """A name for messages, and a range for each input."""

    name: str
    inputs: Dict[str, ShapeRange]


def template_profiles(bundle: Bundle, config: BackendConfig) -> Tuple[Profile, ...]:
    """For the template encoder: usually one photo, at most the maximum number of views."""
    side = bundle.template_size
    images = ShapeRange(
        (1, 3, side, side), (1, 3, side, side), (_most_views(config), 3, side, side)
    )
    return (Profile("templates", {"image": images}),)


def detector_profiles(bundle: Bundle, config: BackendConfig) -> Tuple[Profile, ...]:
    """For the detector: ``window`` and ``frame``."""
    largest = _frame(1, config.engine_max_width, config.engine_max_height, bundle)
    most = (config.engine_max_tiles, *largest[1:])
    if config.engine_dla >= 0:
        return (_detector_profile("frame", ShapeRange(largest, largest, largest), bundle, config),)
    least = _frame(1, 1, 1, bundle)
    usual = tuple(map(min, _frame(1, *_USUAL_TILE, bundle), largest))
    longest = max(largest[2:])
    usual_side = bundle.tracking.window.size
    widest = min(max(_LARGEST_WINDOW, 2 * usual_side), longest)
    side = min(usual_side, longest)
    window = ShapeRange(
        least, _frame(1, side, side, bundle), _frame(_MOST_WINDOWS, widest, widest, bundle)
    )
    return (
        _detector_profile("window", window, bundle, config),
        _detector_profile("frame", ShapeRange(least, usual, most), bundle, config),
    )


def _detector_profile(
    name: str, frames: ShapeRange, bundle: Bundle, config: BackendConfig
) -> Profile:
    one = (1, *bundle.kernel_shape)
    kernels = ShapeRange(one, one, (config.engine_max_views, *bundle.kernel_shape))
    return Profile(name, {"frame": frames, **dict.fromkeys(bundle.kernel_names, kernels)})


def _most_views(config: BackendConfig) -> int:
    return 1 if config.engine_dla >= 0 else config.engine_max_views


def _frame(count: int, width: int, height: int, bundle: Bundle) -> Shape:
    return count, 3, bundle.frame_side(height), bundle.frame_side(width)
