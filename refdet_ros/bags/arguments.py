"""The argument of every command that reads a bag."""

from __future__ import annotations

import argparse
from pathlib import Path


def add_bag_argument(parser: argparse.ArgumentParser) -> None:
    """Add ``BAG``, which :class:`~refdet_ros.bags.reading.Bag` opens."""
    parser.add_argument(
        "bag", type=Path, metavar="BAG", help="bag folder, or one .mcap or .db3 file"
    )
