"""Which crop around a box a network gets, and at what size."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Tuple

from refdet_core.errors import BundleError
from refdet_core.imaging import BORDERS, GREY, Border, Crop
from refdet_core.types import BoxXYXY


@dataclass(frozen=True)
class CropRule:
    """A crop around a box of width ``w`` and height ``h``: ``f (w + p)`` by ``f (h + p)``, with
    ``p = c (w + h)``.

    SiamFC (Bertinetto et al., ECCV-W 2016) takes squares of that area with ``c = 0.5``: ``f = 1``
    for the template and 2 for the search window. FEAR (Borsuk et al., ECCV 2022) takes ``c = 0``
    and stretches the box, 1.4 and 5 times as large, to a square.

    Attributes:
        size: side of the network's square input in pixels.
        context: ``c``, the share of the box's width and height added on both sides together.
        factor: ``f``.
        stretched: the crop has the box's aspect ratio and is stretched to the square input;
            otherwise it is a square of the same area.
        border: fill for the part outside the image, see :data:`refdet_core.imaging.Border`.
        max_zoom: maximum network pixels per image pixel; a small object gets a wider crop.
    """

    size: int
    context: float = 0.5
    factor: float = 1.0
    stretched: bool = False
    border: Border = GREY
    max_zoom: float = math.inf

    def __post_init__(self) -> None:
        if self.size < 1 or self.context < 0 or self.factor <= 0 or self.max_zoom <= 0:
            raise BundleError(
                "A crop rule needs a size of at least 1, a context of 0 or more, and a factor and "
                f"max_zoom above 0, got {self}."
            )
        if isinstance(self.border, str):
            valid = self.border in BORDERS
        else:
            valid = len(self.border) == 3 and all(0 <= level <= 255 for level in self.border)
        if not valid:
            raise BundleError(
                "A crop's border must be {} or [red, green, blue] of 0 to 255, got {}.".format(
                    ", ".join(BORDERS), self.border
                )
            )

    def sides(self, width: float, height: float) -> Tuple[float, float]:
        """Width and height in image pixels of the crop around a box of this size."""
        context = self.context * (width + height)
        sides = self.factor * (width + context), self.factor * (height + context)
        if not self.stretched:
            sides = (math.sqrt(sides[0] * sides[1]),) * 2
        least = self.size / self.max_zoom
        return max(sides[0], least), max(sides[1], least)

    def around(self, box_xyxy: BoxXYXY) -> Crop:
        """The crop around a box in image pixels."""
        x1, y1, x2, y2 = box_xyxy
        width, height = (max(1, round(side)) for side in self.sides(x2 - x1, y2 - y1))
        left = round((x1 + x2) / 2 - width / 2)
        top = round((y1 + y2) / 2 - height / 2)
        return Crop(left, top, width, height, self.size, self.size, self.border)
