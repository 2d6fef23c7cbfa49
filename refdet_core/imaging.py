"""Cuts crops out of a frame for the network, and maps boxes back exactly.

A :class:`Crop` is an integer rectangle of the frame (it may extend over the border) and the size it
is resampled to. Letterboxing, tiles, zoomed search windows and template crops are all crops.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Callable, Dict, Sequence, Tuple, Union

import cv2
import numpy as np

from refdet_core.types import BoxXYXY

ColourBGR = Tuple[int, int, int]
PAD_BGR: ColourBGR = (114, 114, 114)
"""The grey that fills the area outside the frame; training pads with the same."""

Border = Union[str, Tuple[int, int, int]]
"""Fill of a crop outside the image: a name of :data:`BORDERS`, or red, green, blue (0-255)."""
GREY = "grey"
BORDERS: Dict[str, Callable[[np.ndarray], ColourBGR]] = {
    GREY: lambda image_bgr: PAD_BGR,
    "black": lambda image_bgr: (0, 0, 0),
    "mean": lambda image_bgr: _mean_colour(image_bgr),
}


def border_colour(border: Border, image_bgr: np.ndarray) -> ColourBGR:
    """The colour of a border around this ``(H, W, 3)`` uint8 image."""
    if isinstance(border, str):
        return BORDERS[border](image_bgr)
    red, green, blue = border
    return blue, green, red


def _mean_colour(image_bgr: np.ndarray) -> ColourBGR:
    blue, green, red, _ = cv2.mean(image_bgr)
    return int(blue), int(green), int(red)


@dataclass(frozen=True)
class Crop:
    """A rectangle of the frame in whole pixels, resampled to ``out_width x out_height``.

    ``x, y`` may be negative and the rectangle may end outside the frame; ``border`` fills the area
    outside. Each axis has its own scale, so that the inverse is exact although the rectangle is
    rounded to whole pixels.
    """

    x: int
    y: int
    width: int
    height: int
    out_width: int
    out_height: int
    border: Border = GREY

    @property
    def scale(self) -> np.ndarray:
        """Network pixels per frame pixel, ``(4,)`` float32 for an xyxy box."""
        horizontal, vertical = self.out_width / self.width, self.out_height / self.height
        return np.array([horizontal, vertical, horizontal, vertical], dtype=np.float32)

    @property
    def offset(self) -> np.ndarray:
        """Top-left corner in the frame, ``(4,)`` float32 for an xyxy box."""
        return np.array([self.x, self.y, self.x, self.y], dtype=np.float32)

    def to_frame(self, boxes_xyxy: np.ndarray) -> np.ndarray:
        """Boxes ``(N, 4)`` from network pixels of this crop to frame pixels."""
        return np.asarray(boxes_xyxy / self.scale + self.offset)

    def to_network(self, boxes_xyxy: np.ndarray) -> np.ndarray:
        """Boxes ``(N, 4)`` from frame pixels to network pixels of this crop."""
        return np.asarray((boxes_xyxy - self.offset) * self.scale)


def is_colour_image(image: object) -> bool:
    """Whether it is an ``(H, W, 3)`` uint8 array."""
    return (
        isinstance(image, np.ndarray)
        and image.ndim == 3
        and image.shape[2] == 3
        and image.dtype == np.uint8
    )


def image_in_words(image: object) -> str:
    """Shape and type of an array, or what else it is."""
    if isinstance(image, np.ndarray):
        return f"{image.shape} {image.dtype}"
    return "None (the end of a video?)" if image is None else type(image).__name__


def letterbox(frame_size: Tuple[int, int], out_size: Tuple[int, int]) -> Crop:
    """The crop that fits a whole frame into ``out_size``: aspect kept, centred, padded.

    Args:
        frame_size: ``(width, height)`` of the frame.
        out_size: ``(width, height)`` of the network input.
    """
    frame_width, frame_height = frame_size
    out_width, out_height = out_size
    scale = min(out_width / frame_width, out_height / frame_height)
    width = max(frame_width, round(out_width / scale))
    height = max(frame_height, round(out_height / scale))
    return Crop(
        (frame_width - width) // 2,
        (frame_height - height) // 2,
        width,
        height,
        out_width,
        out_height,
    )


def context_side(width: Any, height: Any, context: float) -> Any:
    """SiamFC's side of a box with its context, for numbers or arrays of widths and heights."""
    padding = context * (width + height)
    return np.sqrt((width + padding) * (height + padding))


