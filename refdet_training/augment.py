"""Random changes of template and search views, with torchvision.transforms.v2.

Pictures are ``(3, H, W)`` uint8 RGB tensors. If a change moves the object, its box moves along as
:class:`torchvision.tv_tensors.BoundingBoxes`, never clamped; the visible share is computed
afterwards. All randomness is torch's, so that a seed repeats it.
"""

from __future__ import annotations

import math

import cv2
import numpy as np
import torch
from torchvision import tv_tensors
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as F

from refdet_core.boxes import area, clip
from refdet_core.imaging import PAD_BGR
from refdet_core.types import BoxXYXY

Rng = np.random.Generator

FILL = PAD_BGR[0]
"""Grey outside the picture; all three channels are the same."""
TILT_MARGIN = 1.2
"""A picture larger than the crop by this factor has no empty corners after a tilt."""
_TILT = 0.2
_BILINEAR = v2.InterpolationMode.BILINEAR


def _colour_cast(image: tv_tensors.Image) -> tv_tensors.Image:
    """White balance: a gain for each channel, which v2 lacks."""
    gains = torch.exp(torch.randn(3, 1, 1) * 0.07)
    changed = (image * gains).clamp(0, 255).to(image.dtype)
    # A plain tensor would not be mirrored with its box.
    return tv_tensors.wrap(changed, like=image)


def _jpeg(image: tv_tensors.Image) -> tv_tensors.Image:
    """Compression artefacts; torchvision's own JPEG coder is deprecated."""
    quality = [cv2.IMWRITE_JPEG_QUALITY, int(torch.randint(25, 81, ()))]
    encoded = cv2.imencode(".jpg", image.permute(1, 2, 0).numpy()[..., ::-1], quality)[1]
    return as_image(np.asarray(cv2.imdecode(encoded, cv2.IMREAD_COLOR)))


_LIGHT = v2.RandomApply([v2.ColorJitter(brightness=0.3, contrast=0.3)], p=0.8)
_COLOUR = v2.Compose(
    [
        v2.RandomApply([v2.Lambda(_colour_cast, tv_tensors.Image)], p=0.4),
        v2.RandomApply([v2.ColorJitter(saturation=(0.0, 1.5))], p=0.4),
        v2.RandomGrayscale(p=0.1),
    ]
)
_MOTION = [v2.GaussianBlur(kernel, sigma=(0.7, 2.0)) for kernel in ((7, 1), (1, 7))]
_SENSOR = v2.Compose(
    [
        v2.RandomApply([v2.GaussianBlur(5, sigma=(0.4, 1.4))], p=0.12),
        v2.RandomApply([v2.RandomChoice(_MOTION)], p=0.1),
        v2.RandomApply([v2.GaussianNoise(sigma=0.02)], p=0.2),
        v2.RandomApply([v2.Lambda(_jpeg, tv_tensors.Image)], p=0.2),
    ]
)
_MIRROR = v2.RandomHorizontalFlip(p=0.5)
_PERSPECTIVE = v2.RandomPerspective(_TILT, p=1.0, interpolation=_BILINEAR, fill=FILL)


def as_image(image_bgr: np.ndarray) -> tv_tensors.Image:
    """``(H, W, 3)`` uint8 BGR to ``(3, H, W)`` uint8 RGB."""
    return tv_tensors.Image(
        torch.from_numpy(np.ascontiguousarray(image_bgr[..., ::-1].transpose(2, 0, 1)))
    )


def as_box(box_xyxy: BoxXYXY, image: tv_tensors.Image) -> tv_tensors.BoundingBoxes:
    """One box of a picture as ``(1, 4)``; it may leave the picture."""
    return tv_tensors.BoundingBoxes(
        torch.tensor([box_xyxy], dtype=torch.float32),
        format=tv_tensors.BoundingBoxFormat.XYXY,
        canvas_size=tuple(image.shape[-2:]),
        clamping_mode=None,
    )


def box_of(boxes: tv_tensors.BoundingBoxes) -> BoxXYXY:
    """The box of :func:`as_box` as plain numbers."""
    x1, y1, x2, y2 = boxes[0].tolist()
    return x1, y1, x2, y2


