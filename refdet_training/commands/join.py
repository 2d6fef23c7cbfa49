"""``refdet-train join``: several bundles to one whose networks look at every frame together.

The joined network returns the mean of their calibrated log-odds. Publish every part first: its
calibration becomes a part of the joined graph.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from refdet_core.bundle import load_bundle
from refdet_core.errors import ConfigError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument("bundles", type=Path, nargs="+", metavar="BUNDLE", help="two or more")
    parser.add_argument("--output", type=Path, required=True, metavar="DIR", help="folder to write")
    parser.add_argument("--name", required=True, help="of the joined model")
    parser.add_argument("--version", required=True, help="of the joined model")


def run(options: argparse.Namespace) -> None:
    """Join and write.

    The threshold is the mean of the parts' thresholds, in log-odds; the rule of the second look is
    that of the first part that has one.

    Raises:
        BundleError: a bundle cannot be used, or TensorRT 8.4 would not take the graphs.
        ConfigError: the bundles do not go together.
    """
    from refdet_core.backends.torch import load_network
    from refdet_core.calibration import Calibration, logit, sigmoid
    from refdet_core.model.joined import JoinedSiamese
    from refdet_core.model.siamese import Siamese
    from refdet_training.export import export_bundle, publish, with_refinement

    parts, networks = [load_bundle(folder) for folder in options.bundles], []
    for part in parts:
        network = load_network(part)
        if not isinstance(network, Siamese):
            raise ConfigError(f"The bundle '{part.folder}' is joined already; give its parts.")
        if part.calibration.presence_weight:
            raise ConfigError(
                f"The calibration of '{part.folder}' also uses the presence output; only scores "
                "can be averaged. Publish it with --cross-validation."
            )
        if part.template_crop != parts[0].template_crop:
            raise ConfigError(
                f"'{part.folder}' and '{parts[0].folder}' cut their templates differently."
            )
        networks.append(network)
    bundle = export_bundle(
        JoinedSiamese(
            networks,
            [(part.calibration.score_weight, part.calibration.intercept) for part in parts],
        ),
        options.output,
        options.name,
        options.version,
        parts[0].template_crop,
        training={"joined": [{part.name: part.version} for part in parts]},
    )
    threshold = sum(float(logit(part.score_threshold)) for part in parts) / len(parts)
    ruling = next((part for part in parts if part.refinement is not None), parts[0])
    publish(
        with_refinement(bundle, ruling.refinement, ruling.folder),
        Calibration(score_weight=1.0, presence_weight=0.0, intercept=0.0),
        round(float(sigmoid(threshold)), 3),
        {"parts": [{"name": part.name, "scores": part.scores} for part in parts]},
    )
    print(f"bundle: {bundle.folder}")
