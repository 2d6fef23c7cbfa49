"""A video, folder, camera or stream as a camera topic; a recording starts again at its end."""

from __future__ import annotations

import argparse
import signal
import sys
import threading
import time
from typing import Optional, Sequence

from refdet_core.errors import RefdetError
from refdet_core.live.source import LiveSource, open_live_source

DEFAULT_HZ = 30.0
_READ_S = 0.5


def play(text: str, stop: threading.Event, rate_hz: Optional[float], width: int) -> None:
    """Publish raw images on ``image`` until told to stop; prints a line once the source is open.

    Args:
        text: what :func:`~refdet_core.live.source.open_live_source` opens.
        rate_hz: frames per second of a file; None takes its own.
        width: frames that are wider are made smaller; 0 leaves them.

    Raises:
        RefdetError: it cannot be opened, or has ended delivering.
    """
    # Opened before ROS is: a wrong path should not wait for DDS.
    source = open_live_source(text)
    print(f"camera: opened {text}", flush=True)
    import rclpy
    from rclpy.qos import QoSProfile, ReliabilityPolicy
    from rclpy.signals import SignalHandlerOptions
    from sensor_msgs.msg import Image

    rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
    node = rclpy.create_node("camera")
    quality = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
    publisher = node.create_publisher(Image, "image", quality)
    try:
        while not stop.is_set():
            with source:
                _publish(source, node, publisher, stop, rate_hz, width)
            if source.paced:
                raise RefdetError(f"'{text}' has ended.")
            source = open_live_source(text)
    finally:
        node.destroy_node()
        rclpy.try_shutdown()


def _publish(
    source: LiveSource,
    node: object,
    publisher: object,
    stop: threading.Event,
    rate_hz: Optional[float],
    width: int,
) -> None:
    import cv2
    from std_msgs.msg import Header

    from refdet_ros.conversions import to_image

    period_s = 0.0 if source.paced else 1 / (rate_hz or source.fps or DEFAULT_HZ)
    due_s = time.monotonic()
    while not stop.is_set() and not source.ended:
        frame = source.read(_READ_S)
        if frame is None:
            continue
        picture = frame.bgr
        if width and picture.shape[1] > width:
            height = round(picture.shape[0] * width / picture.shape[1])
            picture = cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA)
        stop.wait(max(0.0, due_s - time.monotonic()))
        stamp = node.get_clock().now().to_msg()  # type: ignore[attr-defined]
        message = to_image(picture, "bgr8", Header(stamp=stamp, frame_id="camera"))
        publisher.publish(message)  # type: ignore[attr-defined]
        # Late frames are not caught up on: a camera would not do that either.
        due_s = max(due_s + period_s, time.monotonic() - period_s)


def main(argv: Optional[Sequence[str]] = None) -> int:
    """Run the camera; returns the exit code."""
    parser = argparse.ArgumentParser(prog="camera", description=__doc__)
    parser.add_argument("source", metavar="SOURCE", help="0, video, folder, rtsp://...")
    parser.add_argument("--hz", type=float, help="frames per second of a file (default: its own)")
    parser.add_argument("--width", type=int, default=0, help="make wider frames smaller")
    args = parser.parse_args(argv)
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    try:
        play(args.source, stop, args.hz, args.width)
    except RefdetError as error:
        print(f"camera: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
