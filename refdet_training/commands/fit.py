"""``refdet-train fit``: train a network with PyTorch Lightning, from a recipe and overrides."""

from __future__ import annotations

import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Pass everything after ``fit`` to Lightning's parser, including ``--help``."""
    parser.prefix_chars = ""  # otherwise argparse would parse the options
    parser.add_argument("settings", nargs=argparse.REMAINDER)


def run(options: argparse.Namespace) -> None:
    """Train; the run's folder is ``trainer.default_root_dir``.

    Raises:
        RefdetError: a setting or the data cannot be used, or the loss is not finite.
    """
    from refdet_training.lightning_cli import fit

    fit(options.settings)
