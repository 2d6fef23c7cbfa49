"""The search window around a target, and the ranking of the candidates in it.

Window geometry as in SiamFC (Bertinetto et al., ECCV-W 2016), ranking as in SiamRPN (Li et al.,
CVPR 2018): a candidate ranks lower the more its size and shape have changed and the farther it is
from the expected position.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, Dict, List, Tuple, TypeVar

import numpy as np

from refdet_core.boxes import as_tuple
from refdet_core.crop_rule import CropRule
from refdet_core.decoding import Candidates
from refdet_core.errors import ConfigError
from refdet_core.imaging import Crop, context_side
from refdet_core.tracking_rule import SCALE_COUNTS, TrackingRule
from refdet_core.types import BoxXYXY

_WIDEST = 1.5  # times the usual side; beyond, full-frame search takes over
AS_BUNDLE = -1.0


@dataclass(frozen=True)
class Persistence:
    """When the followed target counts as still there.

    Attributes:
        keep_score: least probability of a candidate that counts as the followed target.
        keep_drop: log-odds by which it may score below the track's usual score.
    """

    keep_score: float
    keep_drop: float


PERSISTENCE = {
    "cautious": Persistence(keep_score=0.3, keep_drop=2.0),
    "balanced": Persistence(keep_score=0.15, keep_drop=3.0),
    "stubborn": Persistence(keep_score=0.0, keep_drop=20.0),
}


@dataclass(frozen=True)
class WindowConfig:
    """How a target is tracked in a window (searches ``track`` and ``auto``).

    Values of -1 come from the bundle of the network that looks into the window, see
    :class:`~refdet_core.tracking_rule.TrackingRule`; a number is for every network.

    Attributes:
        track_persistence: ``cautious`` reports only what is clearly the target, ``balanced`` also
            what probably is, ``stubborn`` the best place in every frame until the target is
            cleared.
        track_verify_s: while another network tracks, the search network checks the target this
            often, seconds, and in every frame in which one of them doubts.
        track_context: margin around the target as a share of its mean side (SiamFC: 0.5).
        track_search_ratio: side of the window divided by the side of target plus context (SiamFC:
            2).
        track_window_px: side of the window in network pixels.
        track_max_zoom: maximum network pixels per frame pixel; small targets get a wider window.
        track_scales: number of window sizes: 1 relies on the network's boxes; 3 or 5 as in SiamFC.
        track_scale_step: ratio of neighbouring window sizes (SiamFC: 1.0375).
        track_window_influence: weight of the cosine window, which prefers the expected position
            (SiamRPN++: 0.44).
        track_penalty_k: penalty for a change of size or shape (SiamRPN: 0.055).
        track_size_lr: how fast the reported size follows the measured one (SiamRPN: 0.33).
        track_keep_score: minimum probability that counts as the tracked target; -1: as
            ``track_persistence`` says.
        track_keep_drop: log-odds that the target may score below the usual score of its track; -1:
            as ``track_persistence`` says.
        track_camera_motion: compensate the camera's motion by optical flow (about 3 ms).
        track_update_s: seconds between views of the tracked target that help its template, see
            :mod:`refdet_core.search.recent_view`; 0: never.
    """

    track_persistence: str = "balanced"
    track_verify_s: float = 0.1
    track_context: float = AS_BUNDLE
    track_search_ratio: float = AS_BUNDLE
    track_window_px: int = -1
    track_max_zoom: float = AS_BUNDLE
    track_scales: int = -1
    track_scale_step: float = AS_BUNDLE
    track_window_influence: float = AS_BUNDLE
    track_penalty_k: float = AS_BUNDLE
    track_size_lr: float = AS_BUNDLE
    track_keep_score: float = AS_BUNDLE
    track_keep_drop: float = AS_BUNDLE
    track_camera_motion: bool = False
    track_update_s: float = 0.0

    def __post_init__(self) -> None:
        if self.track_persistence not in PERSISTENCE:
            raise ConfigError(
                "track_persistence must be one of {}, got '{}'.".format(
                    ", ".join(PERSISTENCE), self.track_persistence
                )
            )
        for name, low, high in (
            ("track_context", 0, 2),
            ("track_search_ratio", 1, 8),
            ("track_window_px", 64, 1024),
            ("track_max_zoom", 0.25, 8),
            ("track_scale_step", 1, 2),
            ("track_window_influence", 0, 1),
            ("track_penalty_k", 0, 10),
            ("track_size_lr", 0, 1),
            ("track_keep_score", 0, 1),
            ("track_keep_drop", 0, 20),
        ):
            value = getattr(self, name)
            if value != AS_BUNDLE and not low <= value <= high:
                raise ConfigError(
                    f"{name} must be between {low} and {high}, or -1 for the default, got {value}."
                )
        for name in ("track_verify_s", "track_update_s"):
            if not 0 <= getattr(self, name) <= 3600:
                raise ConfigError(f"{name} must be between 0 and 3600, got {getattr(self, name)}.")
        if self.track_scales not in (AS_BUNDLE, *SCALE_COUNTS):
            raise ConfigError(
                "track_scales must be one of {}, or -1 for the bundle's, got {}.".format(
                    ", ".join(map(str, SCALE_COUNTS)), self.track_scales
                )
            )

    @property
    def keep_score(self) -> float:
        """Least probability of a candidate that counts as the followed target."""
        if self.track_keep_score != AS_BUNDLE:
            return self.track_keep_score
        return PERSISTENCE[self.track_persistence].keep_score

    @property
    def keep_drop(self) -> float:
        """Log-odds by which the target may score below its track's usual score."""
        if self.track_keep_drop != AS_BUNDLE:
            return self.track_keep_drop
        return PERSISTENCE[self.track_persistence].keep_drop

    @property
    def always_reports(self) -> bool:
        """Whether the target counts as seen in every frame in which it is followed."""
        return self.track_persistence == "stubborn" and self.keep_score == 0

    def rule(self, bundled: TrackingRule) -> TrackingRule:
        """A bundle's rule with the values set here."""
        window = _changed(
            bundled.window,
            context=self.track_context,
            factor=self.track_search_ratio,
            size=self.track_window_px,
            max_zoom=self.track_max_zoom,
        )
        return replace(
            _changed(
                bundled,
                scales=self.track_scales,
                scale_step=self.track_scale_step,
                window_influence=self.track_window_influence,
                penalty_k=self.track_penalty_k,
                size_lr=self.track_size_lr,
            ),
            window=window,
        )


