"""Runs one node as a process: spins, survives failing callbacks, ends in order on a signal."""

from __future__ import annotations

import signal
import threading
import traceback
from typing import Callable, List, Optional, TypeVar

import rclpy
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node

from refdet_core.errors import RefdetError

AnyNode = TypeVar("AnyNode", bound=Node)
_SIGNALS = (signal.SIGINT, signal.SIGTERM)


def run_node(
    make_node: Callable[[], AnyNode],
    name: str,
    args: Optional[List[str]] = None,
    close: Callable[[AnyNode], int] = lambda node: 0,
) -> int:
    """Run a node until SIGINT, SIGTERM or a shutdown from outside.

    Args:
        name: of the node, for the log while there is none.
        args: the command line; None: that of this process.
        close: called with the node at the end, before it is destroyed; returns the exit code.

    Returns:
        The exit code; 1 if the node cannot be made.
    """
    # rclpy's C handlers end the context and then call Python's. Python's default handler would
    # raise KeyboardInterrupt at any line; a second Ctrl-C could interrupt the clean-up.
    interrupted = threading.Event()
    for number in _SIGNALS:
        signal.signal(number, lambda *_: interrupted.set())
    rclpy.init(args=args)
    node: Optional[AnyNode] = None
    exit_code = 0
    try:
        node = make_node()
        executor = SingleThreadedExecutor()
        executor.add_node(node)
        while rclpy.ok() and not interrupted.is_set():
            _spin(node, executor)
    except RefdetError as error:
        rclpy.logging.get_logger(name).fatal(str(error))
        return 1
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    except Exception:
        # A signal during the node's construction ends the context; that is no failure.
        if rclpy.ok():
            raise
    finally:
        if node is not None:
            exit_code = close(node)
            node.destroy_node()
        rclpy.try_shutdown()
        # The interpreter resets all other handlers before it tears down modules and threads.
        for number in _SIGNALS:
            signal.signal(number, signal.SIG_IGN)
    return exit_code


def _spin(node: Node, executor: SingleThreadedExecutor) -> None:
    """Spin; an exception in a callback is logged and does not end the node."""
    try:
        executor.spin()
    except (KeyboardInterrupt, ExternalShutdownException):
        raise
    except Exception:
        if rclpy.ok():
            node.get_logger().error(f"A callback failed:\n{traceback.format_exc()}")
