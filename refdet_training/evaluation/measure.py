"""Measures several methods with both protocols in one pass over the data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from refdet_core.detector_config import DetectorConfig
from refdet_core.errors import SourceError
from refdet_training.datasets.instance import Instance
from refdet_training.evaluation.detection_protocol import (
    DetectionProtocol,
    FrameDetector,
    Prediction,
    Skipped,
    long_enough,
    run_protocol,
)
from refdet_training.evaluation.tracking_protocol import (
    Track,
    TrackingByDetection,
    TrackingProtocol,
    run_tracking,
)


@dataclass(frozen=True)
class Method:
    """A method, its name in the report, and its threshold."""

    name: str
    detector: FrameDetector
    threshold: float


@dataclass(frozen=True)
class Measured:
    """The results of one method; empty for a protocol that was not run."""

    name: str
    threshold: float
    predictions: tuple[Prediction, ...] = ()
    tracks: tuple[Track, ...] = ()


@dataclass(frozen=True)
class Evaluation:
    """One run of ``refdet-train evaluate``.

    Attributes:
        bundle: name and version of the bundle.
        split: the split of the data.
        search: the bundle's search settings.
        instances: the measured objects.
        detection, tracking: the protocols; None if not run.
        methods: the bundle first, then the baselines.
        skipped: objects and frames that could not be measured.
    """

    bundle: str
    split: str
    search: DetectorConfig
    instances: tuple[Instance, ...]
    detection: DetectionProtocol | None
    tracking: TrackingProtocol | None
    methods: tuple[Measured, ...]
    skipped: tuple[Skipped, ...]

    @property
    def sources(self) -> list[str]:
        """The data sets, in the order they were given."""
        return list(dict.fromkeys(item.source for item in self.instances))


def measure(
    methods: Sequence[Method],
    instances: Sequence[Instance],
    detection: DetectionProtocol | None,
    tracking: TrackingProtocol | None,
) -> tuple[tuple[Measured, ...], tuple[Skipped, ...]]:
    """Run the protocols that are not None for every method.

    Raises:
        SourceError: no object is seen in enough frames.
    """
    measured = []
    skipped: list[Skipped] = []
    kept: list[Instance] = []
    if detection is not None:
        kept, skipped = long_enough(instances, detection)
        if not kept:
            raise SourceError(
                f"None of the {len(instances)} objects is seen in {detection.min_present} frames "
                "or more, as the detection protocol asks. Name other sources or another split."
            )
    for one in methods:
        predictions: list[Prediction] = []
        tracks: list[Track] = []
        if detection is not None:
            predictions, left_out = run_protocol(
                one.detector, kept, detection, f"{one.name}: detection"
            )
            skipped.extend(left_out)
        if tracking is not None:
            tracker = TrackingByDetection(one.detector, one.threshold)
            tracks, left_out = run_tracking(tracker, instances, tracking, f"{one.name}: tracking")
            skipped.extend(left_out)
        measured.append(Measured(one.name, one.threshold, tuple(predictions), tuple(tracks)))
    return tuple(measured), tuple(dict.fromkeys(skipped))
