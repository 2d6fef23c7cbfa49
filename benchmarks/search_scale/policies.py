"""The ways to choose scales that are compared."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from benchmarks.search_scale.looks import SCALES
from refdet_core.search.scales import SizeRange, search_scales

KNOWN_SIZE, PHOTO = "automatic, size known", "automatic, any photo"


@dataclass(frozen=True)
class Policy:
    """One way to choose the scales of a frame.

    Attributes:
        name: in tables and plots.
        scales: from the frame's ``(width, height)`` and the object's sizes in its references.
    """

    name: str
    scales: Callable[[tuple[int, int], SizeRange], Sequence[float]]


def all_policies(best_object_px: float) -> list[Policy]:
    """Every scale for all objects, and what the detector does by itself."""
    forced = [
        Policy(f"{scale:.2g}" if scale < 1 else f"{scale:.3g}", lambda _, __, s=scale: (s,))
        for scale in SCALES
    ]
    return [
        *forced,
        Policy(KNOWN_SIZE, lambda frame, sizes: search_scales(frame, sizes, best_object_px)),
        Policy(PHOTO, lambda frame, _: search_scales(frame, None, best_object_px)),
    ]
