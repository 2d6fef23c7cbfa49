"""Drawn test images for a new engine, the same on every machine.

They are drawn, so that no footage has to be copied to a Jetson: fractal ground with shaded,
patterned bodies and their shadows, seen from above. The comparison with ONNX Runtime needs the
contrasts and scales of real frames and an object that is found in them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import List, Tuple

import cv2
import numpy as np

from refdet_core.bundle import Bundle
from refdet_core.imaging import extract, to_blob
from refdet_core.types import BoxXYXY

OBJECTS = 24
"""Number of kinds of bodies; each scene has one of each, some under others."""
_LENGTHS_PX = (60, 80, 36, 20, 50, 14, 28)  # of the first kinds, then from the start again
_SEED_OF_LOOKS = 1000
_REFERENCE_SEED = 77  # references are from a scene that is not among the frames
_REFERENCE_SCENE = (640, 480)


@dataclass(frozen=True)
class Scene:
    """A drawn frame, ``(H, W, 3)`` uint8 BGR, and each kind's box in it; kind 0 is on top."""

    frame_bgr: np.ndarray
    boxes_xyxy: Tuple[BoxXYXY, ...]


@lru_cache(maxsize=1)  # one scene has many references
def draw_scene(width: int, height: int, seed: int) -> Scene:
    """The same arguments give the same frame; if it is large enough, kind 0 is whole."""
    random = np.random.RandomState(seed)  # the same numbers in every version of NumPy
    frame = _ground(width, height, random)
    boxes: List[BoxXYXY] = []
    for kind in reversed(range(OBJECTS)):
        margin = 0.6 * _length(kind)
        centre = (_between(random, width, margin), _between(random, height, margin))
        boxes.append(_draw_body(frame, kind, centre, random.uniform(0, 2 * math.pi)))
    return Scene(frame, tuple(reversed(boxes)))


def reference_images(bundle: Bundle, count: int) -> np.ndarray:
    """Bodies as input of the template encoder, ``(count, 3, Ht, Wt)`` float32 RGB 0-255."""
    crops = []
    for index in range(count):
        scene = draw_scene(*_REFERENCE_SCENE, seed=_REFERENCE_SEED + index // OBJECTS)
        box_xyxy = scene.boxes_xyxy[index % OBJECTS]
        crop = bundle.template_crop.around(box_xyxy)
        crops.append(extract(scene.frame_bgr, crop))
    return to_blob(crops)


def frame_images(count: int, width: int, height: int) -> np.ndarray:
    """Scenes as input of the detector, ``(count, 3, height, width)`` float32 RGB 0-255."""
    return to_blob([draw_scene(width, height, seed).frame_bgr for seed in range(count)])


def harsh_images(width: int, height: int) -> np.ndarray:
    """Extreme images: white, black, noise of both and fine stripes, ``(4, 3, height, width)``
    float32 0-255."""
    random = np.random.RandomState(0)
    shape = (3, height, width)
    noise = random.randint(0, 2, shape) * 255.0
    stripes = np.broadcast_to((np.arange(width) // 2 % 2) * 255.0, shape)
    flat = [np.full(shape, 255.0), np.zeros(shape)]
    return np.stack([*flat, noise, stripes]).astype(np.float32)


def _ground(width: int, height: int, random: np.random.RandomState) -> np.ndarray:
    """Coarse and fine blotches: each octave has half the size and 0.6 of the contrast."""
    ground = np.full((height, width, 3), (70, 105, 100), dtype=np.float32)
    cell, contrast = 128, 30.0
    while cell >= 2:
        coarse = random.randn(height // cell + 2, width // cell + 2, 3).astype(np.float32)
        coarse = (coarse + 2 * coarse.mean(axis=2, keepdims=True)) / 3  # mostly light and dark
        size = (coarse.shape[1] * cell, coarse.shape[0] * cell)
        fine = cv2.resize(coarse, size, interpolation=cv2.INTER_LINEAR)[:height, :width]
        ground += contrast * fine
        cell, contrast = cell // 2, contrast * 0.6
    return np.asarray(np.clip(ground, 0, 255).astype(np.uint8))


def _draw_body(frame: np.ndarray, kind: int, centre: Tuple[float, float], angle: float) -> BoxXYXY:
    """Paint a shadow, a body, and a dark and a light band across it; returns the body's box."""
    look = np.random.RandomState(_SEED_OF_LOOKS + kind)
    length = _length(kind)
    width = length * look.uniform(0.4, 0.8)
    along = np.array([math.cos(angle), math.sin(angle)])
    across = np.array([-along[1], along[0]])

    def quadrilateral(start: float, end: float, shift: float = 0.0) -> np.ndarray:
        ends = [(start, -0.5), (end, -0.5), (end, 0.5), (start, 0.5)]
        corners = [
            np.asarray(centre) + shift + a * length * along + b * width * across for a, b in ends
        ]
        return np.asarray(corners)

    def paint(corners: np.ndarray, colour: Tuple[int, ...]) -> None:
        points = np.round(corners * 16).astype(np.int32)
        cv2.fillConvexPoly(frame, points, colour, lineType=cv2.LINE_AA, shift=4)

    paint(quadrilateral(-0.5, 0.5, shift=0.12 * length), (35, 40, 40))
    colour = [int(value) for value in look.randint(20, 256, 3)]
    paint(quadrilateral(-0.5, 0.5), tuple(colour))
    paint(quadrilateral(0.1, 0.25), tuple(value // 4 for value in colour))
    paint(quadrilateral(-0.4, -0.25), tuple(128 + value // 2 for value in colour))
    corners = quadrilateral(-0.5, 0.5)
    (x1, y1), (x2, y2) = corners.min(axis=0), corners.max(axis=0)
    return float(x1), float(y1), float(x2), float(y2)


def _length(kind: int) -> float:
    return float(_LENGTHS_PX[kind % len(_LENGTHS_PX)])


def _between(random: np.random.RandomState, side: int, margin: float) -> float:
    margin = min(margin, side / 2)
    return float(random.uniform(margin, side - margin))
