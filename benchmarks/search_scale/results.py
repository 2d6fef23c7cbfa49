"""What a way to choose scales achieves, from what the network shows at each of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.search_scale.looks import Look, name_of
from benchmarks.search_scale.policies import Policy
from refdet_core.boxes import mean_side
from refdet_core.metrics import box_iou
from refdet_core.search.scales import SizeRange
from refdet_core.types import BoxXYXY
from refdet_training.datasets.instance import Instance
from refdet_training.evaluation.bundle_detector import NO_DETECTION
from refdet_training.evaluation.detection_numbers import STRICT_IOU, summarise
from refdet_training.evaluation.detection_protocol import (
    DetectionProtocol,
    Query,
    prediction_for,
    reference_frames,
)

NETWORK_EDGES_PX = tuple(float(round(4 * 2 ** (step / 2), 1)) for step in range(14))
"""Bins of the object's size in the network."""


@dataclass(frozen=True)
class Result:
    """What a policy achieved on one data set.

    Attributes:
        numbers: see :func:`~refdet_training.evaluation.detection_numbers.summarise`.
        cpu_ms: of one thread a frame, mean.
    """

    policy: str
    source: str
    numbers: dict[str, Any]
    cpu_ms: float


@dataclass(frozen=True)
class SizeBin:
    """Frames that show the object at such a size in the network, and the share found."""

    middle_px: float
    frames: int
    recall: float


class Looks:
    """What was recorded of one data set, by frame."""

    def __init__(
        self, looks: Sequence[Look], instances: Sequence[Instance], protocol: DetectionProtocol
    ) -> None:
        self._instances = {name_of(item): item for item in instances}
        self._by_frame: dict[tuple[str, int], dict[float, Look]] = {}
        for look in looks:
            if look.video in self._instances:
                frame = self._by_frame.setdefault((look.video, look.frame), {})
                frame[round(look.scale, 3)] = look
        self._sizes = {
            name: _sizes(item, reference_frames(item, protocol))
            for name, item in self._instances.items()
        }

    def result(
        self, policy: Policy, threshold: float, ms_per_megapixel: Mapping[float, float]
    ) -> Result:
        """A policy's numbers."""
        predictions, times_ms = [], []
        for (video, number), scales in self._by_frame.items():
            any_look = next(iter(scales.values()))
            for wanted in any_look.answers:
                chosen = policy.scales(tuple(any_look.frame_size), self._sizes[wanted])
                query = Query(self._instances[wanted], self._instances[video], number)
                answer = _best(scales[round(scale, 3)].answers[wanted] for scale in chosen)
                predictions.append(prediction_for(query, *answer))
                megapixels = any_look.frame_size[0] * any_look.frame_size[1] / 1e6
                times_ms.append(
                    sum(_nearest(ms_per_megapixel, one) * one**2 * megapixels for one in chosen)
                )
        source = next(iter(self._instances.values())).source
        numbers = summarise(predictions, threshold)
        return Result(policy.name, source, numbers, float(np.mean(times_ms)))

    def recall_by_network_size(self) -> list[SizeBin]:
        """Over all frames and scales: how large the object is in the network, and what is found."""
        sizes, found = [], []
        for (video, number), scales in self._by_frame.items():
            truth_xyxy = self._instances[video].boxes_xyxy.get(number)
            if truth_xyxy is None:
                continue
            for scale, look in scales.items():
                box_xyxy, _ = _best([look.answers[video]])
                sizes.append(mean_side(truth_xyxy) * scale)
                found.append(box_iou(box_xyxy, truth_xyxy) >= STRICT_IOU)
        place = np.digitize(sizes, NETWORK_EDGES_PX)
        return [
            SizeBin(
                float(np.sqrt(NETWORK_EDGES_PX[i - 1] * NETWORK_EDGES_PX[i])),
                int((place == i).sum()),
                float(np.mean(np.array(found)[place == i])),
            )
            for i in range(1, len(NETWORK_EDGES_PX))
            if (place == i).any()
        ]


def _sizes(item: Instance, numbers: Sequence[int]) -> SizeRange:
    sizes_px = [mean_side(item.boxes_xyxy[number]) for number in numbers]
    return SizeRange(min(sizes_px), max(sizes_px))


def _best(answers: Any) -> tuple[BoxXYXY, float]:
    """The most probable candidate of all scales."""
    rows = [row for some in answers for row in some]
    if not rows:
        return NO_DETECTION
    x1, y1, x2, y2, score = max(rows, key=lambda row: row[4])
    return (x1, y1, x2, y2), score


def _nearest(values: Mapping[float, float], scale: float) -> float:
    return values[min(values, key=lambda known: abs(known - scale))]
