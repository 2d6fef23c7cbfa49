"""The command line of the simulated flight."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Sequence

import cv2

from refdet_core.errors import RefdetError
from refdet_ros.bags.simulated_flight.bag import TRUTH_FILE, write_bag
from refdet_ros.bags.simulated_flight.flight import Flight
from refdet_ros.bags.simulated_flight.renderer import Renderer, textured_ground, truck

TARGET_FILE = "target.png"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m refdet_ros.bags.simulated_flight",
        description="Write a bag of a simulated flight, with the truth.",
    )
    parser.add_argument("bag", type=Path, help="the new bag folder")
    parser.add_argument("--seconds", type=float, default=Flight.seconds, help="default: 20")
    parser.add_argument("--rate", type=float, default=Flight.hz, help="images a second (10)")
    args = parser.parse_args(argv)
    flight = Flight(seconds=args.seconds, hz=args.rate)
    try:
        renderer = Renderer(flight, truck(), textured_ground())
        write_bag(args.bag, flight, renderer)
    except RefdetError as error:
        print(f"simulated_flight: {error}", file=sys.stderr)
        return 1
    left, top, right, bottom = map(round, flight.target_box(0.0))
    cv2.imwrite(str(args.bag / TARGET_FILE), renderer.frame(0.0)[top:bottom, left:right])
    print(f"Written: {args.bag}, with {TRUTH_FILE} and {TARGET_FILE}, a photo of the target.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
