"""Chooses the crop of a search view in its frame."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from refdet_core.boxes import mean_side
from refdet_core.imaging import GREY, Crop, context_side
from refdet_core.types import BoxXYXY
from refdet_training.augment import Rng, visible_share
from refdet_training.pairs.config import PairConfig, WindowPairs

PRESENT_SHARE = 0.5
"""At least this share of a present object is in view."""
ABSENT_SHARE = 0.02
"""At most this share of an absent object is in view."""
_TRIES = 12


def place(
    frame_bgr: np.ndarray,
    subject_xyxy: BoxXYXY,
    target_xyxy: BoxXYXY | None,
    config: PairConfig,
    rng: Rng,
    centred: bool,
    wanted: bool,
) -> Crop:
    """The first random crop that shows the target as required; else one that shows it."""
    showing = None
    for _ in range(_TRIES):
        crop = _random_crop(frame_bgr, subject_xyxy, config, rng, centred)
        if target_xyxy is None:
            return crop
        shown = in_view(to_network(crop, target_xyxy), config.img_size)
        if shown == wanted:
            return crop
        if shown:
            showing = crop
    return showing or _around(target_xyxy or subject_xyxy, frame_bgr, config, rng)


def _random_crop(
    frame_bgr: np.ndarray, subject_xyxy: BoxXYXY, config: PairConfig, rng: Rng, centred: bool
) -> Crop:
    height, width = frame_bgr.shape[:2]
    if config.window is not None and centred:
        return window_crop(subject_xyxy, config, config.window, rng)
    span = _random_span(subject_xyxy, min(width, height), config, rng)
    if not centred:
        left, top = (
            int(rng.integers(min(0, limit - span), max(1, limit - span + 1)))
            for limit in (width, height)
        )
        return _square(left, top, span, config)
    # With a margin of 0 the border may cut the object.
    margin = rng.uniform(0.0, 0.5)
    centre_x, centre_y = _middle(subject_xyxy)
    left = int(centre_x - span * rng.uniform(margin, 1 - margin))
    top = int(centre_y - span * rng.uniform(margin, 1 - margin))
    # Camera frames need little padding at run time, so crops mostly stay inside the frame.
    if rng.random() < 0.8:
        left = min(max(left, 0), max(0, width - span)) if span <= width else left
        top = min(max(top, 0), max(0, height - span)) if span <= height else top
    return _square(left, top, span, config)


def window_crop(subject_xyxy: BoxXYXY, config: PairConfig, window: WindowPairs, rng: Rng) -> Crop:
    """A tracker's search window around where the subject is, off by a random shift and scale."""
    span = _window_span(subject_xyxy, config, window, rng)
    reach = window.shift_px * span / config.img_size
    centre_x, centre_y = (value + rng.uniform(-reach, reach) for value in _middle(subject_xyxy))
    return _square(round(centre_x - span / 2), round(centre_y - span / 2), span, config)


def _window_span(subject_xyxy: BoxXYXY, config: PairConfig, window: WindowPairs, rng: Rng) -> int:
    x1, y1, x2, y2 = subject_xyxy
    context = rng.uniform(*window.context)
    factor = window.factor or config.img_size / config.template_size
    side = factor * float(context_side(x2 - x1, y2 - y1, context))
    return max(16, round(side * (1 + rng.uniform(-window.scale, window.scale))))


def _square(left: int, top: int, span: int, config: PairConfig) -> Crop:
    border = config.window.border if config.window else GREY
    return Crop(left, top, span, span, config.img_size, config.img_size, border)


def _random_span(subject_xyxy: BoxXYXY, longest: int, config: PairConfig, rng: Rng) -> int:
    """Side of a crop in frame pixels that gives the subject a random size in the network, drawn
    evenly in the logarithm; at most ``longest``, so that the crop is no larger than the frame."""
    if config.window is not None:
        return _window_span(subject_xyxy, config, config.window, rng)
    limits = np.log([config.min_object_px, config.max_object_px])
    scale = math.exp(rng.uniform(*limits)) / max(1.0, mean_side(subject_xyxy))
    span = round(config.img_size / min(scale, config.max_zoom))
    return max(16, min(span, longest))


def _around(box_xyxy: BoxXYXY, frame_bgr: np.ndarray, config: PairConfig, rng: Rng) -> Crop:
    """A crop with the whole box in its middle."""
    x1, y1, x2, y2 = box_xyxy
    span = _random_span(box_xyxy, min(frame_bgr.shape[:2]), config, rng)
    span = max(span, math.ceil(max(x2 - x1, y2 - y1)))
    centre_x, centre_y = _middle(box_xyxy)
    left, top = round(centre_x - span / 2), round(centre_y - span / 2)
    return _square(left, top, span, config)


def _middle(box_xyxy: BoxXYXY) -> tuple[float, float]:
    x1, y1, x2, y2 = box_xyxy
    return (x1 + x2) / 2, (y1 + y2) / 2


def enlarged(crop: Crop, margin: float) -> Crop:
    """A larger crop around the same centre at the same scale."""
    if margin == 1.0:
        return crop
    # Both margins are whole pixels, so that the centre of the result is the crop itself.
    rim = math.ceil((margin - 1) / 2 * crop.width)
    out_rim = round(rim * crop.out_width / crop.width)
    return replace(
        crop,
        x=crop.x - rim,
        y=crop.y - rim,
        width=crop.width + 2 * rim,
        height=crop.height + 2 * rim,
        out_width=crop.out_width + 2 * out_rim,
        out_height=crop.out_height + 2 * out_rim,
    )


def to_network(crop: Crop, box_xyxy: BoxXYXY) -> BoxXYXY:
    """One box from frame pixels to network pixels of a crop."""
    x1, y1, x2, y2 = crop.to_network(np.array([box_xyxy], np.float32))[0].tolist()
    return x1, y1, x2, y2


def in_view(box_xyxy: BoxXYXY, size: int) -> bool | None:
    """Whether the object is in view; None if too little of it is visible to decide."""
    share = visible_share(box_xyxy, size, size)
    if share >= PRESENT_SHARE:
        return True
    return False if share <= ABSENT_SHARE else None