def square_around(box_xyxy: BoxXYXY, context: float, out_size: int) -> Crop:
    """SiamFC's square crop around a box: side ``sqrt((w + p)(h + p))``, ``p = c(w + h)``.

    Args:
        box_xyxy: the object's box in frame pixels.
        context: ``c``, the share of the box's mean side added around it (SiamFC: 0.5).
        out_size: side of the network input in pixels.
    """
    x1, y1, x2, y2 = box_xyxy
    side = max(1, round(float(context_side(x2 - x1, y2 - y1, context))))
    left = round((x1 + x2) / 2 - side / 2)
    top = round((y1 + y2) / 2 - side / 2)
    return Crop(left, top, side, side, out_size, out_size)


def extract(image_bgr: np.ndarray, crop: Crop) -> np.ndarray:
    """Cut, pad and resample one crop; ``(out_height, out_width, 3)`` uint8 BGR.

    Enlarging interpolates linearly. Shrinking averages over the source area, except down to two
    thirds: there linear interpolation skips no pixel and takes a tenth of the time. A crop inside
    the frame at scale 1 is a view, not a copy.
    """
    height, width = image_bgr.shape[:2]
    x1, y1 = max(crop.x, 0), max(crop.y, 0)
    x2, y2 = min(crop.x + crop.width, width), min(crop.y + crop.height, height)
    if x2 <= x1 or y2 <= y1:
        colour = border_colour(crop.border, image_bgr)
        return np.full((crop.out_height, crop.out_width, 3), colour, dtype=np.uint8)
    piece = image_bgr[y1:y2, x1:x2]
    # Resample only the visible part and pad afterwards. Otherwise a crop far larger than the frame
    # would be allocated at frame resolution.
    scale_x, scale_y = crop.out_width / crop.width, crop.out_height / crop.height
    left, top = round((x1 - crop.x) * scale_x), round((y1 - crop.y) * scale_y)
    right = min(crop.out_width, max(left + 1, round((x2 - crop.x) * scale_x)))
    bottom = min(crop.out_height, max(top + 1, round((y2 - crop.y) * scale_y)))
    left, top = min(left, crop.out_width - 1), min(top, crop.out_height - 1)
    inner = (right - left, bottom - top)
    if piece.shape[1::-1] != inner:
        shrinks = inner[0] * 3 < piece.shape[1] * 2 and inner[1] * 3 < piece.shape[0] * 2
        piece = resize(piece, inner, cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
    if inner == (crop.out_width, crop.out_height):
        return piece
    return cv2.copyMakeBorder(
        piece,
        top,
        crop.out_height - bottom,
        left,
        crop.out_width - right,
        cv2.BORDER_CONSTANT,
        value=border_colour(crop.border, image_bgr),
    )


def resize(image_bgr: np.ndarray, size: Tuple[int, int], interpolation: int) -> np.ndarray:
    """``cv2.resize`` to ``(width, height)``; OpenCV 4.5.4 alone would refuse a single pixel."""
    if image_bgr.shape[:2] == (1, 1):
        return np.tile(image_bgr, (size[1], size[0], 1))
    return cv2.resize(image_bgr, size, interpolation=interpolation)


def to_blob(images_bgr: Sequence[np.ndarray]) -> np.ndarray:
    """Stack equal-sized BGR images into the network's ``(B, 3, H, W)`` float32 RGB 0-255.

    Works plane by plane, in a tenth of the time of ``cv2.dnn.blobFromImages`` at 1280x720.
    """
    height, width = images_bgr[0].shape[:2]
    blob = np.empty((len(images_bgr), 3, height, width), np.float32)
    for image, planes in zip(images_bgr, blob):
        for plane, channel in zip(planes, reversed(cv2.split(image))):
            plane[...] = channel
    return blob
