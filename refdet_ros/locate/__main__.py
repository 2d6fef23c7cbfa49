"""The process of the node ``locate``."""

from __future__ import annotations

import sys
from typing import List, Optional

from refdet_ros.locate.node import LocateNode
from refdet_ros.run_node import run_node

USAGE = """usage: locate [--ros-args -p PARAMETER:=VALUE ... -r camera_info:=/camera/camera_info]

The node that says where on the map the detections of the node 'detector' are. It needs the
camera's CameraInfo and TF from the camera's optical frame to the fixed frame:

  locate --ros-args -r camera_info:=/camera/camera_info -p fixed_frame:=map

Topics, parameters and frames are described in docs/locate.md."""


def main(args: Optional[List[str]] = None) -> int:
    """Run the node until SIGINT, SIGTERM or a shutdown from outside; returns the exit code."""
    if {"-h", "--help"} & set(sys.argv[1:] if args is None else args):
        print(USAGE)
        return 0
    return run_node(LocateNode, "locate", args)


if __name__ == "__main__":
    sys.exit(main())
