"""The topics and services of one detector."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Callable, List, Optional, Tuple

from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from refdet_msgs.msg import TargetArray, TemplateArray, TemplateReference
from refdet_msgs.srv import ClearTemplate, SetTemplate
from sensor_msgs.msg import CompressedImage, Image
from vision_msgs.msg import Detection2DArray

from refdet_ros.bags.cdr import read_stamp_ns
from refdet_ros.console.frames import Frame
from refdet_ros.console.results import Box, TargetView, boxes_from, stamp_ns_of, targets_from
from refdet_ros.console.ros.settings import SettingsClient
from refdet_ros.console.ros.side import NoAnswerError, RosSide

_RELIABLE = QoSProfile(depth=10, reliability=ReliabilityPolicy.RELIABLE)
_NEWEST = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
_LATCHED = QoSProfile(
    depth=1, reliability=ReliabilityPolicy.RELIABLE, durability=DurabilityPolicy.TRANSIENT_LOCAL
)
_COMPRESSED = "/compressed"
_SERVICE_TIMEOUT_S = 15.0


@dataclass(frozen=True)
class Answer:
    """What the detector said to a request."""

    success: bool
    message: str


@dataclass(frozen=True)
class TemplateView:
    """One template the detector looks for."""

    template_id: str
    references: int
    created_s: float
    thumbnails: Tuple[bytes, ...]


@dataclass(frozen=True)
class Listener:
    """Callbacks for what a detector publishes; called in the event loop."""

    frame: Callable[[Frame], None]
    boxes: Callable[[int, Tuple[Box, ...]], None]
    targets: Callable[[int, Tuple[TargetView, ...]], None]
    templates: Callable[[List[TemplateView]], None]
    heatmap: Callable[[int, Any], None]


class DetectorLink:
    """The topics and services of one detector node.

    Args:
        node: its fully qualified name.
    """

    def __init__(self, ros: RosSide, node: str, listener: Listener) -> None:
        self._ros = ros
        self._listener = listener
        namespace = node.rpartition("/")[0]
        self._namespace = namespace
        self._image_topic = ""
        self._image: Optional[Any] = None
        self._heatmap: Optional[Any] = None
        self.settings = SettingsClient(ros, node)
        self._set_client = ros.node.create_client(SetTemplate, namespace + "/set_template")
        self._clear_client = ros.node.create_client(ClearTemplate, namespace + "/clear_template")
        ros.in_ros(self._subscribe)

    def topic(self, name: str) -> str:
        """A topic of the detector by its relative name."""
        return f"{self._namespace}/{name}"

    def watch(self, image_topic: str) -> None:
        """Receive the camera's frames, from the topic that the detector listens to.

        Its ``/compressed`` is taken instead where it has a publisher: that is what a thin link
        carries.
        """
        base = (
            image_topic[: -len(_COMPRESSED)] if image_topic.endswith(_COMPRESSED) else image_topic
        )
        publishers = self._ros.node.count_publishers
        chosen = base
        if not base:
            chosen = ""
        elif image_topic != base or publishers(base + _COMPRESSED):
            chosen = base + _COMPRESSED
        if chosen != self._image_topic:
            self._image_topic = chosen
            self._ros.in_ros(lambda: self._watch(chosen))

    def watch_heatmap(self, on: bool) -> None:
        """Receive heatmaps, which the detector computes only while somebody does."""

        def change() -> None:
            if on and self._heatmap is None:
                self._heatmap = self._ros.node.create_subscription(
                    CompressedImage,
                    self.topic("heatmap") + _COMPRESSED,
                    lambda message: self._ros.post(
                        self._listener.heatmap, stamp_ns_of(message.header), message
                    ),
                    _RELIABLE,
                )
            elif not on and self._heatmap is not None:
                self._ros.node.destroy_subscription(self._heatmap)
                self._heatmap = None

        self._ros.in_ros(change)

    async def set_template(
        self, template_id: str, references: List[TemplateReference], append: bool
    ) -> Answer:
        """Ask the detector to look for something."""
        request = SetTemplate.Request(template_id=template_id, references=references, append=append)
        # Set twice is set; a view added twice is one too many.
        return await self._answer(self._set_client, request, attempts=1 if append else 2)

    async def clear_template(self, template_id: str) -> Answer:
        """Ask the detector to forget a template, or all with an empty name."""
        request = ClearTemplate.Request(template_id=template_id)
        return await self._answer(self._clear_client, request, attempts=1)

    async def _answer(self, client: Any, request: Any, attempts: int) -> Answer:
        try:
            response = await self._ros.call(client, request, _SERVICE_TIMEOUT_S, attempts)
        except NoAnswerError as error:
            return Answer(False, str(error))
        return Answer(response.success, response.message)

    def _subscribe(self) -> None:
        subscribe = self._ros.node.create_subscription
        subscribe(Detection2DArray, self.topic("detections"), self._on_detections, _RELIABLE)
        subscribe(TargetArray, self.topic("targets"), self._on_targets, _RELIABLE)
        subscribe(TemplateArray, self.topic("templates"), self._on_templates, _LATCHED)

    def _watch(self, topic: str) -> None:
        if self._image is not None:
            self._ros.node.destroy_subscription(self._image)
            self._image = None
        if topic:
            compressed = topic.endswith(_COMPRESSED)
            self._image = self._ros.node.create_subscription(
                CompressedImage if compressed else Image,
                topic,
                lambda cdr: self._on_image(cdr, compressed),
                _NEWEST,
                # Most frames are never looked at: only their stamp is read.
                raw=True,
            )

    def _on_image(self, cdr: bytes, compressed: bool) -> None:
        self._ros.post(self._listener.frame, Frame(cdr, read_stamp_ns(cdr), compressed))

    def _on_detections(self, message: Detection2DArray) -> None:
        self._ros.post(self._listener.boxes, stamp_ns_of(message.header), boxes_from(message))

    def _on_targets(self, message: TargetArray) -> None:
        self._ros.post(self._listener.targets, stamp_ns_of(message.header), targets_from(message))

    def _on_templates(self, message: TemplateArray) -> None:
        views = [
            TemplateView(
                item.template_id,
                item.reference_count,
                item.created.sec + item.created.nanosec / 1e9,
                tuple(bytes(thumbnail.data) for thumbnail in item.thumbnails),
            )
            for item in message.templates
        ]
        self._ros.post(self._listener.templates, views)
