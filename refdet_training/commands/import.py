"""``refdet-train import``: a published tracker's weights to a bundle."""

from __future__ import annotations

import argparse
from pathlib import Path

from refdet_training.published.trackers import TRACKERS


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument("tracker", choices=TRACKERS, help="which one")
    parser.add_argument(
        "--weights", type=Path, required=True, metavar="DIR", help="folder of its two ONNX files"
    )
    parser.add_argument(
        "--output", type=Path, required=True, metavar="BUNDLE", help="folder to write"
    )


def run(options: argparse.Namespace) -> None:
    """Write the bundle.

    Raises:
        BundleError: the files are not those of the tracker.
    """
    from refdet_training.published.bundle import import_tracker

    tracker = TRACKERS[options.tracker]
    bundle = import_tracker(options.tracker, tracker, options.weights, options.output)
    print(f"bundle: {bundle.folder} ({tracker.title}, {tracker.licence})")
