"""What is looked at, what is looked for, and how much results may differ."""

from __future__ import annotations

import cv2
import numpy as np

from refdet_core.imaging import Crop, extract, to_blob

FRAME_SIZE = (1280, 720)
OBJECTS = {"disc": (300, 200, 364, 264), "cross": (900, 420, 980, 500)}


def scene(seed=0, shift=(0, 0)):
    """A frame with texture, a disc and a cross; ``(720, 1280, 3)`` uint8."""
    width, height = FRAME_SIZE
    noise = np.random.default_rng(seed).integers(0, 256, (height // 8, width // 8, 3), np.uint8)
    frame = cv2.resize(noise, FRAME_SIZE, interpolation=cv2.INTER_CUBIC) // 3 + 80
    for name, (x1, y1, x2, y2) in OBJECTS.items():
        centre = ((x1 + x2) // 2 + shift[0], (y1 + y2) // 2 + shift[1])
        if name == "disc":
            cv2.circle(frame, centre, (x2 - x1) // 2, (40, 40, 220), -1)
            cv2.circle(frame, centre, (x2 - x1) // 4, (250, 250, 250), -1)
        else:
            cv2.drawMarker(frame, centre, (20, 200, 20), cv2.MARKER_CROSS, x2 - x1, 18)
    return frame


def template_images(bundle, names, frame):
    """``(N, 3, T, T)`` crops of the named objects in a frame."""
    crops = [bundle.template_crop.around(OBJECTS[name]) for name in names]
    return to_blob([extract(frame, crop) for crop in crops])


def search_crops(count, width, height, out_width, out_height):
    """Crops of one size, some of which hang over the frame's border."""
    lefts = np.linspace(-width // 4, FRAME_SIZE[0] - width * 3 // 4, count).astype(int)
    tops = np.linspace(-height // 4, FRAME_SIZE[1] - height * 3 // 4, count).astype(int)
    return [Crop(int(x), int(y), width, height, out_width, out_height) for x, y in zip(lefts, tops)]


SCORE_TOLERANCE = {"fp32": 2e-3, "fp16": 2e-2}
BOX_TOLERANCE = {"fp32": 0.01, "fp16": 0.05}
"""Share of a box's side."""


def assert_alike(found, expected, precision):
    """Compare :class:`~refdet_core.types.RawMaps`; boxes where there is something."""
    tolerance = SCORE_TOLERANCE[precision]
    np.testing.assert_allclose(found.score, expected.score, atol=tolerance)
    np.testing.assert_allclose(found.presence, expected.presence, atol=tolerance)
    assert found.box.shape == expected.box.shape and found.box.dtype == np.float32
    box = expected.box
    side = np.maximum(box[:, :, 2:] - box[:, :, :2], 8.0).mean(axis=2)
    error = np.abs(found.box - box).max(axis=2) / side
    best = expected.score.max(axis=(2, 3), keepdims=True)
    assert error[expected.score >= best / 2].max() <= BOX_TOLERANCE[precision]
