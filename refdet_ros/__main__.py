"""The process of the node ``detector``: from the command line to the exit code."""

from __future__ import annotations

import os
import sys
from typing import List, Optional

from refdet_ros.node import DetectorNode
from refdet_ros.run_node import run_node

USAGE = """usage: detector [--ros-args -p PARAMETER:=VALUE ... -r image:=/camera/image_raw]

The node that finds the objects in the reference photos in a camera topic. Without ros2's tools:

  detector --ros-args -r image:=/camera/image_raw -p template_path:=car.jpg -p search:=auto

Its parameters and their defaults are in config/detector.yaml and in docs/ros-interface.md."""


def main(args: Optional[List[str]] = None) -> int:
    """Run the node until SIGINT, SIGTERM or a shutdown from outside; returns the exit code."""
    if {"-h", "--help"} & set(sys.argv[1:] if args is None else args):
        print(USAGE)
        return 0
    ended = True

    def close(node: DetectorNode) -> int:
        nonlocal ended
        ended = node.close()
        return node.exit_code

    exit_code = run_node(DetectorNode, "detector", args, close)
    if not ended:
        # Its thread is inside a driver; a normal interpreter exit would crash there.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(exit_code)
    return exit_code


if __name__ == "__main__":
    sys.exit(main())
