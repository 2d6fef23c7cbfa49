"""The search window around a target, and the ranking of the candidates in it.

Window geometry as in SiamFC (Bertinetto et al., ECCV-W 2016), ranking as in SiamRPN (Li et al.,
CVPR 2018): a candidate ranks lower the more its size and shape have changed and the farther it is
from the expected position.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import List, Tuple

import numpy as np

from refdet_core.decoding import Candidates
from refdet_core.errors import ConfigError
from refdet_core.imaging import Crop, context_side
from refdet_core.types import BoxXYXY

SCALE_COUNTS = (1, 3, 5)
_WIDEST = 2.0  # times the usual side; beyond, full-frame search takes over


@dataclass(frozen=True)
class WindowConfig:
    """How a target is tracked in a window (searches ``track`` and ``auto``).

    Attributes:
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
        track_keep_score: minimum probability that counts as the tracked target.
        track_keep_drop: log-odds that the target may score below the usual score of its track.
        track_camera_motion: compensate the camera's motion by optical flow (about 3 ms).
        track_update_s: seconds between views of the tracked target that help its template, see
            :mod:`refdet_core.search.recent_view`; 0: never.
    """

    track_context: float = 0.5
    track_search_ratio: float = 2.0
    track_window_px: int = 192
    track_max_zoom: float = 3.0
    track_scales: int = 1
    track_scale_step: float = 1.0375
    track_window_influence: float = 0.44
    track_penalty_k: float = 0.055
    track_size_lr: float = 0.33
    track_keep_score: float = 0.15
    track_keep_drop: float = 3.0
    track_camera_motion: bool = False
    track_update_s: float = 0.0

    def __post_init__(self) -> None:
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
            ("track_update_s", 0, 3600),
        ):
            value = getattr(self, name)
            if not low <= value <= high:
                raise ConfigError(f"{name} must be within {low} and {high}, got {value}.")
        if self.track_scales not in SCALE_COUNTS:
            raise ConfigError(
                "track_scales must be one of {}, got {}.".format(
                    ", ".join(map(str, SCALE_COUNTS)), self.track_scales
                )
            )


def search_windows(
    box_xyxy: BoxXYXY, uncertainty_px: float, config: WindowConfig, multiple: int
) -> List[Crop]:
    """Square crops around the expected position, the usual size first.

    Args:
        box_xyxy: the expected box in frame pixels.
        uncertainty_px: standard deviation of its centre; the window grows by twice that on each
            side.
        multiple: sides in network pixels are multiples of this.
    """
    width, height = _sides(np.asarray([box_xyxy], dtype=np.float64))
    usual = config.track_search_ratio * float(context_side(width, height, config.track_context)[0])
    usual = max(usual, config.track_window_px / config.track_max_zoom)
    side = min(usual + 4 * uncertainty_px, _WIDEST * usual)
    cells = side / usual * config.track_window_px / multiple
    out_side = multiple * max(1, math.ceil(cells - 0.25))
    x, y = (box_xyxy[0] + box_xyxy[2]) / 2, (box_xyxy[1] + box_xyxy[3]) / 2
    crops = []
    for step in _scale_steps(config.track_scales):
        scaled = max(2, round(side * config.track_scale_step**step))
        crops.append(
            Crop(round(x - scaled / 2), round(y - scaled / 2), scaled, scaled, out_side, out_side)
        )
    return crops


def ranking_scores(
    candidates: Candidates, expected_xyxy: BoxXYXY, window: Crop, config: WindowConfig
) -> np.ndarray:
    """How likely each candidate is the target's next box, ``(N,)`` in [0, 1].

    ``(1 - w) * score * exp(-k (r s - 1)) + w * hann``, with the changes of shape ``r`` and of
    size ``s`` (both at least 1) and a cosine window over the search window.
    """
    width, height = _sides(candidates.boxes_xyxy)
    old_width, old_height = _sides(np.asarray([expected_xyxy], dtype=np.float64))
    size = _change(
        context_side(width, height, config.track_context),
        context_side(old_width, old_height, config.track_context),
    )
    shape = _change(width / height, old_width / old_height)
    penalty = np.exp(-config.track_penalty_k * (size * shape - 1))
    centres = (candidates.boxes_xyxy[:, :2] + candidates.boxes_xyxy[:, 2:]) / 2
    expected = np.array([expected_xyxy[0] + expected_xyxy[2], expected_xyxy[1] + expected_xyxy[3]])
    offsets = np.clip((centres - expected / 2) / [window.width, window.height], -0.5, 0.5)
    hann = np.prod(0.5 + 0.5 * np.cos(2 * np.pi * offsets), axis=1)
    influence = config.track_window_influence
    return np.asarray((1 - influence) * candidates.scores * penalty + influence * hann)


def smoothed_box(
    measured_xyxy: BoxXYXY, score: float, size: Tuple[float, float], config: WindowConfig
) -> BoxXYXY:
    """The measured centre, and a size between the last ``(width, height)`` and the measured one."""
    rate = config.track_size_lr * score
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