def photometric(image: tv_tensors.Image, keep_colours: bool = False) -> tv_tensors.Image:
    """Light, colours, grey-scale, blur (lens and motion), noise and JPEG, each at random.

    Args:
        image: ``(3, H, W)`` uint8 RGB.
        keep_colours: use only changes that keep colours recognisable, for pairs that only colour
            distinguishes.
    """
    image = _LIGHT(image)
    if not keep_colours:
        image = _COLOUR(image)
    return _SENSOR(image)


def from_afar(image: tv_tensors.Image, share: float) -> tv_tensors.Image:
    """The picture as if enlarged from ``share`` of its sides: a close-up of a far object."""
    sides = list(image.shape[-2:])
    small = F.resize(image, [max(2, round(side * share)) for side in sides], antialias=True)
    return F.resize(small, sides, antialias=True)


def turn_margin(degrees: float) -> float:
    """The factor by which a picture must exceed the crop to avoid empty corners after rotation."""
    angle = math.radians(degrees)
    return abs(math.cos(angle)) + abs(math.sin(angle))


def turn_and_tilt(
    items: tuple[tv_tensors.TVTensor, ...], degrees: float, tilt: bool
) -> tuple[tv_tensors.TVTensor, ...]:
    """Turn a picture and its boxes counter-clockwise around the centre and, if asked for, see
    them in a random perspective.

    The new box is the hull of the moved old one, so it is loose after a turn that is far from a
    right angle; see :func:`hull_is_tight`.
    """
    if degrees:
        items = tuple(F.rotate(item, degrees, interpolation=_BILINEAR, fill=FILL) for item in items)
    return tuple(_PERSPECTIVE(items)) if tilt else items


def hull_is_tight(before_xyxy: BoxXYXY, after_xyxy: BoxXYXY) -> bool:
    """Whether a turned box still tells the object's extents: its area grew by half at most, as a
    square's does at 15 degrees from a right angle and a long object's earlier."""
    before, after = area(np.array([before_xyxy, after_xyxy], dtype=np.float64))
    return bool(after <= 1.5 * before)


def cut_centre(
    items: tuple[tv_tensors.TVTensor, ...], size: int
) -> tuple[tv_tensors.TVTensor, ...]:
    """The ``size x size`` pixels around the centre, boxes in their coordinates."""
    return tuple(F.center_crop(item, [size, size]) for item in items)


def mirror_together(
    items: tuple[tv_tensors.TVTensor, ...],
) -> tuple[tv_tensors.TVTensor, ...]:
    """Mirror all pictures and boxes left to right, or none, at random."""
    return tuple(_MIRROR(items))


def occlude(image: tv_tensors.Image, box_xyxy: BoxXYXY) -> tv_tensors.Image:
    """Hide a strip of 15-40 % of the object, from a random side, behind another part of the
    picture (random erasing, Zhong et al. 2020, aimed at the object). The box stays whole."""
    height, width = image.shape[-2:]
    share = 0.15 + 0.25 * float(torch.rand(()))
    x1, y1, x2, y2 = box_xyxy
    side = int(torch.randint(4, ()))
    if side == 0:
        x2 = x1 + share * (x2 - x1)
    elif side == 1:
        x1 = x2 - share * (x2 - x1)
    elif side == 2:
        y2 = y1 + share * (y2 - y1)
    else:
        y1 = y2 - share * (y2 - y1)
    left, right = (min(max(round(x), 0), width) for x in (x1, x2))
    top, bottom = (min(max(round(y), 0), height) for y in (y1, y2))
    if right <= left or bottom <= top:
        return image
    from_row = int(torch.randint(height - (bottom - top) + 1, ()))
    from_column = int(torch.randint(width - (right - left) + 1, ()))
    cover = image[:, from_row : from_row + bottom - top, from_column : from_column + right - left]
    return F.erase(image, top, left, bottom - top, right - left, cover.clone())


def visible_share(box_xyxy: BoxXYXY, width: float, height: float) -> float:
    """Share of the box's area inside a picture of that size; 0 for a box without area."""
    boxes_xyxy = np.array([box_xyxy], dtype=np.float64)
    whole, inside = area(boxes_xyxy)[0], area(clip(boxes_xyxy, width, height))[0]
    return float(inside / whole) if whole else 0.0
