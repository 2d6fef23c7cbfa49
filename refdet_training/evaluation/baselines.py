"""Baselines for a trained bundle: its untrained backbone, and template matching."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from refdet_core.boxes import mean_side
from refdet_core.imaging import Crop, extract, to_blob
from refdet_core.model.backbones import make_backbone
from refdet_core.model.correlation import unit
from refdet_core.templates import check_reference
from refdet_core.types import BoxXYXY, Reference
from refdet_training.evaluation.detection_protocol import FrameDetector
from refdet_training.initialisation import load_weights

_SCALES = (0.75, 1.0, 1.33)
_OBJECT_PX = 48  # network pixels
_SHOWN_AT = (0.25, 4.0)  # scales of a frame, ...
_MOST_PIXELS = 4e6  # ... and its largest size


class UntrainedBackbone(FrameDetector):
    """Zero-shot: the pretrained backbone's features of one level, each reference's box as kernel at
    several scales, cosine correlation over the whole frame; the peak takes the reference's box
    size. Frames are shown at the scale at which the first reference's object has 48 pixels, but
    at a quarter to four times their own size and with four megapixels at most.

    Args:
        name: of the backbone, see :data:`refdet_core.model.backbones.BACKBONES`.
        weights: file of a state dict, or what else its ``load_weights`` takes.
        strides: the levels that it is built with.
        level: which of them is compared.

    Raises:
        ConfigError: there is no such backbone, or these are not its weights.
    """

    def __init__(
        self, name: str, weights: Path, strides: Sequence[int] = (8, 16), level: int = -1
    ) -> None:
        self._backbone = make_backbone(name, strides).eval()
        load_weights(self._backbone, name, weights)
        self._stride, self._level = strides[level], level

    def set_references(self, references: Sequence[Reference]) -> None:
        boxes = [check_reference(reference) for reference in references]
        self._references = list(zip(references, boxes, strict=True))
        self._fitting = float(np.clip(_OBJECT_PX / mean_side(boxes[0]), *_SHOWN_AT))
        self._kernels: tuple[float, list[tuple[Tensor, float, float]]] = (0.0, [])

    def detect(self, frame_bgr: np.ndarray) -> tuple[BoxXYXY, float]:
        height, width = frame_bgr.shape[:2]
        scale = min(self._fitting, float(np.sqrt(_MOST_PIXELS / (width * height))))
        out_width, out_height = (-(-round(side * scale) // 32) * 32 for side in (width, height))
        crop = Crop(
            0, 0, round(out_width / scale), round(out_height / scale), out_width, out_height
        )
        features = self._features(extract(frame_bgr, crop))
        best: tuple[BoxXYXY, float] = ((0.0, 0.0, 1.0, 1.0), -1.0)
        if self._kernels[0] != scale:
            self._kernels = scale, self._kernels_at(scale)
        for kernel, box_width, box_height in self._kernels[1]:
            pad = (kernel.shape[2] // 2, kernel.shape[3] // 2)
            response = F.conv2d(features, kernel, padding=pad)[0, 0] / (
                kernel.shape[2] * kernel.shape[3]
            )
            peak = float(response.max())
            if peak > best[1]:
                row, column = divmod(int(response.argmax()), response.shape[1])
                x, y = ((cell + 0.5) * self._stride / scale for cell in (column, row))
                best = (
                    (x - box_width / 2, y - box_height / 2, x + box_width / 2, y + box_height / 2),
                    peak,
                )
        return best[0], float(np.clip(best[1], 0, 1))

    def _kernels_at(self, shown_at: float) -> list[tuple[Tensor, float, float]]:
        """For frames at that scale; each with its box's width and height in frame pixels."""
        kernels = []
        for scale in _SCALES:
            for reference, (x1, y1, x2, y2) in self._references:
                width, height = (x2 - x1) * scale, (y2 - y1) * scale
                cells = [
                    max(1, round(side * shown_at / self._stride)) | 1 for side in (height, width)
                ]
                rows, columns = (count + 8 for count in cells)
                pixels = self._stride / (scale * shown_at)  # of the photo, in a cell
                crop = Crop(
                    int((x1 + x2) / 2 - columns * pixels / 2),
                    int((y1 + y2) / 2 - rows * pixels / 2),
                    max(1, int(columns * pixels)),
                    max(1, int(rows * pixels)),
                    columns * self._stride,
                    rows * self._stride,
                )
                features = self._features(extract(reference.image_bgr, crop))
                kernel = features[:, :, 4 : 4 + cells[0], 4 : 4 + cells[1]]
                kernels.append((kernel, width, height))
        return kernels

    @torch.no_grad()
    def _features(self, image_bgr: np.ndarray) -> Tensor:
        return unit(self._backbone(torch.from_numpy(to_blob([image_bgr])))[self._level])


class MatchTemplate(FrameDetector):
    """``cv2.matchTemplate`` (normalised correlation) of the first reference at several scales."""

    def set_references(self, references: Sequence[Reference]) -> None:
        x1, y1, x2, y2 = (round(value) for value in check_reference(references[0]))
        photo = references[0].image_bgr[y1:y2, x1:x2]
        self._templates = [
            cv2.resize(photo, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
            for scale in _SCALES
            if min(photo.shape[:2]) * scale >= 4
        ]

    def detect(self, frame_bgr: np.ndarray) -> tuple[BoxXYXY, float]:
        best: tuple[BoxXYXY, float] = ((0.0, 0.0, 1.0, 1.0), -1.0)
        for template in self._templates:
            height, width = template.shape[:2]
            if height > frame_bgr.shape[0] or width > frame_bgr.shape[1]:
                continue
            response = cv2.matchTemplate(frame_bgr, template, cv2.TM_CCOEFF_NORMED)
            _, peak, _, (x, y) = cv2.minMaxLoc(response)
            if peak > best[1]:
                best = ((float(x), float(y), float(x + width), float(y + height)), float(peak))
        return best[0], float(np.clip(best[1], 0, 1))
