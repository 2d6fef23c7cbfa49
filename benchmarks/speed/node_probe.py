"""The environment of the measured node: a camera and an observer."""

from __future__ import annotations

import contextlib
import multiprocessing
import threading
import time
from collections.abc import Iterator
from typing import Any

from benchmarks.speed.scene import OBJECT_PX, object_boxes, textured_frame
from refdet_core.errors import BackendError
from refdet_ros.node_process import NodeProcess

PATIENCE_S = 60.0


def film(size: tuple[int, int], transport: str, rate_hz: float, stop: Any, sent: Any) -> None:
    """The camera's process: publishes until ``stop`` is set; ``sent`` counts frames."""
    import rclpy
    from rclpy.qos import QoSProfile, ReliabilityPolicy
    from std_msgs.msg import Header

    from benchmarks.speed.messages import Messages

    rclpy.init()
    node = rclpy.create_node("camera")
    message = Messages(textured_frame(size)).by_transport[transport]
    message.header = Header(frame_id="camera")
    publisher = node.create_publisher(
        type(message),
        "image" if transport == "raw" else "image/compressed",
        QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT),
    )
    while not publisher.get_subscription_count() and not stop.is_set():
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
    """A process that publishes frames at a rate."""

    def __init__(self, size: tuple[int, int], transport: str, rate_hz: float) -> None:
        context = multiprocessing.get_context("spawn")
        self._stop, self._sent = context.Event(), context.Value("L", 0)
        arguments = (size, transport, rate_hz, self._stop, self._sent)
        self._process = context.Process(target=film, args=arguments, daemon=True)
        self._process.start()

    @property
    def sent(self) -> int:
        """Frames published so far."""
        return int(self._sent.value)

    def stop(self) -> int:
        """End it; returns the number of sent frames."""
        self._stop.set()
        self._process.join(10)
        if self._process.is_alive():
            self._process.kill()
        return self.sent


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
        self._executor = SingleThreadedExecutor()
        self._executor.add_node(self.node)

        def spin() -> None:
            with contextlib.suppress(ExternalShutdownException):
                self._executor.spin()

        self._thread = threading.Thread(target=spin, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End ROS in this process."""
        import rclpy

        self._executor.shutdown(5)
        self._thread.join(5)
        self.node.destroy_node()
        rclpy.shutdown()

    def _diagnostics(self, array: Any) -> None:
        self.values = {item.key: item.value for item in array.status[0].values}

    def fresh_values(self, node: NodeProcess) -> dict[str, str]:
        """The values of the next diagnostics message (published at 1 Hz)."""
        self.values = {}
        for _ in _patiently(node, "/diagnostics say nothing"):
            if self.values:
                break
        return self.values

    def wait_until(self, node: NodeProcess, key: str, wanted: str) -> None:
        """Wait for a value in new diagnostics; ``>N`` waits until it is above N."""
        self.values = {}  # values of an earlier node do not count
        for _ in _patiently(node, f"'{key}' does not become {wanted}"):
            value = self.values.get(key, "")
            above = wanted.startswith(">") and value and float(value) > float(wanted[1:])
            if above or value == wanted:
                break

    def set_template(self, size: tuple[int, int], in_camera: bool = False) -> float:
        """Set the template; returns the milliseconds until the answer.

        Args:
            in_camera: give the object's box in the newest camera frame, where searches that track
                start; otherwise send a photo.

        Raises:
            BackendError: no answer, or a refusal.
        """
        from refdet_msgs.msg import TemplateReference
        from refdet_msgs.srv import SetTemplate
        from sensor_msgs.msg import RegionOfInterest
        from std_msgs.msg import Header

        from refdet_ros.conversions import to_compressed

        x, y = (round(value) for value in object_boxes(size, 1)[0][:2])
        reference = TemplateReference(
            roi=RegionOfInterest(x_offset=x, y_offset=y, width=OBJECT_PX, height=OBJECT_PX)
        )
        if not in_camera:
            reference.compressed_image = to_compressed(textured_frame(size), "bgr8", Header())
        if not self.service.wait_for_service(PATIENCE_S):
            raise BackendError(f"the node offers no set_template after {PATIENCE_S:g} s.")
        done = threading.Event()
        started = time.perf_counter()
        future = self.service.call_async(SetTemplate.Request(references=[reference]))
        future.add_done_callback(lambda _: done.set())
        if not done.wait(PATIENCE_S):
            raise BackendError(f"set_template did not answer in {PATIENCE_S:g} s.")
        elapsed_ms = (time.perf_counter() - started) * 1e3
        if not future.result().success:
            raise BackendError("set_template refused: " + future.result().message)
        return elapsed_ms


def _patiently(node: NodeProcess, otherwise: str) -> Iterator[None]:
    """Yield repeatedly until :data:`PATIENCE_S` is over or the node has ended.

    Raises:
        BackendError: it took too long.
    """
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        node.check()
        yield
        time.sleep(0.01)
    raise BackendError(f"{otherwise} within {PATIENCE_S:g} s.")
