"""Everything one evaluation measured: several finders, both protocols, one pass over the data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from refdet_core.detector import DetectorConfig
from refdet_core.errors import SourceError
from refdet_training.datasets.instance import Instance
from refdet_training.evaluation.detection_protocol import (
    DetectionProtocol,
    Finder,
    Outcome,
    Skipped,
    long_enough,
    run_protocol,
)
from refdet_training.evaluation.tracking_protocol import (
    FinderTracker,
    Track,
    TrackingProtocol,
    run_tracking,
)


@dataclass(frozen=True)
class Contestant:
    """What is measured, its name in the report, and from which score on it reports."""

    name: str
    finder: Finder
    threshold: float


@dataclass(frozen=True)
class Measured:
    """What one contestant did; empty where a protocol was not run."""

    name: str
    threshold: float
    outcomes: tuple[Outcome, ...] = ()
    tracks: tuple[Track, ...] = ()


@dataclass(frozen=True)
class Evaluation:
    """One run of ``refdet-train evaluate``.

    Attributes:
        bundle: name and version of the bundle.
        split: of the data.
        search: how the bundle searched.
        instances: the measured objects.
        detection, tracking: the protocols; None where one was not run.
        contestants: the bundle first, then the baselines.
        skipped: what could not be measured.
    """

    bundle: str
    split: str
    search: DetectorConfig
    instances: tuple[Instance, ...]
    detection: DetectionProtocol | None
    tracking: TrackingProtocol | None
    contestants: tuple[Measured, ...]
    skipped: tuple[Skipped, ...]

    @property
    def sources(self) -> list[str]:
        """The data sets, in the order they were given."""
        return list(dict.fromkeys(item.source for item in self.instances))


def measure(
    contestants: Sequence[Contestant],
    instances: Sequence[Instance],
    detection: DetectionProtocol | None,
    tracking: TrackingProtocol | None,
) -> tuple[tuple[Measured, ...], tuple[Skipped, ...]]:
    """Run the protocols that are not None for every contestant.

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
    for one in contestants:
        outcomes: list[Outcome] = []
        tracks: list[Track] = []
        if detection is not None:
            outcomes, left_out = run_protocol(one.finder, kept, detection, f"{one.name}: detection")
            skipped.extend(left_out)
        if tracking is not None:
            tracker = FinderTracker(one.finder, one.threshold)
            tracks, left_out = run_tracking(tracker, instances, tracking, f"{one.name}: tracking")
            skipped.extend(left_out)
        measured.append(Measured(one.name, one.threshold, tuple(outcomes), tuple(tracks)))
    return tuple(measured), tuple(dict.fromkeys(skipped))
