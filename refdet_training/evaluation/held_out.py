"""A network's uncalibrated answers on held-out video, many objects at once.

Each object becomes one template of the same detector, so a frame is encoded once for all objects.
Every frame serves as an absent frame for all objects of its source's other families: a few videos
give hundreds of absent frames per object.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from tqdm import tqdm

from refdet_core.backends import open_backend
from refdet_core.bundle import Bundle
from refdet_core.calibration import Calibration
from refdet_core.detector import Detector
from refdet_core.detector_config import DetectorConfig
from refdet_core.errors import BadReferenceError, SourceError
from refdet_core.types import BoxXYXY
from refdet_training.datasets.instance import Instance
from refdet_training.evaluation.bundle_detector import NO_DETECTION
from refdet_training.evaluation.detection_protocol import (
    DetectionProtocol,
    Prediction,
    Query,
    Skipped,
    cannot_show,
    own_queries,
    prediction_for,
    read_references,
)

UNCALIBRATED = Calibration(score_weight=1.0, presence_weight=0.0, intercept=0.0)
"""Passes raw scores on."""
_TEMPLATES_AT_ONCE = 24
"""The score maps of more templates would take too much memory."""


@dataclass(frozen=True)
class Look:
    """One candidate, and what the second look finds there.

    Attributes:
        box_xyxy, score: of the search network, uncalibrated.
        tracker_box_xyxy, tracker_score, cosine, overlap, relative_cosine: see
            :class:`~refdet_core.search.refinement.SecondLook`.
        features: that the cosine is of, ``(C,)``; empty where no network compares them.
    """

    box_xyxy: BoxXYXY
    score: float
    tracker_box_xyxy: BoxXYXY
    tracker_score: float
    cosine: float = 0.0
    overlap: float | None = None
    relative_cosine: float | None = None
    features: tuple[float, ...] = ()


@dataclass(frozen=True)
class RawPrediction:
    """One object in one frame, before calibration.

    Attributes:
        object_family, shown_family: of the object and of the searched video.
        prediction: its ``score`` is the raw score of the strongest candidate.
        looks: the frame's best candidates, where a tracking network looked at them again.
        references: features of the object's references, which ``looks`` were compared with.
    """

    object_family: str
    shown_family: str
    prediction: Prediction
    looks: tuple[Look, ...] = ()
    references: tuple[tuple[float, ...], ...] = ()


def probabilities(calibration: Calibration, scores: np.ndarray) -> np.ndarray:
    """Calibrated ``scores`` of shape (N,).

    The presence is unknown: only the score of the best candidate among all crops and tiles is.
    Log-odds of 0 stand in for it, so the probability rests on the score alone.
    """
    return calibration(scores, np.full_like(scores, 0.5))


def raw_predictions(
    bundle: Bundle,
    instances: Sequence[Instance],
    protocol: DetectionProtocol,
    search: DetectorConfig,
) -> tuple[list[RawPrediction], list[Skipped]]:
    """Search for every object in its own later frames and in those of its source's other families.

    Args:
        bundle: the bundle; its calibration and threshold are not used.
        instances: long enough instances of any number of sources.
        protocol: ``references`` and ``frames`` of it are used.
        search: how to search; threshold and number of detections do not matter.
    """
    settings = replace(search, score_threshold=0.0, max_detections=1)
    found: list[RawPrediction] = []
    skipped: list[Skipped] = []
    raw_bundle = replace(bundle, calibration=UNCALIBRATED)
    with Detector(raw_bundle, open_backend("auto", bundle), settings) as detector:
        for source in dict.fromkeys(item.source for item in instances):
            chosen = [item for item in instances if item.source == source]
            for first in range(0, len(chosen), _TEMPLATES_AT_ONCE):
                some = chosen[first : first + _TEMPLATES_AT_ONCE]
                wanted, refused = _set_templates(detector, some, protocol)
                skipped.extend(refused)
                if not wanted:
                    continue
                for shown in tqdm(chosen, desc=f"{source}: held-out video", leave=False):
                    predictions, damaged = _look_at(detector, wanted, shown, protocol)
                    found.extend(predictions)
                    skipped.extend(damaged)
                detector.clear_template()
    return found, list(dict.fromkeys(skipped))


def _look_at(
    detector: Detector,
    wanted: Mapping[str, Instance],
    shown: Instance,
    protocol: DetectionProtocol,
) -> tuple[list[RawPrediction], list[Skipped]]:
    """Search the later frames of one video for all objects that it shows or cannot show."""
    asked = {
        name: item for name, item in wanted.items() if item is shown or cannot_show(item, shown)
    }
    found: list[RawPrediction] = []
    skipped: list[Skipped] = []
    for number in (query.frame for query in own_queries(shown, protocol) if asked):
        try:
            frame_bgr = shown.read(number)
        except SourceError as error:
            skipped.append(Skipped.of(shown, str(error)))
            continue
        answers = _answers(detector, frame_bgr)
        found.extend(
            _record(Query(item, shown, number), answers[name]) for name, item in asked.items()
        )
    return found, skipped


def _set_templates(
    detector: Detector, instances: Sequence[Instance], protocol: DetectionProtocol
) -> tuple[dict[str, Instance], list[Skipped]]:
    """Set one template per object; returns the objects by template id, and the unusable ones."""
    wanted: dict[str, Instance] = {}
    skipped: list[Skipped] = []
    for item in instances:
        name = f"{item.video_id}/{item.object_id}"
        try:
            detector.set_template(read_references(item, protocol), name)
            wanted[name] = item
        except (BadReferenceError, SourceError) as error:
            skipped.append(Skipped.of(item, str(error)))
    return wanted, skipped


def _answers(detector: Detector, frame_bgr: np.ndarray) -> dict[str, tuple[BoxXYXY, float]]:
    """By template id the best box with its raw score."""
    result = detector.detect(frame_bgr)
    best = {item.template_id: (item.bbox_xyxy, item.score) for item in result.detections}
    return {name: best.get(name, NO_DETECTION) for name in detector.bank.templates}


def _record(query: Query, answer: tuple[BoxXYXY, float]) -> RawPrediction:
    return RawPrediction(
        query.wanted.family,
        query.shown.family,
        prediction_for(query, *answer),
    )