Rule = TypeVar("Rule", CropRule, TrackingRule)


def _changed(rule: Rule, **values: float) -> Rule:
    """The rule with those values that are not left to the bundle."""
    given: Dict[str, Any] = {name: value for name, value in values.items() if value != AS_BUNDLE}
    return replace(rule, **given)


def search_windows(
    box_xyxy: BoxXYXY,
    rule: TrackingRule,
    multiple: int,
    uncertainty_px: float = 0.0,
    least: float = 1.0,
) -> List[Crop]:
    """Crops around the expected position, of several sizes the middle one first.

    Args:
        box_xyxy: the expected box in frame pixels.
        multiple: sides in network pixels are multiples of this.
        uncertainty_px: standard deviation of its centre; the window grows by twice that on each
            side.
        least: the side without uncertainty, as a share of the rule's.
    """
    crop = rule.window
    width, height = (float(side[0]) for side in _sides(np.asarray([box_xyxy], dtype=np.float64)))
    usual = crop.sides(width, height)
    growth = min(least + 4 * uncertainty_px / min(usual), _WIDEST)
    out_side = multiple * max(1, math.ceil(growth * crop.size / multiple - 0.25))
    x, y = (box_xyxy[0] + box_xyxy[2]) / 2, (box_xyxy[1] + box_xyxy[3]) / 2
    crops = []
    for step in _scale_steps(rule.scales):
        scaled = growth * rule.scale_step**step
        across, down = (max(2, round(side * scaled)) for side in usual)
        left, top = round(x - across / 2), round(y - down / 2)
        crops.append(Crop(left, top, across, down, out_side, out_side, crop.border))
    return crops


