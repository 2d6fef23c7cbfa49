"""The process of the node ``locate``."""

from __future__ import annotations

import signal
import sys
from typing import List, Optional

import rclpy
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor

from refdet_core.errors import RefdetError
from refdet_ros.locate.node import LocateNode

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
    rclpy.init(args=args)
    node = None
    try:
        node = LocateNode()
        executor = SingleThreadedExecutor()
        executor.add_node(node)
        executor.spin()
    except RefdetError as error:
        rclpy.logging.get_logger("locate").fatal(str(error))
        return 1
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    except Exception:
        # A signal while the node is being made ends the context under it: that is no failure.
        if rclpy.ok():
            raise
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)
        if node is not None:
            node.destroy_node()
        rclpy.try_shutdown()
    return 0


if __name__ == "__main__":
    sys.exit(main())
