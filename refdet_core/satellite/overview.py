"""The overview picture of a search of images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import List, Sequence

import cv2
import numpy as np

from refdet_core.boxes import as_tuple
from refdet_core.bundle import CAMERA_BANDS
from refdet_core.drawing import contact_sheet, draw_box, template_colour
from refdet_core.satellite.exemplars import Exemplar
from refdet_core.satellite.image_search import Hits
from refdet_core.satellite.raster import Raster

OVERVIEW_FILE = "overview.jpg"
_IMAGES = 12
_CELL_PX = 512
_LARGE_CELL_PX = 1400


@dataclass(frozen=True)
class Picture:
    """One image with what was found in it."""

    image_bgr: np.ndarray
    caption: str
    hits: int


class Overview:
    """Keeps pictures of the images with the most hits.

    Args:
        bands: the network's.
        class_name: what was searched for.
        images: how many will come.
    """

    def __init__(self, bands: Sequence[str], class_name: str, images: int) -> None:
        self._shown = shown_bands(bands)
        self._colour = template_colour(class_name)
        self._class_name = class_name
        self._cell_px = _LARGE_CELL_PX if images == 1 else _CELL_PX
        self._pictures: List[Picture] = []

    def add(self, raster: Raster, hits: Hits) -> None:
        """One image."""
        scale = self._cell_px / max(raster.width, raster.height)
        size = max(1, round(raster.width * scale)), max(1, round(raster.height * scale))
        values, valid = raster.read(0, 0, raster.width, raster.height, size)
        picture = to_bgr(values, self._shown, valid)
        for box in hits.boxes_xyxy[::-1]:  # the best on top
            draw_box(picture, as_tuple(box * scale), self._colour)
        best = f", best {hits.scores[0]:.2f}" if len(hits) else ""
        self._pictures.append(Picture(picture, f"{raster.path.name}: {len(hits)}{best}", len(hits)))
        self._pictures.sort(key=lambda item: -item.hits)
        del self._pictures[_IMAGES:]

    def draw(self, exemplars: Sequence[Exemplar]) -> np.ndarray:
        """The sheet: the exemplars in the first row, then the images."""
        valid = np.ones(exemplars[0].chip.shape[1:], bool)
        chips = [to_bgr(item.chip, self._shown, valid) for item in exemplars]
        names = [f"{self._class_name}: {item.name}" for item in exemplars]
        side = 192
        above = contact_sheet(chips, names, columns=5, cell_size=(side, side))
        below = contact_sheet(
            [item.image_bgr for item in self._pictures],
            [item.caption for item in self._pictures],
            columns=min(4, len(self._pictures)),
            cell_size=(self._cell_px, self._cell_px),
        )
        width = max(above.shape[1], below.shape[1])
        sheets = [
            cv2.copyMakeBorder(
                sheet, 0, 0, 0, width - sheet.shape[1], cv2.BORDER_CONSTANT, value=(24, 24, 24)
            )
            for sheet in (above, below)
        ]
        return np.concatenate(sheets)


def shown_bands(bands: Sequence[str]) -> List[int]:
    """Which of the bands are shown as blue, green and red: those, or the first three."""
    names = list(bands)
    if all(name in names for name in CAMERA_BANDS):
        return [names.index(name) for name in reversed(CAMERA_BANDS)]
    return [min(index, len(names) - 1) for index in (2, 1, 0)]


def to_bgr(values: np.ndarray, shown: Sequence[int], valid: np.ndarray) -> np.ndarray:
    """``(bands, h, w)`` as an ``(h, w, 3)`` uint8 picture, stretched so that 1 % of its pixels are
    black and 1 % white; pixels without data are grey."""
    picture = values[list(shown)].transpose(1, 2, 0)
    inside = picture[valid]
    if len(inside):
        low, high = np.percentile(inside, (1, 99))
        picture = (picture - low) / max(high - low, 1e-3) * 255
    picture = np.clip(picture, 0, 255).astype(np.uint8)
    picture[~valid] = 60
    return np.ascontiguousarray(picture)