def change_penalty(
    boxes_xyxy: np.ndarray, expected_xyxy: BoxXYXY, rule: TrackingRule
) -> np.ndarray:
    """``exp(-k (r s - 1))`` of each box, ``(N,)`` in [0, 1], with the changes of shape ``r`` and of
    size ``s`` (both at least 1) against the expected box."""
    width, height = _sides(boxes_xyxy)
    old_width, old_height = _sides(np.asarray([expected_xyxy], dtype=np.float64))
    context = rule.window.context
    size = _change(
        context_side(width, height, context), context_side(old_width, old_height, context)
    )
    shape = _change(width / height, old_width / old_height)
    return np.asarray(np.exp(-rule.penalty_k * (size * shape - 1)))


def scale_penalty(boxes_xyxy: np.ndarray, expected_xyxy: BoxXYXY, rule: TrackingRule) -> np.ndarray:
    """SiamFC's factor on boxes whose size differs by half a scale step or more, ``(N,)``;
    1 for all where one window size is searched."""
    if rule.scales == 1:
        return np.ones(len(boxes_xyxy))
    width, height = _sides(boxes_xyxy)
    old_width, old_height = _sides(np.asarray([expected_xyxy], dtype=np.float64))
    steps = np.abs(np.log(width * height / (old_width * old_height))) / 2
    other = steps > math.log(rule.scale_step) / 2
    return np.where(other, rule.scale_penalty, 1.0)


def ranking_scores(
    candidates: Candidates, expected_xyxy: BoxXYXY, window: Crop, rule: TrackingRule
) -> np.ndarray:
    """How likely each candidate is the target's next box, ``(N,)`` in [0, 1].

    ``(1 - w) * score * penalty + w * hann``, with :func:`change_penalty`, :func:`scale_penalty` and
    a cosine window over the search window.
    """
    penalty = change_penalty(candidates.boxes_xyxy, expected_xyxy, rule)
    penalty = penalty * scale_penalty(candidates.boxes_xyxy, expected_xyxy, rule)
    centres = (candidates.boxes_xyxy[:, :2] + candidates.boxes_xyxy[:, 2:]) / 2
    expected = np.array([expected_xyxy[0] + expected_xyxy[2], expected_xyxy[1] + expected_xyxy[3]])
    offsets = np.clip((centres - expected / 2) / [window.width, window.height], -0.5, 0.5)
    hann = np.prod(0.5 + 0.5 * np.cos(2 * np.pi * offsets), axis=1)
    influence = rule.window_influence
    return np.asarray((1 - influence) * candidates.scores * penalty + influence * hann)


def within_step(box_xyxy: BoxXYXY, expected_xyxy: BoxXYXY, max_step_px: float) -> BoxXYXY:
    """The box, moved towards the expected one until their centres are at most so far apart; 0: the
    box as it is."""
    box, expected = np.asarray(box_xyxy), np.asarray(expected_xyxy)
    step = (box[:2] + box[2:] - expected[:2] - expected[2:]) / 2
    distance = float(np.hypot(*step))
    if not max_step_px or distance <= max_step_px:
        return box_xyxy
    return as_tuple(box - np.tile(step * (1 - max_step_px / distance), 2))


def smoothed_box(measured_xyxy: BoxXYXY, rate: float, size: Tuple[float, float]) -> BoxXYXY:
    """A box at the measured centre, its size ``rate`` of the way from the last ``(width, height)``
    to the measured one."""
    x1, y1, x2, y2 = measured_xyxy
    width = (1 - rate) * size[0] + rate * max(1.0, x2 - x1)
    height = (1 - rate) * size[1] + rate * max(1.0, y2 - y1)
    x, y = (x1 + x2) / 2, (y1 + y2) / 2
    return x - width / 2, y - height / 2, x + width / 2, y + height / 2


def _scale_steps(count: int) -> List[int]:
    """0, then the steps around it: 0, -1, 1, -2, 2."""
    return sorted(range(-(count // 2), count // 2 + 1), key=abs)


def _sides(boxes_xyxy: np.ndarray) -> Tuple[np.ndarray, np.ndarray]:
    """Widths and heights, at least one pixel."""
    sides = np.maximum(boxes_xyxy[:, 2:] - boxes_xyxy[:, :2], 1.0)
    return sides[:, 0], sides[:, 1]


def _change(new: np.ndarray, old: np.ndarray) -> np.ndarray:
    return np.asarray(np.maximum(new / old, old / new))
