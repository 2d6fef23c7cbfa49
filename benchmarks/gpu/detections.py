"""Step "detections": what lower precision does to detections, not only to tensors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.gpu.engines import PRECISIONS, config_for
from benchmarks.gpu.footage import Footage, read_footage
from benchmarks.gpu.settings import Settings
from benchmarks.speed.section import Section
from refdet_core.backends.config import BackendConfig
from refdet_core.bundle import SEARCH, Bundle
from refdet_core.detector import Detector
from refdet_core.detector_config import DetectorConfig
from refdet_core.errors import RefdetError
from refdet_core.metrics import box_iou
from refdet_core.tracking_bundles import NONE
from refdet_core.types import BoxXYXY

RECALL_IOU = 0.5
_EVERYTHING = DetectorConfig(search="tiles", score_threshold=0.0)


@dataclass(frozen=True)
class Answer:
    """The best detection in one frame, and the object's box; None where it is not there."""

    truth: BoxXYXY | None
    box_xyxy: BoxXYXY | None
    score: float

    @property
    def is_right(self) -> bool:
        """Whether it lies on the object."""
        if self.truth is None or self.box_xyxy is None:
            return False
        return box_iou(self.truth, self.box_xyxy) >= RECALL_IOU


def measure(settings: Settings) -> list[Section]:
    """The same frames through every backend and precision, beside ONNX Runtime."""
    footage = read_footage(settings.footage)
    rows: list[list[Any]] = []
    notes: list[str] = []
    for bundle in settings.loaded(SEARCH):
        expected = answers(bundle, "onnxruntime", BackendConfig(), footage)
        rows.append(_row(bundle, "onnxruntime fp32", expected, expected))
        for backend, precision, config in _cases(settings):
            label = f"{backend} {precision}"
            try:
                found = answers(bundle, backend, config, footage)
            except RefdetError as error:
                notes.append(f"{bundle.name}, {label}: {error}")
                continue
            rows.append(_row(bundle, label, found, expected))
    notes.append(
        f"Recall: the best box overlaps the object by {RECALL_IOU} (IoU), whatever its score. "
        "Found and false alarms: with a score above the bundle's threshold, in frames with and "
        "without the object."
    )
    return [
        Section(
            f"Detections, {footage.source}",
            (
                *("bundle", "backend", "frames", "recall", "found", "false alarms"),
                *("mean change of score", "largest", "mean IoU with onnxruntime"),
            ),
            rows,
            notes,
        )
    ]


def answers(bundle: Bundle, backend: str, config: BackendConfig, footage: Footage) -> list[Answer]:
    """The best detection in every frame of every target."""
    found: list[Answer] = []
    with Detector.open(bundle.folder, backend, _EVERYTHING, config, NONE) as detector:
        for target in footage.targets:
            detector.set_template(target.references)
            for shot in target.shots:
                result = detector.detect(shot.frame_bgr)
                best = result.detections[0] if result.detections else None
                box_xyxy, score = (best.bbox_xyxy, best.score) if best else (None, 0.0)
                found.append(Answer(shot.box_xyxy, box_xyxy, score))
    return found


def _cases(settings: Settings) -> list[tuple[str, str, BackendConfig]]:
    cases = [("tensorrt", name, config_for(settings, name)) for name in PRECISIONS]
    try:
        from refdet_core.backends.torch import TorchBackend

        cases += [("torch", name, BackendConfig(name)) for name in TorchBackend.precisions]
    except RefdetError:
        pass  # the step "torch" gives the reason
    return cases


def _row(bundle: Bundle, label: str, found: list[Answer], expected: list[Answer]) -> list[Any]:
    present = [item for item in found if item.truth is not None]
    absent = [item for item in found if item.truth is None]
    threshold = bundle.score_threshold
    above = [item.score >= threshold for item in present]
    alarms = [item.score >= threshold for item in absent]
    changes = [abs(a.score - b.score) for a, b in zip(found, expected, strict=True)]
    overlaps = [
        box_iou(a.box_xyxy, b.box_xyxy)
        for a, b in zip(found, expected, strict=True)
        if a.box_xyxy is not None and b.box_xyxy is not None
    ]
    return [
        *(bundle.name, label, len(found)),
        _mean([item.is_right for item in present]),
        _mean([a and item.is_right for a, item in zip(above, present, strict=True)]),
        _mean(alarms),
        *(_mean(changes), max(changes, default=None), _mean(overlaps)),
    ]


def _mean(values: list[Any]) -> float | None:
    return round(float(np.mean(values)), 4) if values else None
