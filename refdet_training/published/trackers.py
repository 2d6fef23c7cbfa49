"""The published trackers that can become bundles: their files, their crops, their settings.

The settings are the authors', tuned for general video; nothing was tuned on our data.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from refdet_core.crop_rule import CropRule
from refdet_core.tracking_rule import TrackingRule

IMAGENET_MEAN = (123.675, 116.28, 103.53)
IMAGENET_STD = (58.395, 57.12, 57.375)


@dataclass(frozen=True)
class PublishedTracker:
    """One tracker as its authors publish it.

    Attributes:
        title: for people.
        backbone, head: file names of the two ONNX graphs.
        template, search: the head's inputs.
        score: its output of logits, of one channel or of two (background, object).
        distances: its output of distances left, top, right, bottom from the cell's point, pixels.
        first_point: network pixel, along both axes, that the first cell stands for.
        mean, std: of RGB 0-255, by which the backbone's input is normalised.
        takes_bgr: the backbone was trained with blue first.
        template_crop, tracking: how images are cut and answers are used.
        source, licence, licence_file: where it comes from and on what terms.
    """

    title: str
    backbone: str
    head: str
    template: str
    search: str
    score: str
    distances: str
    first_point: float
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    takes_bgr: bool
    template_crop: CropRule
    tracking: TrackingRule
    source: str
    licence: str
    licence_file: str

    @property
    def shift(self) -> np.ndarray:
        """What to subtract from RGB 0-255, ``(1, 3, 1, 1)`` float32."""
        return np.array(self.mean, np.float32).reshape(1, 3, 1, 1)

    @property
    def scale(self) -> np.ndarray:
        """What to multiply that with, ``(1, 3, 1, 1)`` float32."""
        return (1 / np.array(self.std, np.float32)).reshape(1, 3, 1, 1)


def _nanotrack(
    version: str, first_point: float, influence: float, penalty: float, rate: float
) -> PublishedTracker:
    return PublishedTracker(
        title=f"NanoTrack {version}",
        backbone=f"nanotrack{version}_backbone.onnx",
        head=f"nanotrack{version}_head.onnx",
        template="input1",
        search="input2",
        score="output1",
        distances="output2",
        first_point=first_point,
        mean=(0.0, 0.0, 0.0),
        std=(1.0, 1.0, 1.0),
        takes_bgr=True,
        template_crop=CropRule(127, border="mean"),
        # Published with 255 px; 256 shows one pixel more at the same scale.
        tracking=TrackingRule(
            CropRule(256, factor=256 / 127, border="mean"), influence, penalty, rate
        ),
        source="github.com/HonglinChu/SiamTrackers, NanoTrack",
        licence="Apache-2.0",
        licence_file="NanoTrack-Apache-2.0.txt",
    )


TRACKERS = {
    "lighttrack": PublishedTracker(
        title="LightTrack-Mobile",
        backbone="lighttrack_backbone.onnx",
        head="lighttrack_head.onnx",
        template="temp",
        search="745",
        score="cls",
        distances="reg",
        first_point=0.0,
        mean=IMAGENET_MEAN,
        std=IMAGENET_STD,
        takes_bgr=False,
        template_crop=CropRule(128, border="black"),
        # It takes longer than the others together.
        tracking=TrackingRule(
            CropRule(256, factor=2.0, border="black"), 0.225, 0.062, 0.765, interval_s=0.05
        ),
        source="github.com/researchmm/LightTrack (Yan et al., CVPR 2021)",
        licence="MIT",
        licence_file="LightTrack-MIT.txt",
    ),
    "fear": PublishedTracker(
        title="FEAR-XS",
        backbone="fear_backbone.onnx",
        head="fear_head.onnx",
        template="template_features",
        search="input.125",
        score="cls",
        distances="bbox",
        first_point=0.0,
        mean=IMAGENET_MEAN,
        std=(1.0, 1.0, 1.0),
        takes_bgr=False,
        template_crop=CropRule(128, context=0.0, factor=1.4, stretched=True, border="mean"),
        tracking=TrackingRule(
            CropRule(256, context=0.0, factor=5.0, stretched=True, border="mean"),
            0.38,
            0.062,
            0.765,
        ),
        source="github.com/PinataFarms/FEARTracker (Borsuk et al., ECCV 2022)",
        licence="MIT",
        licence_file="FEAR-MIT.txt",
    ),
    "nanotrackv2": _nanotrack("v2", -0.5, 0.490, 0.148, 0.390),
    "nanotrackv3": _nanotrack("v3", 15.5, 0.455, 0.138, 0.348),
}
STRIDE = 16
