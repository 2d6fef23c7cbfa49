"""The exemplars of a class: what a search of images looks for."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import List, Optional, Sequence, Tuple

import numpy as np

from refdet_core.bundle import Bundle
from refdet_core.crop_rule import CropRule
from refdet_core.errors import BadReferenceError
from refdet_core.roi import parse_roi
from refdet_core.satellite.raster import MIN_SIDE_PX, Raster
from refdet_core.satellite.windows import LEAST_VALID
from refdet_core.types import BoxXYXY

MAX_EXEMPLARS = 5
_WITH_BOX = re.compile(r"^(?P<path>.+):(?P<box>-?[\d.]+(?:,-?[\d.]+){3})$")


@dataclass(frozen=True)
class Exemplar:
    """One object of the class, as the network sees it.

    Attributes:
        name: the file's.
        chip: ``(bands, S, S)`` float32, reflectance 0-255.
        side_px: of the chip in the image, pixels.
    """

    name: str
    chip: np.ndarray
    side_px: float


def read_exemplars(
    texts: Sequence[str], class_name: str, bundle: Bundle, file_bands: Sequence[str] = ()
) -> List[Exemplar]:
    """Read exemplars named ``PATH`` (the whole image is the chip) or ``PATH:X,Y,W,H`` (the object's
    box; the chip has a margin around it as in training).

    Raises:
        BadReferenceError: a class without a name, none, too many, a box outside its image or too
            small, or a chip that shows no data.
        SourceError: an image cannot be read.
    """
    if not class_name.strip():
        raise BadReferenceError("--class is empty; name what the exemplars show.")
    if not 1 <= len(texts) <= MAX_EXEMPLARS:
        given = "none" if not texts else f"{len(texts)}"
        raise BadReferenceError(
            f"The class '{class_name}' needs 1 to {MAX_EXEMPLARS} exemplars, got {given}; give "
            "--exemplar CHIP or --exemplar IMAGE:X,Y,W,H for each."
        )
    found: List[Exemplar] = []
    for text in texts:
        parts = _WITH_BOX.match(text)
        path = Path(parts["path"] if parts else text).expanduser()
        box = parse_roi(parts["box"]) if parts else None
        with Raster(path, bundle.bands, file_bands) as raster:
            found.append(_cut(raster, box, bundle.template_crop))
    return found


def cut_chip(raster: Raster, box_xyxy: BoxXYXY, rule: CropRule) -> Tuple[np.ndarray, np.ndarray]:
    """The chip around a box, ``(bands, S, S)``, and where it shows data, ``(S, S)`` bool."""
    x1, y1, x2, y2 = box_xyxy
    width, height = rule.sides(x2 - x1, y2 - y1)
    left, top = (x1 + x2 - width) / 2, (y1 + y2 - height) / 2
    return raster.read(left, top, width, height, (rule.size, rule.size))


def _cut(raster: Raster, box_xyxy: Optional[BoxXYXY], rule: CropRule) -> Exemplar:
    name = raster.path.name
    if box_xyxy is None:
        size = rule.size, rule.size
        chip, valid = raster.read(0, 0, raster.width, raster.height, size)
        side_px = float(np.sqrt(raster.width * raster.height))
    else:
        x1, y1, x2, y2 = box_xyxy
        box = f"box x={x1:g} y={y1:g} width={x2 - x1:g} height={y2 - y1:g}"
        if not (x2 > 0 and y2 > 0 and x1 < raster.width and y1 < raster.height):
            raise BadReferenceError(
                f"The exemplar's {box} lies outside of {name}, which is "
                f"{raster.width}x{raster.height} px."
            )
        side_px = float(np.sqrt(np.prod(rule.sides(x2 - x1, y2 - y1))))
        if side_px < MIN_SIDE_PX:
            raise BadReferenceError(
                f"The exemplar's {box} in {name} is too small: with its margin it needs at least "
                f"{MIN_SIDE_PX} px a side."
            )
        chip, valid = cut_chip(raster, box_xyxy, rule)
    if valid.mean() < LEAST_VALID:
        raise BadReferenceError(
            f"The exemplar in {name} shows data on {valid.mean():.0%} of its chip; choose one that "
            "does on at least half of it."
        )
    return Exemplar(name, chip, side_px)
