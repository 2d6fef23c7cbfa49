"""Chips of labelled images, and of their background."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

import numpy as np

from refdet_core.boxes import as_boxes, iou_matrix
from refdet_core.crop_rule import CropRule
from refdet_core.errors import ConfigError, SourceError
from refdet_core.satellite.exemplars import cut_chip
from refdet_core.satellite.raster import Raster, list_rasters
from refdet_core.types import BoxXYXY
from refdet_training.chips.labels import Label, read_labels

BACKGROUND = "background"
_TRIES = 20  # places for each background chip


@dataclass(frozen=True)
class ChipConfig:
    """How chips are cut.

    Attributes:
        size: side in network pixels.
        bands: of the network, in its order; empty: red, green, blue.
        file_bands: of the files, in their order; empty: as they say themselves.
        padding: share of a box's side that is added on each side of it.
        point_size: side of the box around a label that is only a point, pixels of the image.
        backgrounds: chips of each image that lie away from all labels.
        background_overlap: largest IoU of their boxes with a label. Above 0 the network also learns
            that a window beside an object does not show it.
        margin: share of a chip that is kept around it, for shifts in training.
    """

    size: int = 64
    bands: list[str] | None = None
    file_bands: list[str] | None = None
    padding: float = 0.15
    point_size: float = 16.0
    backgrounds: int = 20
    background_overlap: float = 0.0
    margin: float = 0.0

    def __post_init__(self) -> None:
        for name, least in {"size": 8, "padding": 0, "backgrounds": 0, "margin": 0}.items():
            if getattr(self, name) < least:
                raise ConfigError(
                    f"data.chips.{name} must be at least {least}, got {getattr(self, name)}."
                )
        if not 0 <= self.background_overlap < 1:
            raise ConfigError(
                "data.chips.background_overlap must be at least 0 and below 1, got "
                f"{self.background_overlap:g}."
            )
        if self.point_size <= 0:
            raise ConfigError(f"data.chips.point_size must be above 0, got {self.point_size:g}.")

    @property
    def crop(self) -> CropRule:
        """How the network's own chips are cut around a box."""
        return CropRule(self.size, self.padding)

    @property
    def stored_crop(self) -> CropRule:
        """The same with the margin."""
        size = round(self.size * (1 + 2 * self.margin))
        return CropRule(size, self.padding, factor=size / self.size)


@dataclass(frozen=True)
class ChipSet:
    """Chips with the number of their class.

    Shapes: ``chips (N, bands, S, S)`` float16 reflectance 0-255, ``labels (N,)`` int64.

    Attributes:
        classes: their names; :data:`BACKGROUND` is the last one.
        images: how many they come from.
    """

    chips: np.ndarray
    labels: np.ndarray
    classes: tuple[str, ...]
    images: int

    @property
    def counts(self) -> dict[str, int]:
        """Chips of each class."""
        numbers = Counter(self.labels.tolist())
        return {name: numbers[index] for index, name in enumerate(self.classes)}

    def statistics(self) -> tuple[list[float], list[float]]:
        """Mean and standard deviation of every band."""
        pixels = (
            self.chips.astype(np.float32).transpose(1, 0, 2, 3).reshape(self.chips.shape[1], -1)
        )
        return pixels.mean(axis=1).tolist(), pixels.std(axis=1).tolist()


def chosen_images(folder: Path, patterns: Sequence[str], without: Sequence[str]) -> list[Path]:
    """Images of a folder whose names, without their suffix, fit a pattern like ``riverside_*``.

    Raises:
        SourceError: there is none.
    """
    found = [
        path
        for path in list_rasters(folder)
        if any(fnmatch(path.stem, pattern) for pattern in patterns)
        and not any(fnmatch(path.stem, pattern) for pattern in without)
    ]
    if not found:
        raise SourceError(f"No image in {folder} is named like {', '.join(patterns)}.")
    return found


def read_chips(
    images: Sequence[Path], config: ChipConfig, seed: int, classes: Sequence[str] | None = None
) -> ChipSet:
    """All objects of the images, and background chips as large as these.

    Args:
        classes: which ones; None: all that are labelled.

    Raises:
        SourceError: an image or a table cannot be read, or a class has no label.
    """
    labels = {path: read_labels(path, config.point_size) for path in images}
    found = sorted({label.name for own in labels.values() for label in own} - {BACKGROUND})
    names = list(classes) if classes else found
    missing = [name for name in names if name not in found]
    if missing or not names:
        raise SourceError(
            f"No label of the class '{missing[0] if missing else 'any'}' is beside these "
            f"{len(images)} images; labelled are {', '.join(found) or 'none'}."
        )
    generator = np.random.default_rng(seed)
    sizes = [label.box_xyxy for own in labels.values() for label in own if label.name in names]
    bands = config.bands or ["red", "green", "blue"]
    chips: list[np.ndarray] = []
    numbers: list[int] = []
    for path, own in labels.items():
        with Raster(path, bands, config.file_bands or ()) as raster:
            for label in own:
                if label.name in names:
                    chips.append(_stored(raster, label.box_xyxy, config))
                    numbers.append(names.index(label.name))
            for box in background_boxes(raster, own, sizes, config, generator):
                chips.append(_stored(raster, box, config))
                numbers.append(len(names))
    return ChipSet(np.stack(chips), np.array(numbers, np.int64), (*names, BACKGROUND), len(images))


def background_boxes(
    raster: Raster,
    labels: Sequence[Label],
    sizes: Sequence[BoxXYXY],
    config: ChipConfig,
    generator: np.random.Generator,
) -> list[BoxXYXY]:
    """Random boxes in the image away from its labels, as large as boxes of ``sizes``; fewer than
    configured where the labels leave no place."""
    count = config.backgrounds
    labelled = as_boxes([label.box_xyxy for label in labels])
    found: list[BoxXYXY] = []
    for _ in range(count * _TRIES):
        if len(found) == count:
            break
        x1, y1, x2, y2 = sizes[generator.integers(len(sizes))]
        width, height = x2 - x1, y2 - y1
        if width > raster.width or height > raster.height:
            continue
        left = float(generator.uniform(0, raster.width - width))
        top = float(generator.uniform(0, raster.height - height))
        box = (left, top, left + width, top + height)
        overlaps = iou_matrix(as_boxes(box), labelled)
        if overlaps.max(initial=0.0) <= config.background_overlap:
            found.append(box)
    return found


def _stored(raster: Raster, box_xyxy: BoxXYXY, config: ChipConfig) -> np.ndarray:
    return cut_chip(raster, box_xyxy, config.stored_crop)[0].astype(np.float16)
