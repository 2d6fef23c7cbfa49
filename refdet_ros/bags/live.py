"""Replays a bag against a running detector node over DDS."""

from __future__ import annotations

import contextlib
import threading
import time
from typing import Any, Callable

import rclpy
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rclpy.signals import SignalHandlerOptions
from refdet_msgs.msg import TemplateReference
from refdet_msgs.srv import SetTemplate
from std_msgs.msg import Header
from tqdm import tqdm
from vision_msgs.msg import Detection2DArray

from refdet_core.closeable import Closeable
from refdet_core.errors import RefdetError
from refdet_core.types import Detection, Reference
from refdet_ros.bags.parts import BagTopic
from refdet_ros.bags.player import BagPlayer
from refdet_ros.bags.reading import IMAGE_TYPE, Bag
from refdet_ros.bags.replay import Answer, Replay
from refdet_ros.bags.targets import Target
from refdet_ros.conversions import to_image

_NS = 1_000_000_000
# The first answer may be lost before discovery is complete. Asking twice is harmless.
_ATTEMPTS = 2


class LiveDetector(Closeable):
    """The services and topics of a running detector node. Use it as a context manager.

    Args:
        namespace: the detector node's namespace, for example ``/`` or ``/drone1``.
        start_timeout_s: how long to wait for the node to appear.
        answer_timeout_s: how long to wait for a service's answer, and for the last detections.
    """

    def __init__(
        self, namespace: str = "/", start_timeout_s: float = 15.0, answer_timeout_s: float = 10.0
    ) -> None:
        self._namespace = "/" + namespace.strip("/")
        self._start_timeout_s = start_timeout_s
        self._answer_timeout_s = answer_timeout_s
        self._context = rclpy.Context()
        # Ctrl-C stays a KeyboardInterrupt of the calling thread.
        rclpy.init(context=self._context, signal_handler_options=SignalHandlerOptions.NO)
        self._node = rclpy.create_node("evaluate_bag", context=self._context)
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self._node)
        self._client = self._node.create_client(SetTemplate, self._name("set_template"))
        self._lock = threading.Lock()
        self._numbers: dict[int, int] = {}
        self._answers: dict[int, Answer] = {}
        self._last_answer_s = 0.0
        self._subscription = self._node.create_subscription(
            Detection2DArray,
            self._name("detections"),
            self._on_detections,
            QoSProfile(depth=100, reliability=ReliabilityPolicy.RELIABLE),
        )
        self._thread = threading.Thread(target=self._spin, name="evaluate_bag", daemon=True)
        self._thread.start()

    def wait_until_active(
        self, image_type: str, while_waiting: Callable[[], None] = lambda: None
    ) -> None:
        """Wait until the node listens to images.

        Args:
            image_type: their message type.
            while_waiting: called repeatedly; may raise to end the wait.

        Raises:
            RefdetError: it does not within the start timeout; the message names likely reasons.
        """
        image, detections = self._image_name(image_type), self._name("detections")
        deadline = time.monotonic() + self._start_timeout_s
        while not (
            self._node.count_subscribers(image)
            and self._node.count_publishers(detections)
            and self._client.service_is_ready()
        ):
            while_waiting()
            if time.monotonic() < deadline:
                time.sleep(0.02)
                continue
            if not self._client.service_is_ready():
                raise RefdetError(
                    f"No detector answers on '{self._client.srv_name}' within "
                    f"{self._start_timeout_s:g} s; start it with 'ros2 launch refdet_ros "
                    "detector.launch.py' (same ROS_DOMAIN_ID), or evaluate with --offline."
                )
            raise RefdetError(
                f"The detector does not listen on '{image}' within {self._start_timeout_s:g} s; "
                "check that it is active, its log, and its parameter image_transport."
            )

    def set_target(self, target: Target) -> float:
        """Set the node's template. Returns the milliseconds of encoding.

        Raises:
            RefdetError: the node does not answer, or refuses; the message has its reason.
        """
        request = SetTemplate.Request(template_id=target.template_id)
        request.references = [_reference_message(item) for item in target.references]
        response = None
        for _ in range(_ATTEMPTS):
            response = self._call(request, self._answer_timeout_s / _ATTEMPTS)
            if response is not None:
                break
        if response is None:
            raise RefdetError(
                f"'{self._client.srv_name}' did not answer within {self._answer_timeout_s:g} s; "
                "see the detector's log."
            )
        if not response.success:
            raise RefdetError(
                f"The detector refused the template '{target.template_id}': {response.message}"
            )
        return float(response.encode_ms)

    def replay(self, bag: Bag, topic: BagTopic, rate: float = 1.0) -> Replay:
        """Publish a bag's images, restamped, and collect the node's answers.

        Raises:
            RefdetError: no node subscribes to the images, or it answers none of them.
        """
        name = self._image_name(topic.msgtype)
        with self._lock:
            self._numbers.clear()
            self._answers.clear()
        bar = tqdm(total=topic.count, desc="replay", unit="frame", disable=None)

        def on_publish(topic_name: str, stamp_ns: int, number: int) -> None:
            self._remember(stamp_ns, number)
            bar.update()

        player = BagPlayer(
            self._node,
            bag,
            topics=[topic.name],
            remap={topic.name: name},
            rate=rate,
            restamp_now=True,
            on_publish=on_publish,
        )
        try:
            if not player.wait_for_subscribers(self._start_timeout_s):
                raise RefdetError(f"The detector stopped listening on '{name}'; see its log.")
            started = time.monotonic()
            report = player.play()
            if report.stopped:
                raise KeyboardInterrupt
            sent = report.counts.get(topic.name, 0)
            self._wait_for_answers(sent)
        finally:
            bar.close()
            player.close()
        with self._lock:
            answers = dict(self._answers)
            wall_s = self._last_answer_s - started
        if not answers:
            raise RefdetError(
                f"The detector answered none of the {sent} images on '{name}'; is it active, and "
                "not paused? See its log and /diagnostics."
            )
        camera_hz, late_s = report.rate_hz(topic.name), report.worst_late_s
        return Replay("live", sent, answers, wall_s, camera_hz, late_s)

    def close(self) -> None:
        """Leave ROS. Closing twice is harmless."""
        if self._context.ok():
            self._executor.shutdown(timeout_sec=1.0)
            self._thread.join(timeout=2.0)
            self._node.destroy_node()
            self._context.try_shutdown()

    def _call(self, request: SetTemplate.Request, timeout_s: float) -> Any:
        """The response; None if it does not arrive in time."""
        answered = threading.Event()
        future = self._client.call_async(request)
        future.add_done_callback(lambda _: answered.set())
        if answered.wait(timeout_s):
            return future.result()
        self._client.remove_pending_request(future)
        return None

    def _name(self, relative: str) -> str:
        return self._namespace.rstrip("/") + "/" + relative

    def _image_name(self, image_type: str) -> str:
        return self._name("image" if image_type == IMAGE_TYPE else "image/compressed")

    def _spin(self) -> None:
        with contextlib.suppress(ExternalShutdownException):
            self._executor.spin()

    def _remember(self, stamp_ns: int, number: int) -> None:
        with self._lock:
            self._numbers[stamp_ns] = number

    def _on_detections(self, message: Detection2DArray) -> None:
        now_ns = time.time_ns()
        stamp_ns = message.header.stamp.sec * _NS + message.header.stamp.nanosec
        detections = detections_from(message)
        with self._lock:
            number = self._numbers.get(stamp_ns)
            # A frame of another publisher or an earlier replay.
            if number is None:
                return
            self._answers[number] = Answer(detections, (now_ns - stamp_ns) / 1e6)
            self._last_answer_s = time.monotonic()

    def _wait_for_answers(self, sent: int) -> None:
        """Wait until the last frame is answered, or no answer has arrived for a while."""
        waiting_since = time.monotonic()
        while True:
            with self._lock:
                done = sent - 1 in self._answers
                latest = max(self._last_answer_s, waiting_since)
            if done or time.monotonic() - latest > min(2.0, self._answer_timeout_s):
                return
            time.sleep(0.01)


def detections_from(message: Detection2DArray) -> tuple[Detection, ...]:
    """The detections in a message, best first."""
    found: list[Detection] = []
    for item in message.detections:
        if not item.results:
            continue
        centre, best = item.bbox.center.position, item.results[0].hypothesis
        half_width, half_height = item.bbox.size_x / 2, item.bbox.size_y / 2
        found.append(
            Detection(
                best.class_id,
                best.score,
                (
                    centre.x - half_width,
                    centre.y - half_height,
                    centre.x + half_width,
                    centre.y + half_height,
                ),
                int(item.id) if item.id.isdigit() else None,
            )
        )
    return tuple(sorted(found, key=lambda detection: -detection.score))


def _reference_message(reference: Reference) -> Any:
    message = TemplateReference(
        image=to_image(reference.image_bgr, "bgr8", Header()), same_camera=reference.same_camera
    )
    if reference.roi_xyxy is not None:
        x1, y1, x2, y2 = (round(value) for value in reference.roi_xyxy)
        message.roi.x_offset, message.roi.y_offset = max(0, x1), max(0, y1)
        message.roi.width, message.roi.height = max(0, x2 - max(0, x1)), max(0, y2 - max(0, y1))
    return message
