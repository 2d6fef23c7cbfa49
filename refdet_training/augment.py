"""Picture changes that leave boxes where they are, and random crops that carry them along."""

from __future__ import annotations

import math

import cv2
import numpy as np

from refdet_core.imaging import PAD_BGR, Crop, extract, square_around
from refdet_core.types import BoxXYXY

Rng = np.random.Generator


def photometric(image_bgr: np.ndarray, rng: Rng, strength: float = 1.0) -> np.ndarray:
    """Brightness, contrast, saturation, colour cast, blur, noise and JPEG, each by chance."""
    picture = image_bgr.astype(np.float32)
    if rng.random() < 0.8:
        gain = np.exp(rng.normal(0, 0.2 * strength))
        picture = (picture - 128) * gain + 128 + rng.normal(0, 18 * strength)
    if rng.random() < 0.4:
        picture = picture * np.exp(rng.normal(0, 0.07 * strength, size=3))
    if rng.random() < 0.4:
        grey = picture @ np.array([0.114, 0.587, 0.299], dtype=np.float32)
        picture = grey[..., None] + (picture - grey[..., None]) * rng.uniform(0, 1.5)
    if rng.random() < 0.15:
        picture = cv2.GaussianBlur(picture, (0, 0), rng.uniform(0.4, 1.4))
    if rng.random() < 0.1:
        length = int(rng.integers(3, 7))
        kernel = np.zeros((length, length), np.float32)
        kernel[length // 2] = 1 / length
        if rng.random() < 0.5:
            kernel = kernel.T.copy()
        picture = cv2.filter2D(picture, -1, kernel)
    if rng.random() < 0.2:
        picture = picture + rng.normal(0, rng.uniform(2, 8), size=picture.shape)
    result = np.clip(picture, 0, 255).astype(np.uint8)
    if rng.random() < 0.2:
        quality = [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(25, 80))]
        result = cv2.imdecode(cv2.imencode(".jpg", result, quality)[1], cv2.IMREAD_COLOR)
    return result


def rotate(image_bgr: np.ndarray, degrees: float) -> np.ndarray:
    """Turn a picture around its centre, same size, corners padded."""
    height, width = image_bgr.shape[:2]
    matrix = cv2.getRotationMatrix2D((width / 2, height / 2), degrees, 1.0)
    return cv2.warpAffine(image_bgr, matrix, (width, height), borderValue=PAD_BGR)


def perspective(image_bgr: np.ndarray, rng: Rng, strength: float = 0.12) -> np.ndarray:
    """Shift the corners of a picture independently by up to ``strength`` of its sides."""
    height, width = image_bgr.shape[:2]
    corners = np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float32)
    shift = rng.uniform(-strength, strength, size=(4, 2)) * (width, height)
    matrix = cv2.getPerspectiveTransform(corners, (corners + shift).astype(np.float32))
    return cv2.warpPerspective(image_bgr, matrix, (width, height), borderValue=PAD_BGR)


def jitter_box(box_xyxy: BoxXYXY, rng: Rng, shift: float, scale: float) -> BoxXYXY:
    """Move a box by a share of its size and scale its sides; a user never draws it exactly."""
    x1, y1, x2, y2 = box_xyxy
    width, height = x2 - x1, y2 - y1
    centre_x = (x1 + x2) / 2 + rng.uniform(-shift, shift) * width
    centre_y = (y1 + y2) / 2 + rng.uniform(-shift, shift) * height
    width *= math.exp(rng.uniform(-scale, scale))
    height *= math.exp(rng.uniform(-scale, scale))
    return centre_x - width / 2, centre_y - height / 2, centre_x + width / 2, centre_y + height / 2


def template_view(
    image_bgr: np.ndarray, box_xyxy: BoxXYXY, size: int, context: float, rng: Rng | None
) -> np.ndarray:
    """The template encoder's input from a photo; with ``rng`` an augmented one.

    Returns:
        ``(size, size, 3)`` uint8 BGR.
    """
    if rng is None:
        return extract(image_bgr, square_around(box_xyxy, context, size))
    box_xyxy = jitter_box(box_xyxy, rng, 0.08, 0.12)
    if rng.random() < 0.15:  # a photo cut tightly around the object has no surroundings
        image_bgr = _only_inside(image_bgr, box_xyxy)
    view = extract(image_bgr, square_around(box_xyxy, context, size))
    if rng.random() < 0.2:  # a far object enlarged
        small = cv2.resize(view, None, fx=0.35, fy=0.35, interpolation=cv2.INTER_AREA)
        view = cv2.resize(small, (size, size), interpolation=cv2.INTER_LINEAR)
    if rng.random() < 0.5:
        view = rotate(view, rng.normal(0, 12))
    if rng.random() < 0.3:
        view = perspective(view, rng)
    return photometric(view, rng)


def search_view(
    image_bgr: np.ndarray, box_xyxy: BoxXYXY, size: int, rng: Rng, away: bool
) -> tuple[np.ndarray, BoxXYXY]:
    """A random crop of a frame, scaled so that the object has a random size.

    Args:
        size: side of the crop in network pixels.
        away: place the crop so that it avoids the object where the frame allows it.

    Returns:
        ``(size, size, 3)`` uint8 BGR and the object's box in it (perhaps outside).
    """
    x1, y1, x2, y2 = box_xyxy
    side = math.sqrt(max(1.0, (x2 - x1) * (y2 - y1)))
    scale = math.exp(rng.normal(0, 0.45))
    scale = min(max(scale, 8 / side), 150 / side, 2.5)
    span = max(16, round(size / scale))
    height, width = image_bgr.shape[:2]
    if away:
        left, top = (
            int(rng.integers(min(0, limit - span), max(1, limit - span + 1)))
            for limit in (width, height)
        )
    else:
        margin = rng.uniform(0.0, 0.5)
        left = int((x1 + x2) / 2 - span * rng.uniform(margin, 1 - margin))
        top = int((y1 + y2) / 2 - span * rng.uniform(margin, 1 - margin))
        # A camera frame has few padded pixels, so crops mostly stay inside it.
        if rng.random() < 0.8:
            left = min(max(left, 0), max(0, width - span)) if span <= width else left
            top = min(max(top, 0), max(0, height - span)) if span <= height else top
    crop = Crop(left, top, span, span, size, size)
    box = crop.to_network(np.array([box_xyxy], np.float32))[0]
    return extract(image_bgr, crop), (float(box[0]), float(box[1]), float(box[2]), float(box[3]))


def _only_inside(image_bgr: np.ndarray, box_xyxy: BoxXYXY) -> np.ndarray:
    x1, y1, x2, y2 = (round(value) for value in box_xyxy)
    x1, y1 = max(0, x1), max(0, y1)
    blank = np.full_like(image_bgr, PAD_BGR[0])
    blank[y1:y2, x1:x2] = image_bgr[y1:y2, x1:x2]
    return blank
