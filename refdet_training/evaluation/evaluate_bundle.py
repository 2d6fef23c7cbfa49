"""Measures a bundle and its baselines on prepared data."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from refdet_core.bundle import Bundle
from refdet_core.detector_config import DetectorConfig
from refdet_core.errors import ConfigError
from refdet_training.datasets.index import load_instances
from refdet_training.evaluation.bundle_detector import BundleDetector
from refdet_training.evaluation.detection_protocol import DetectionProtocol
from refdet_training.evaluation.measure import Evaluation, Method, measure
from refdet_training.evaluation.tracking_protocol import TrackingProtocol

REFDET, UNTRAINED, TEMPLATE_MATCHING = "refdet", "untrained_backbone", "match_template"
BASELINE_THRESHOLD = 0.5
"""The baselines have no published threshold."""


@dataclass(frozen=True)
class EvaluationSettings:
    """What to measure, and how.

    Attributes:
        bundle: the bundle to measure.
        prepared: folder of prepared data sets.
        split: the split of the data.
        sources: names of data sets; empty: all.
        detection, tracking: the protocols; None: skip it.
        search: the search settings, and the threshold if not the published one.
        baselines: also measure template matching and, given weights, the untrained backbone.
        backbone_weights: weights of the bundle's backbone before training.
    """

    bundle: Bundle
    prepared: Path
    split: str = "val"
    sources: tuple[str, ...] = ()
    detection: DetectionProtocol | None = field(default_factory=DetectionProtocol)
    tracking: TrackingProtocol | None = field(default_factory=TrackingProtocol)
    search: DetectorConfig = field(default_factory=DetectorConfig)
    baselines: bool = False
    backbone_weights: Path | None = None

    def __post_init__(self) -> None:
        if self.backbone_weights is not None and not self.baselines:
            raise ConfigError("Backbone weights are only used with the baselines; ask for both.")
        if self.backbone_weights is not None and not self.backbone_weights.is_file():
            raise ConfigError(f"There is no file {self.backbone_weights} with backbone weights.")
        if self.detection is None and self.tracking is None:
            raise ConfigError("At least one protocol must be run.")


def evaluate_bundle(settings: EvaluationSettings) -> Evaluation:
    """Run the protocols.

    Raises:
        BundleError: the bundle cannot be used.
        SourceError: the data cannot be used.
        ConfigError: the bundle and these weights do not allow the baselines.
    """
    bundle = settings.bundle
    instances = load_instances(settings.prepared, settings.split, settings.sources or None)
    with ExitStack() as stack:
        detector = BundleDetector(bundle, settings.search)
        methods = [Method(REFDET, detector, detector.threshold)]
        if settings.baselines:
            methods += _baselines(bundle, settings.backbone_weights)
        for one in methods:
            stack.callback(one.detector.close)
        measured, skipped = measure(methods, instances, settings.detection, settings.tracking)
    return Evaluation(
        bundle=f"{bundle.name} {bundle.version}",
        split=settings.split,
        search=settings.search,
        instances=tuple(instances),
        detection=settings.detection,
        tracking=settings.tracking,
        methods=measured,
        skipped=skipped,
    )


def _baselines(bundle: Bundle, weights: Path | None) -> Sequence[Method]:
    from refdet_training.evaluation.baselines import MatchTemplate, UntrainedBackbone

    found = [Method(TEMPLATE_MATCHING, MatchTemplate(), BASELINE_THRESHOLD)]
    if weights is not None:
        if "backbone" not in bundle.model:
            raise ConfigError(
                f"The bundle '{bundle.folder}' does not say which backbone it has; omit the "
                "backbone weights."
            )
        model = bundle.model
        untrained = UntrainedBackbone(model["backbone"], weights, model["strides"], level=0)
        found.insert(0, Method(UNTRAINED, untrained, BASELINE_THRESHOLD))
    return found
