"""``refdet-train evaluate``: measures a bundle on held-out video and writes a report."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from refdet_core.bundle import DEFAULT_BUNDLE, load_bundle
from refdet_training.evaluation.detection_protocol import DetectionProtocol
from refdet_training.evaluation.evaluate_bundle import EvaluationSettings, evaluate_bundle
from refdet_training.evaluation.overrides import detector_config
from refdet_training.evaluation.report import HEADINGS, write_report
from refdet_training.evaluation.tables import all_numbers
from refdet_training.evaluation.threshold import ALLOWED_FPR
from refdet_training.evaluation.tracking_protocol import TrackingProtocol

_PROTOCOLS = ("detection", "tracking", "both")
_DETECTION = {item.name: item.default for item in fields(DetectionProtocol)}
_TRACKING = {item.name: item.default for item in fields(TrackingProtocol)}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument(
        "--bundle", type=Path, default=DEFAULT_BUNDLE, help="its folder (the released one)"
    )
    parser.add_argument("--split", default="val", help="of the data (%(default)s)")
    add_measuring_arguments(parser)
    parser.add_argument(
        "--protocol", choices=_PROTOCOLS, default="both", help="what to run (%(default)s)"
    )
    parser.add_argument(
        "--track-frames",
        type=int,
        metavar="N",
        default=_TRACKING["frames"],
        help="tracking: at most the first N frames of a sequence, 0: all (%(default)s)",
    )
    parser.add_argument(
        "--output", type=Path, required=True, metavar="DIR", help="folder for the report"
    )


def add_allowed_fpr(parser: argparse.ArgumentParser) -> None:
    """The argument of every command that chooses a threshold."""
    parser.add_argument(
        "--allowed-fpr",
        type=float,
        default=ALLOWED_FPR,
        metavar="SHARE",
        help="of frames without the object that may be reported (%(default)s)",
    )


def add_measuring_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of every command that measures a bundle."""
    parser.add_argument(
        "--data", type=Path, required=True, metavar="PREPARED", help="of refdet-train prepare"
    )
    parser.add_argument(
        "--source", nargs="+", default=[], metavar="NAME", help="prepared data sets (all)"
    )
    parser.add_argument(
        "--references",
        type=int,
        default=_DETECTION["references"],
        help="detection: photos per object (%(default)s)",
    )
    parser.add_argument(
        "--frames",
        type=int,
        default=_DETECTION["frames"],
        help="detection: later frames searched per object (%(default)s)",
    )
    parser.add_argument(
        "--config",
        nargs="+",
        default=[],
        metavar="SETTING",
        help="of the detector: key=value or a JSON object, e.g. search=full_frame",
    )
    parser.add_argument(
        "--baselines", action="store_true", help="also measure multi-scale cv2.matchTemplate"
    )
    parser.add_argument(
        "--backbone-weights",
        type=Path,
        metavar="FILE",
        help="of the bundle's backbone before training: another baseline, by correlation",
    )


def run(options: argparse.Namespace) -> None:
    """Measure, print the numbers, write the report.

    Raises:
        RefdetError: the bundle, the data or a setting cannot be used.
    """
    settings = EvaluationSettings(
        bundle=load_bundle(options.bundle),
        prepared=options.data,
        split=options.split,
        sources=tuple(options.source),
        detection=(
            DetectionProtocol(references=options.references, frames=options.frames)
            if options.protocol != "tracking"
            else None
        ),
        tracking=(
            TrackingProtocol(frames=options.track_frames)
            if options.protocol != "detection"
            else None
        ),
        search=detector_config(options.config),
        baselines=options.baselines,
        backbone_weights=options.backbone_weights,
    )
    evaluation = evaluate_bundle(settings)
    write_report(evaluation, options.output)
    print_numbers(all_numbers(evaluation))
    print(f"report: {options.output / 'report.html'}")


def print_numbers(numbers: Mapping[str, Any]) -> None:
    """One line per protocol, source and method, then unmeasured objects with the reason."""
    for protocol, headings in HEADINGS.items():
        for source, methods in numbers.get(protocol, {}).get("by_source", {}).items():
            for name, values in methods.items():
                shown = "  ".join(f"{key} {values[key]}" for key in headings)
                print(f"{protocol:9} {source} {name}: {shown}")
    for sentence in numbers["not_measured"]:
        print(f"not measured: {sentence}")
    for item in numbers["skipped"]:
        print(
            f"left out: {item['source']} {item['video_id']} {item['object_id']}: {item['reason']}"
        )
