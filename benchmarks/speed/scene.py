"""Frames and references for the measurements; their content hardly affects the times."""

from __future__ import annotations

import cv2
import numpy as np

from refdet_core.bundle import Bundle
from refdet_core.detector import Detector
from refdet_core.detector_config import DetectorConfig
from refdet_core.imaging import Crop
from refdet_core.search.tiles import Tiles
from refdet_core.types import BoxXYXY, Reference

OBJECT_PX = 40
TILES = DetectorConfig(search="tiles", tile_scale=1.0)
TRACK = DetectorConfig(search="track")


def textured_frame(size: tuple[int, int]) -> np.ndarray:
    """Smooth coloured noise, ``(H, W, 3)`` uint8 of ``size = (width, height)``."""
    shape = (max(2, size[1] // 8), max(2, size[0] // 8), 3)
    noise = np.random.default_rng(0).integers(0, 255, shape, dtype=np.uint8)
    return np.asarray(cv2.resize(noise, size, interpolation=cv2.INTER_CUBIC))


def object_boxes(size: tuple[int, int], count: int) -> list[BoxXYXY]:
    """Up to 20 boxes of :data:`OBJECT_PX` spread over a frame of ``(width, height)``."""
    boxes = []
    for number in range(count):
        x = float(round((number % 5 + 0.5) / 5 * size[0] - OBJECT_PX / 2))
        y = float(round((number // 5 % 4 + 0.5) / 4 * size[1] - OBJECT_PX / 2))
        boxes.append((x, y, x + OBJECT_PX, y + OBJECT_PX))
    return boxes


def set_templates(
    detector: Detector, frame_bgr: np.ndarray, count: int, references: int = 1
) -> list[BoxXYXY]:
    """Set ``count`` templates cut out of the frame; returns their boxes."""
    boxes = object_boxes((frame_bgr.shape[1], frame_bgr.shape[0]), count)
    detector.clear_template()
    for number, box_xyxy in enumerate(boxes):
        detector.set_template([Reference(frame_bgr, box_xyxy)] * references, str(number))
    return boxes


def follow(detector: Detector, frame_bgr: np.ndarray, count: int) -> None:
    """Let the detector (search ``track``) track ``count`` templates from their boxes."""
    for number, box_xyxy in enumerate(set_templates(detector, frame_bgr, count)):
        detector.lock(str(number), box_xyxy)


def tiles_of(size: tuple[int, int], bundle: Bundle) -> list[Crop]:
    """The crops of the search ``tiles`` in a frame of ``(width, height)``."""
    largest = (TILES.tile_width, TILES.tile_height)
    tiles = Tiles(largest, TILES.tile_overlap, bundle.frame_multiple, TILES.tile_scale)
    return tiles.crops(size)
