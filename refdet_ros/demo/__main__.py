"""``python -m refdet_ros.demo``: see the detector node at work.

Gets free footage with our annotations (or takes your own video and photo), writes it into a
bag, starts the node as its own process, sets the templates with real service calls, plays the
bag over DDS in real time, and ends with a table, an annotated video and a contact sheet.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
from pathlib import Path
from typing import Sequence

from refdet_core.command_line import (
    join_negative_values,
    parser_with_examples,
    run_command,
    stop_on_sigterm,
)
from refdet_core.detector_arguments import add_search_argument
from refdet_core.errors import ConfigError, SourceError
from refdet_core.photo_arguments import add_photo_arguments
from refdet_ros.node_process import prepare_dds

_EXAMPLES = """examples:
  make demo
  make demo VIDEO=flight.mp4 TEMPLATE=car.jpg ROI=40,30,120,80
  make demo DEMO_ARGS="--search auto"
  python -m refdet_ros.demo --video flight.mp4 --template a.jpg --template b.jpg --seconds 60
"""


def make_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = parser_with_examples(
        "python -m refdet_ros.demo",
        "Run the detector node on real footage, over DDS, and measure it.",
        _EXAMPLES,
    )
    parser.add_argument("--video", type=Path, help="your own video or folder of images")
    add_photo_arguments(parser)
    parser.add_argument(
        "--seconds", type=float, default=30.0, help="of your video, from its start (default: 30)"
    )
    parser.add_argument("--bundle", type=Path, help="model bundle (default: the released one)")
    add_search_argument(parser, otherwise="the node's")
    parser.add_argument("--output", type=Path, default=Path("demo_output"), metavar="DIR")
    parser.add_argument(
        "--cache",
        type=Path,
        default=Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")).expanduser() / "refdet",
        metavar="DIR",
        help="folder for the footage (default: ~/.cache/refdet)",
    )
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the demo; returns the exit code."""
    args = make_parser().parse_args(join_negative_values(sys.argv[1:] if argv is None else argv))
    logging.basicConfig(format="demo: %(message)s")
    stop_on_sigterm()
    return run_command("demo", lambda: _show(args))


def _show(args: argparse.Namespace) -> None:
    if (args.video is None) != (not args.photos):
        raise ConfigError(
            "Your own run needs both a video and a photo of the object: "
            "make demo VIDEO=flight.mp4 TEMPLATE=photo.jpg [ROI=X,Y,W,H]."
        )
    if not args.seconds > 0:
        raise ConfigError(f"--seconds must be above 0, got {args.seconds:g}.")
    # Not the default domain 0, nor that of a second demo on this machine.
    prepare_dds(20 + os.getpid() % 80)
    # ROS starts only after its environment is set.
    from refdet_ros.demo.scene import annotated_scene, own_scene
    from refdet_ros.demo.session import run

    try:
        if args.video is not None:
            scene = own_scene(args.video, args.photos, args.seconds, args.same_camera)
        else:
            scene = annotated_scene(args.cache)
        run(scene, args.output, args.bundle, args.search)
    except OSError as error:
        where = f"'{error.filename}': " if error.filename else ""
        raise SourceError(f"{where}{error.strerror or error}.") from error


if __name__ == "__main__":
    sys.exit(main())
