"""Cuts template and search views with random place, scale, rotation and perspective."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torchvision import tv_tensors

from refdet_core.imaging import PAD_BGR, Crop, extract, square_around
from refdet_core.types import BoxXYXY
from refdet_training.augment import (
    TILT_MARGIN,
    Rng,
    as_box,
    as_image,
    box_of,
    cut_centre,
    from_afar,
    hull_is_tight,
    mirror_together,
    occlude,
    photometric,
    turn_and_tilt,
    turn_margin,
)
from refdet_training.pairs.config import PairConfig, WindowPairs
from refdet_training.pairs.crops import enlarged, in_view, place, to_network

TEMPLATE_MARGIN = 1.6
"""Side of the template view's source picture relative to its crop: room for jitter, rotation and
perspective."""


@dataclass(frozen=True)
class SearchView:
    """A search view before photometric changes.

    Attributes:
        image: ``(3, S, S)`` uint8 RGB.
        box_xyxy: the object, network pixels, perhaps ending outside; None: not in view.
        tight: whether the box still fits the object's extents.
    """

    image: tv_tensors.Image
    box_xyxy: BoxXYXY | None
    tight: bool


def template_view(
    image_bgr: np.ndarray,
    box_xyxy: BoxXYXY,
    config: PairConfig,
    rng: Rng,
    keep_colours: bool = False,
) -> Tensor:
    """An augmented input of the template encoder, ``(3, s, s)`` uint8 RGB.

    Args:
        image_bgr: shows the object with :data:`TEMPLATE_MARGIN` around its crop.
        keep_colours: see :func:`refdet_training.augment.photometric`.
    """
    if config.window is not None:
        return _window_template(image_bgr, box_xyxy, config, config.window, rng, keep_colours)
    size = config.template_size
    box_xyxy = jitter_box(box_xyxy, rng, 0.08, 0.12)
    if rng.random() < 0.15:  # a tightly cropped photo has no surroundings
        image_bgr = _only_inside(image_bgr, box_xyxy)
    degrees = float(np.clip(rng.normal(0, 12), -30, 30)) if rng.random() < 0.4 else 0.0
    tilt = bool(rng.random() < 0.2)
    crop = square_around(box_xyxy, config.template_context, size)
    image = as_image(extract(image_bgr, enlarged(crop, _margin(degrees, tilt))))
    (image,) = cut_centre(turn_and_tilt((image,), degrees, tilt), size)
    if rng.random() < 0.2:
        image = from_afar(image, 0.35)
    view: Tensor = photometric(image, keep_colours).as_subclass(Tensor)
    return view


def _window_template(
    image_bgr: np.ndarray,
    box_xyxy: BoxXYXY,
    config: PairConfig,
    window: WindowPairs,
    rng: Rng,
    keep_colours: bool,
) -> Tensor:
    """A template as a tracker takes it from its first frame: only a little off."""
    size = config.template_size
    exact = square_around(box_xyxy, config.template_context, size)
    side = max(2, round(exact.width * (1 + rng.uniform(-1, 1) * window.template_scale)))
    reach = window.template_shift_px * side / size
    x1, y1, x2, y2 = box_xyxy
    left = round((x1 + x2) / 2 - side / 2 + rng.uniform(-reach, reach))
    top = round((y1 + y2) / 2 - side / 2 + rng.uniform(-reach, reach))
    crop = Crop(left, top, side, side, size, size, window.border)
    view: Tensor = photometric(as_image(extract(image_bgr, crop)), keep_colours).as_subclass(Tensor)
    return view


def search_view(
    frame_bgr: np.ndarray,
    subject_xyxy: BoxXYXY,
    target_xyxy: BoxXYXY | None,
    config: PairConfig,
    rng: Rng,
    centred: bool = True,
) -> SearchView:
    """A random crop of a frame, scaled so that the subject has a random size.

    At least half of the target is in view, or nothing of it: other crops are drawn again. If the
    subject is not the target, crops without the target are preferred.

    Args:
        subject_xyxy: box that determines the crop's place and scale: the target or a distractor.
        target_xyxy: the target; None if it is not in the frame.
        centred: False places the crop anywhere in the frame and avoids the target.
    """
    degrees = _turn(config, rng)
    tilt = bool(rng.random() < config.tilt_share)
    wanted = centred and subject_xyxy == target_xyxy
    crop = place(frame_bgr, subject_xyxy, target_xyxy, config, rng, centred, wanted)
    margin = _margin(degrees, tilt)
    outer = enlarged(crop, margin)
    image = as_image(extract(frame_bgr, outer))
    if target_xyxy is None:
        (image,) = cut_centre(turn_and_tilt((image,), degrees, tilt), config.img_size)
        return SearchView(image, None, tight=True)
    box = as_box(to_network(outer, target_xyxy), image)
    moved = cut_centre(turn_and_tilt((image, box), degrees, tilt), config.img_size)
    present = in_view(to_network(crop, target_xyxy), config.img_size)
    if in_view(box_of(moved[1]), config.img_size) != present:  # rotated out of view, or into it
        moved = cut_centre((image, box), config.img_size)
    tight = hull_is_tight(box_of(box), box_of(moved[1]))
    return SearchView(moved[0], box_of(moved[1]) if present else None, tight)


def finish(
    templates: list[Tensor],
    view: SearchView,
    config: PairConfig,
    rng: Rng,
    keep_colours: bool = False,
) -> tuple[Tensor, Tensor, BoxXYXY | None]:
    """Occlusion and photometric changes of the search view; random mirroring of all views.

    Returns:
        templates ``(R, 3, s, s)``, search view ``(3, S, S)``, and the box, None when absent.
    """
    image = view.image
    if view.box_xyxy is not None and rng.random() < config.occluded_share:
        image = occlude(image, view.box_xyxy)
    image = photometric(image, keep_colours)
    box = as_box(view.box_xyxy or (0.0, 0.0, 0.0, 0.0), image)
    stack = tv_tensors.Image(torch.stack(templates))
    stack, image, box = mirror_together((stack, image, box))
    return (
        stack.as_subclass(Tensor),
        image.as_subclass(Tensor),
        box_of(box) if view.box_xyxy is not None else None,
    )


def jitter_box(box_xyxy: BoxXYXY, rng: Rng, shift: float, scale: float) -> BoxXYXY:
    """Move a box by a share of its size and scale its sides, because users never draw exactly."""
    x1, y1, x2, y2 = box_xyxy
    width, height = x2 - x1, y2 - y1
    centre_x = (x1 + x2) / 2 + rng.uniform(-shift, shift) * width
    centre_y = (y1 + y2) / 2 + rng.uniform(-shift, shift) * height
    width *= math.exp(rng.uniform(-scale, scale))
    height *= math.exp(rng.uniform(-scale, scale))
    return centre_x - width / 2, centre_y - height / 2, centre_x + width / 2, centre_y + height / 2


def _turn(config: PairConfig, rng: Rng) -> float:
    kind = rng.random()
    if kind < config.any_turn_share:
        return float(rng.uniform(-180, 180))
    if kind < config.any_turn_share + config.turn_share:
        return float(rng.normal(0, config.turn_degrees))
    return 0.0


def _margin(degrees: float, tilt: bool) -> float:
    return turn_margin(degrees) * (TILT_MARGIN if tilt else 1.0)


def _only_inside(image_bgr: np.ndarray, box_xyxy: BoxXYXY) -> np.ndarray:
    x1, y1, x2, y2 = (max(0, round(value)) for value in box_xyxy)
    blank = np.full_like(image_bgr, PAD_BGR[0])
    blank[y1:y2, x1:x2] = image_bgr[y1:y2, x1:x2]
    return blank
