"""``refdet-train import``: the weights of a published network to a bundle."""

from __future__ import annotations

import argparse
from pathlib import Path

from refdet_training.published.trackers import TRACKERS

EFFICIENTNET = "efficientnet_lite0"
"""Compares pictures; the others follow targets."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument("network", choices=(*TRACKERS, EFFICIENTNET), help="which one")
    parser.add_argument(
        "--weights",
        type=Path,
        required=True,
        metavar="DIR",
        help="folder of a tracker's two ONNX files, or of the image network's weights",
    )
    parser.add_argument(
        "--output", type=Path, required=True, metavar="BUNDLE", help="folder to write"
    )


def run(options: argparse.Namespace) -> None:
    """Write the bundle.

    Raises:
        BundleError: the files are not those of the network.
    """
    name = options.network
    if name in TRACKERS:
        from refdet_training.published.bundle import import_tracker

        bundle = import_tracker(name, TRACKERS[name], options.weights, options.output)
    else:
        from refdet_training.published.comparing import COMPARING, import_comparing

        bundle = import_comparing(name, COMPARING[name], options.weights, options.output)
    print(f"bundle: {bundle.folder} ({bundle.training['source']}, {bundle.training['licence']})")
