"""The process of the node ``detector``: from the command line to the exit code."""

from __future__ import annotations

import os
import signal
import sys
import threading
import traceback
from typing import List, Optional

import rclpy
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor

from refdet_core.errors import ConfigError
from refdet_ros.node import DetectorNode

USAGE = """usage: detector [--ros-args -p PARAMETER:=VALUE ... -r image:=/camera/image_raw]

The node that finds the objects in the reference photos in a camera topic. Without ros2's tools:

  detector --ros-args -r image:=/camera/image_raw -p template_path:=car.jpg -p search:=auto

Its parameters and their defaults are in config/detector.yaml and in docs/ros-interface.md."""


def main(args: Optional[List[str]] = None) -> int:
    """Run the node until SIGINT, SIGTERM or a shutdown from outside; returns the exit code."""
    if {"-h", "--help"} & set(sys.argv[1:] if args is None else args):
        print(USAGE)
        return 0
    # rclpy's C handlers end the context and then call Python's. Python's default handler would
    # raise KeyboardInterrupt at any line; a second Ctrl-C could interrupt the clean-up.
    interrupted = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: interrupted.set())
    rclpy.init(args=args)
    node = None
    ended = True
    try:
        node = DetectorNode()
        executor = SingleThreadedExecutor()
        executor.add_node(node)
        while rclpy.ok() and not interrupted.is_set():
            _spin(node, executor)
    except ConfigError as error:
        rclpy.logging.get_logger("detector").fatal(str(error))
        return 1
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    except Exception:
        # A signal during the node's construction ends the context; that is no failure.
        if rclpy.ok():
            raise
    finally:
        if node is not None:
            ended = node.close()
            node.destroy_node()
        rclpy.try_shutdown()
        # The interpreter resets all other handlers before it tears down modules and threads.
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)
    exit_code = node.exit_code if node is not None else 0
    if not ended:
        # Its thread is inside a driver; a normal interpreter exit would crash there.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(exit_code)
    return exit_code


def _spin(node: DetectorNode, executor: SingleThreadedExecutor) -> None:
    """Spin; an exception in a callback is logged and does not end the node."""
    try:
        executor.spin()
    except (KeyboardInterrupt, ExternalShutdownException):
        raise
    except Exception:
        if rclpy.ok():
            node.get_logger().error(f"A callback failed:\n{traceback.format_exc()}")


if __name__ == "__main__":
    sys.exit(main())
