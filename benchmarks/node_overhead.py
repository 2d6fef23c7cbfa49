"""What the ROS side costs: latency without the detector, lost frames, template service.

A camera process publishes raw 1280x720 images at 30 Hz (best effort, the shared-memory profile
of config/), the node runs as its own process, and this process calls the services and reads
/diagnostics:

    .venv/bin/python benchmarks/node_overhead.py [--seconds 15] [--json out.json]

``overhead`` is stamp to detection published, less the time inside ``Detector.detect``. Where
detecting takes longer than a frame lasts it includes the newest frame's wait in the slot, shown
as ``wait``.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import multiprocessing
import os
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[1]
PROFILE = REPOSITORY / "config" / "fastdds_shm.xml"
GOALS = {"overhead p50 (ms)": 8.0, "set_template max (ms)": 300.0, "longest gap (ms)": 300.0}


def frame_with_object(width: int, height: int) -> Any:
    import cv2
    import numpy as np

    noise = np.random.default_rng(0).integers(0, 255, (height // 8, width // 8, 3), np.uint8)
    frame = cv2.resize(noise, (width, height))
    cv2.rectangle(frame, (600, 300), (640, 350), (20, 20, 220), -1)
    return frame


def film(width: int, height: int, rate_hz: float, stop: Any, sent: Any) -> None:
    """Camera process: publish until told to stop; ``sent`` counts."""
    import rclpy
    from rclpy.qos import QoSProfile, ReliabilityPolicy
    from sensor_msgs.msg import Image
    from std_msgs.msg import Header

    from refdet_ros.conversions import to_image

    rclpy.init()
    node = rclpy.create_node("camera")
    qos = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
    publisher = node.create_publisher(Image, "image", qos)
    message = to_image(frame_with_object(width, height), "bgr8", Header(frame_id="camera"))
    while not publisher.get_subscription_count():
        time.sleep(0.05)
    time.sleep(0.5)  # both directions of discovery
    due = time.perf_counter()
    while not stop.is_set():
        message.header.stamp = node.get_clock().now().to_msg()
        publisher.publish(message)
        sent.value += 1
        due = max(due + 1 / rate_hz, time.perf_counter() - 1)
        time.sleep(max(0.0, due - time.perf_counter()))
    time.sleep(1)
    rclpy.shutdown()


class Camera:
    """The camera process."""

    def __init__(self, options: argparse.Namespace) -> None:
        context = multiprocessing.get_context("spawn")
        self._stop, self._sent = context.Event(), context.Value("L", 0)
        arguments = (options.width, options.height, options.rate, self._stop, self._sent)
        self._process = context.Process(target=film, args=arguments)
        self._process.start()

    def stop(self) -> int:
        """The number of frames it sent."""
        self._stop.set()
        self._process.join(10)
        return int(self._sent.value)


class Observer:
    """Listens to /detections and /diagnostics, and calls the service."""

    def __init__(self) -> None:
        import rclpy
        from diagnostic_msgs.msg import DiagnosticArray
        from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
        from refdet_msgs.srv import SetTemplate
        from vision_msgs.msg import Detection2DArray

        rclpy.init()
        self.node = rclpy.create_node("observer")
        self.arrivals: list[float] = []
        self.values: dict[str, str] = {}
        self.service = self.node.create_client(SetTemplate, "set_template")
        self.node.create_subscription(
            Detection2DArray, "detections", lambda _: self.arrivals.append(time.perf_counter()), 10
        )
        self.node.create_subscription(DiagnosticArray, "/diagnostics", self._diagnostics, 10)
        executor = SingleThreadedExecutor()
        executor.add_node(self.node)

        def spin() -> None:
            with contextlib.suppress(ExternalShutdownException):
                executor.spin()

        threading.Thread(target=spin, daemon=True).start()

    def _diagnostics(self, array: Any) -> None:
        self.values = {item.key: item.value for item in array.status[0].values}

    def fresh_values(self) -> dict[str, str]:
        """The values of a diagnostic made from now on (published at 1 Hz)."""
        self.values = {}
        deadline = time.monotonic() + 5
        while not self.values and time.monotonic() < deadline:
            time.sleep(0.01)
        return self.values

    def set_template(self, frame: Any) -> float:
        """Milliseconds until the answer."""
        from refdet_msgs.msg import TemplateReference
        from refdet_msgs.srv import SetTemplate
        from sensor_msgs.msg import RegionOfInterest
        from std_msgs.msg import Header

        from refdet_ros.conversions import to_compressed

        reference = TemplateReference(
            compressed_image=to_compressed(frame, "bgr8", Header()),
            roi=RegionOfInterest(x_offset=600, y_offset=300, width=40, height=50),
        )
        done = threading.Event()
        started = time.perf_counter()
        future = self.service.call_async(SetTemplate.Request(references=[reference]))
        future.add_done_callback(lambda _: done.set())
        if not done.wait(30):
            raise SystemExit("set_template did not answer in 30 s")
        elapsed_ms = (time.perf_counter() - started) * 1e3
        if not future.result().success:
            raise SystemExit("set_template refused: " + future.result().message)
        return elapsed_ms


def measure(observer: Observer, search: str, options: argparse.Namespace) -> dict[str, float]:
    """One run of the node with one search plan."""
    import numpy as np

    parameters = {"search": search, "backend": options.backend, "bundle": options.bundle}
    command = [sys.executable, "-m", "refdet_ros.node", "--ros-args", "--log-level", "warn"]
    for name, value in parameters.items():
        command += ["-p", "{}:={}".format(name, value or '""')]
    node = subprocess.Popen(command, cwd=REPOSITORY)
    camera = Camera(options)
    try:
        frame = frame_with_object(options.width, options.height)
        observer.service.wait_for_service()
        while observer.fresh_values().get("state") != "active":
            pass
        observer.set_template(frame)
        time.sleep(options.seconds)
        steady = observer.fresh_values()
        sent = camera.stop()
        counts = observer.fresh_values()

        # A second camera, because frames that pass by while a service is answered are no loss.
        camera = Camera(options)
        while float(observer.fresh_values()["processed rate (Hz)"]) < 1:
            pass
        del observer.arrivals[:]
        latencies_ms = []
        for _ in range(20):
            latencies_ms.append(observer.set_template(frame))
            time.sleep(0.3)
        gaps_ms = np.diff(observer.arrivals) * 1e3

        result = {
            name + " p50 (ms)": float(steady[name + " p50 (ms)"])
            for name in ("latency", "overhead", "wait", "convert", "detect", "network", "publish")
        }
        result["overhead p95 (ms)"] = float(steady["overhead p95 (ms)"])
        result["processed rate (Hz)"] = float(steady["processed rate (Hz)"])
        result["frames sent"] = sent
        result["frames replaced in the slot"] = int(counts["frames dropped: replaced"])
        result["frames lost otherwise"] = sent - int(counts["frames received"])
        result["set_template p50 (ms)"] = float(np.median(latencies_ms))
        result["set_template max (ms)"] = float(max(latencies_ms))
        result["longest gap (ms)"] = float(gaps_ms.max())
        return result
    finally:
        camera.stop()
        node.send_signal(signal.SIGINT)
        node.wait(20)


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure the ROS node without its detector.")
    parser.add_argument("--seconds", type=float, default=15, help="of steady flow (default: 15)")
    parser.add_argument("--width", type=int, default=1280)
    parser.add_argument("--height", type=int, default=720)
    parser.add_argument("--rate", type=float, default=30, help="camera Hz (default: 30)")
    parser.add_argument("--backend", default="auto")
    parser.add_argument("--bundle", default="", help="default: the released model")
    parser.add_argument("--search", nargs="+", default=["full_frame", "tiles"])
    parser.add_argument(
        "--no-profile", action="store_true", help="Fast DDS as it comes, to compare"
    )
    parser.add_argument("--json", type=Path, help="also write the numbers here")
    options = parser.parse_args()

    for name in ("FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_DEFAULT_PROFILES_FILE"):
        os.environ.pop(name, None)
        if not options.no_profile:
            os.environ[name] = str(PROFILE)
    os.environ.setdefault("ROS_DOMAIN_ID", str(random.randint(1, 100)))
    os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
    sys.path.insert(0, str(REPOSITORY))
    os.environ["PYTHONPATH"] = os.pathsep.join(
        filter(None, (str(REPOSITORY), os.environ.get("PYTHONPATH")))
    )

    observer = Observer()
    results = {search: measure(observer, search, options) for search in options.search}
    names = list(next(iter(results.values())))
    print(
        "{:32}".format("search")
        + "".join(f"{search:>14}" for search in results)
        + "{:>10}".format("goal")
    )
    for name in names:
        goal = f"<= {GOALS[name]:g}" if name in GOALS else ""
        row = "".join(f"{result[name]:14.2f}" for result in results.values())
        print(f"{name:32}{row}{goal:>10}")
    text = json.dumps(results, indent=2)
    print(text)
    if options.json:
        options.json.write_text(text + "\n")


if __name__ == "__main__":
    main()
