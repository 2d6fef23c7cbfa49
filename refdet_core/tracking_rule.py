"""How candidates in a search window become the next box of a tracked target."""

from __future__ import annotations

from dataclasses import dataclass, field

from refdet_core.crop_rule import CropRule
from refdet_core.errors import BundleError

SCALE_COUNTS = (1, 3, 5)


@dataclass(frozen=True)
class TrackingRule:
    """The search window, and the post-processing of SiamRPN (Li et al., CVPR 2018) and SiamFC.

    Attributes:
        window: how to cut the window around the last box.
        window_influence: weight of the cosine window, which prefers the expected position; within 0
            and 1.
        penalty_k: penalty for a change of size or shape.
        size_lr: how fast the reported size follows the measured one, before score and penalty
            reduce it; between 0 and 1.
        max_step_px: how far the centre may be from the expected position, frame pixels; 0: anywhere
            in the window.
        scales: number of window sizes: 1 trusts the network's boxes; 3 or 5 as in SiamFC.
        scale_step: ratio of neighbouring window sizes (SiamFC: 1.0375).
        scale_penalty: factor on the scores of all window sizes but the last one (SiamFC: 0.9745).
        scale_lr: with several scales, how fast the size follows the best one (SiamFC: 0.59).
        interval_s: seconds between two looks at a target that other networks follow in every frame;
            0: it looks in every frame, too. It keeps an expensive network affordable at a fast
            camera's rate.
    """

    window: CropRule = field(default_factory=lambda: CropRule(192, factor=2.0, max_zoom=3.0))
    window_influence: float = 0.44
    penalty_k: float = 0.055
    size_lr: float = 0.33
    max_step_px: float = 0.0
    scales: int = 1
    scale_step: float = 1.0375
    scale_penalty: float = 0.9745
    scale_lr: float = 0.59
    interval_s: float = 0.0

    def __post_init__(self) -> None:
        for name, low, high in (
            ("window_influence", 0, 1),
            ("penalty_k", 0, 10),
            ("size_lr", 0, 1),
            ("max_step_px", 0, 1e4),
            ("scale_step", 1, 2),
            ("scale_penalty", 0, 1),
            ("scale_lr", 0, 1),
            ("interval_s", 0, 3600),
        ):
            value = getattr(self, name)
            if not low <= value <= high:
                raise BundleError(f"{name} must be between {low} and {high}, got {value}.")
        if self.scales not in SCALE_COUNTS:
            raise BundleError(
                "scales must be one of {}, got {}.".format(
                    ", ".join(map(str, SCALE_COUNTS)), self.scales
                )
            )
