"""``play_bag``: publish a rosbag2 bag in real time, for machines without ``ros2 bag``."""

from __future__ import annotations

import argparse
import logging
import sys
from contextlib import suppress
from typing import Any, Callable, Sequence

import rclpy
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions

from refdet_core.command_line import parser_with_examples, run_command, stop_on_sigterm
from refdet_core.errors import ConfigError
from refdet_ros.bags.arguments import add_bag_argument
from refdet_ros.bags.cdr import split_ns
from refdet_ros.bags.player import RELIABILITIES, BagPlayer, message_type, parse_remaps, topic_lines
from refdet_ros.bags.reading import Bag, absolute

_EXAMPLES = """examples:
  play_bag flight_bag --restamp
  play_bag flight_bag --loop --rate 0.5 --remap /image:=/camera/image_raw
  play_bag flight_bag --clock --wait-for-subscribers 10

Header stamps are kept, as 'ros2 bag play' does. A node with a wall clock then sees old frames: use
--restamp for new stamps (which latencies then refer to), or --clock together with the node's
use_sim_time.
With Fast DDS set FASTRTPS_DEFAULT_PROFILES_FILE (Kilted: FASTDDS_DEFAULT_PROFILES_FILE) to
config/fastdds_shm.xml here and for the subscribers, or most large raw images are lost.
"""


def make_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = parser_with_examples(
        "play_bag",
        "Publish the messages of a rosbag2 bag (mcap or sqlite3) in real time.",
        _EXAMPLES,
    )
    add_bag_argument(parser)
    parser.add_argument(
        "--rate", type=float, default=1.0, help="speed, 1 is real time (default: 1)"
    )
    parser.add_argument("--loop", action="store_true", help="start again at the end")
    parser.add_argument(
        "--topic", action="append", metavar="NAME", help="play only this topic (may be repeated)"
    )
    parser.add_argument(
        "--remap",
        action="append",
        default=[],
        metavar="FROM:=TO",
        help="another name (may be repeated)",
    )
    parser.add_argument(
        "--restamp", action="store_true", help="set header stamps to the current time"
    )
    parser.add_argument("--clock", action="store_true", help="publish the bag's time on /clock")
    parser.add_argument(
        "--qos",
        choices=RELIABILITIES,
        default="recorded",
        help="reliability to offer (default: recorded)",
    )
    parser.add_argument(
        "--wait-for-subscribers",
        type=float,
        default=0.0,
        metavar="S",
        help="wait up to S seconds until every topic has a subscriber (default: 0)",
    )
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code. Ctrl-C ends it with code 0."""
    own, ros = _split_ros_args(list(sys.argv[1:] if argv is None else argv))
    args = make_parser().parse_args(own)
    logging.basicConfig(format="play_bag: %(message)s")
    return run_command("play_bag", lambda: _open_and_play(args, ros))


def _split_ros_args(arguments: list[str]) -> tuple[list[str], list[str]]:
    """Our arguments, and ``--ros-args ...``.

    rclpy's remove_ros_args would also remove our ``FROM:=TO``.
    """
    if "--ros-args" not in arguments:
        return arguments, []
    start = arguments.index("--ros-args")
    return arguments[:start], arguments[start:]


def _open_and_play(args: argparse.Namespace, ros_arguments: list[str]) -> None:
    # Checked before ROS starts: a wrong path should not wait for DDS.
    if args.clock and args.restamp:
        raise ConfigError("--clock plays the bag's time and --restamp replaces it; choose one.")
    # Ctrl-C is how a player is normally stopped.
    with Bag(args.bag) as bag, suppress(KeyboardInterrupt):
        _play(bag, args, ros_arguments)


def _play(bag: Bag, args: argparse.Namespace, ros_arguments: list[str]) -> None:
    # rclpy's own handler would end the context during a publish.
    rclpy.init(args=ros_arguments, signal_handler_options=SignalHandlerOptions.NO)
    stop_on_sigterm()
    node = rclpy.create_node("play_bag")
    try:
        player = BagPlayer(
            node,
            bag,
            topics=[absolute(name) for name in args.topic] if args.topic else None,
            remap=parse_remaps(args.remap),
            rate=args.rate,
            restamp_now=args.restamp,
            reliability=args.qos,
        )
        on_time = _clock_publisher(node) if args.clock else None
        if args.wait_for_subscribers > 0 and not player.wait_for_subscribers(
            args.wait_for_subscribers
        ):
            print(
                "play_bag: not every topic has a subscriber after "
                f"{args.wait_for_subscribers:g} s; playing anyway.",
                file=sys.stderr,
            )
        report = player.play(loop=args.loop, on_time=on_time)
        print("\n".join(topic_lines(report)))
        if report.late:
            print(
                f"{report.late} messages were more than 5 ms late, "
                f"the worst {report.worst_late_s * 1e3:.0f} ms."
            )
        if report.stopped:
            print("Stopped before the end of the bag.")
    finally:
        node.destroy_node()
        rclpy.try_shutdown()


def _clock_publisher(node: Node) -> Callable[[int], None]:
    message_class: Any = message_type("rosgraph_msgs/msg/Clock")
    if message_class is None:
        raise ConfigError(
            "--clock needs the ROS package rosgraph_msgs, which is not installed here."
        )
    publisher = node.create_publisher(message_class, "/clock", 10)

    def publish(time_ns: int) -> None:
        message = message_class()
        message.clock.sec, message.clock.nanosec = split_ns(time_ns)
        publisher.publish(message)

    return publish


if __name__ == "__main__":
    sys.exit(main())
