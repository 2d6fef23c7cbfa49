"""Publishes the result of each frame, and the templates."""

from __future__ import annotations

from typing import Mapping, Tuple

import numpy as np
from builtin_interfaces.msg import Time
from rclpy.lifecycle import LifecycleNode
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from refdet_msgs.msg import Target, TargetArray, Template, TemplateArray
from sensor_msgs.msg import CompressedImage, Image, RegionOfInterest
from std_msgs.msg import Header
from vision_msgs.msg import Detection2D, Detection2DArray, ObjectHypothesisWithPose

from refdet_core.templates import Template as CoreTemplate
from refdet_core.types import LOST, SEARCHING, TRACKING, BoxXYXY, Detection, FrameResult
from refdet_ros.annotations import AnnotationPublisher
from refdet_ros.conversions import to_compressed, to_image
from refdet_ros.pictures import debug_picture, heatmap_picture

_RELIABLE = QoSProfile(depth=10, reliability=ReliabilityPolicy.RELIABLE)
_LATCHED = QoSProfile(
    depth=1, reliability=ReliabilityPolicy.RELIABLE, durability=DurabilityPolicy.TRANSIENT_LOCAL
)
_STATES = {SEARCHING: Target.SEARCHING, TRACKING: Target.TRACKING, LOST: Target.LOST}


class ResultPublisher:
    """Publishers of the results; silent while the node is not active.

    ``publish_frame`` may be called from the worker's thread; rclpy's publishers allow that.
    """

    def __init__(self, node: LifecycleNode) -> None:
        self._node = node
        self._detections = node.create_lifecycle_publisher(
            Detection2DArray, "detections", _RELIABLE
        )
        self._targets = node.create_lifecycle_publisher(TargetArray, "targets", _RELIABLE)
        self._templates = node.create_lifecycle_publisher(TemplateArray, "templates", _LATCHED)
        self._heatmap = _PicturePublisher(node, "heatmap")
        self._debug_image = _PicturePublisher(node, "debug_image")
        self._annotations = AnnotationPublisher(node)

    @property
    def wants_heatmap(self) -> bool:
        """Whether a topic that needs the heatmap has a subscriber."""
        return self._heatmap.wanted

    def publish_frame(self, header: Header, frame_bgr: np.ndarray, result: FrameResult) -> None:
        """Publish one frame's result with the frame's header; pictures only for subscribers."""
        self._detections.publish(to_detections(result, header))
        frame_size = frame_bgr.shape[1], frame_bgr.shape[0]
        self._targets.publish(to_targets(result, header, frame_size))
        self._annotations.publish(result, header)
        # A subscriber may have come while the frame was searched without a heatmap.
        if self._heatmap.wanted and (result.heatmaps or not result.presence):
            self._heatmap.publish(heatmap_picture(result, frame_bgr), "mono8", header)
        if self._debug_image.wanted:
            self._debug_image.publish(debug_picture(result, frame_bgr), "bgr8", header)

    def publish_templates(self, templates: TemplateArray) -> None:
        """Publish the templates; late subscribers receive them too."""
        self._templates.publish(templates)

    def destroy(self) -> None:
        """Remove the topics."""
        for publisher in (self._detections, self._targets, self._templates):
            self._node.destroy_lifecycle_publisher(publisher)
        self._annotations.destroy()
        self._heatmap.destroy()
        self._debug_image.destroy()


class _PicturePublisher:
    """One picture on ``<topic>`` and, as JPEG, on ``<topic>/compressed``."""

    def __init__(self, node: LifecycleNode, topic: str) -> None:
        self._node = node
        self._raw = node.create_lifecycle_publisher(Image, topic, _RELIABLE)
        # As in image_transport, the JPEG topic follows a remap of the raw one.
        compressed_topic = node.resolve_topic_name(topic) + "/compressed"
        self._compressed = node.create_lifecycle_publisher(
            CompressedImage, compressed_topic, _RELIABLE
        )

    @property
    def wanted(self) -> bool:
        return bool(self._raw.get_subscription_count() or self._compressed.get_subscription_count())

    def publish(self, picture: np.ndarray, encoding: str, header: Header) -> None:
        if self._raw.get_subscription_count():
            self._raw.publish(to_image(picture, encoding, header))
        if self._compressed.get_subscription_count():
            self._compressed.publish(to_compressed(picture, encoding, header))

    def destroy(self) -> None:
        self._node.destroy_lifecycle_publisher(self._raw)
        self._node.destroy_lifecycle_publisher(self._compressed)


def to_detections(result: FrameResult, header: Header) -> Detection2DArray:
    """The result in frame pixels; every element has the frame's header."""
    return Detection2DArray(
        header=header,
        detections=[_to_detection(detection, header) for detection in result.detections],
    )


def _to_detection(detection: Detection, header: Header) -> Detection2D:
    x1, y1, x2, y2 = detection.bbox_xyxy
    message = Detection2D(header=header)
    if detection.track_id is not None:
        message.id = str(detection.track_id)
    message.bbox.center.position.x = (x1 + x2) / 2
    message.bbox.center.position.y = (y1 + y2) / 2
    message.bbox.size_x = x2 - x1
    message.bbox.size_y = y2 - y1
    hypothesis = ObjectHypothesisWithPose()
    hypothesis.hypothesis.class_id = detection.template_id
    hypothesis.hypothesis.score = detection.score
    message.results = [hypothesis]
    return message


def to_targets(result: FrameResult, header: Header, frame_size: Tuple[int, int]) -> TargetArray:
    """The state of every target.

    Args:
        frame_size: ``(width, height)`` in pixels.
    """
    message = TargetArray(header=header)
    for template_id, status in sorted(result.targets.items()):
        target = Target(template_id=template_id, state=_STATES[status.state])
        target.presence = result.presence[template_id]
        if status.track_id is not None:
            target.track_id = str(status.track_id)
        if status.window_xyxy is not None:
            target.window = _to_region(status.window_xyxy, frame_size)
        message.targets.append(target)
    return message


def _to_region(box_xyxy: BoxXYXY, frame_size: Tuple[int, int]) -> RegionOfInterest:
    """A box clipped to the frame; empty if it lies outside."""
    x1, x2 = (round(min(max(x, 0.0), frame_size[0])) for x in box_xyxy[0::2])
    y1, y2 = (round(min(max(y, 0.0), frame_size[1])) for y in box_xyxy[1::2])
    return RegionOfInterest(x_offset=x1, y_offset=y1, width=x2 - x1, height=y2 - y1)


def to_template_array(
    templates: Mapping[str, CoreTemplate], created: Mapping[str, Time], stamp: Time
) -> TemplateArray:
    """The bank's templates, ordered by id.

    Args:
        templates: ``TemplateBank.templates``.
        created: for each id when it was set, on the node's clock.
        stamp: when the set last changed.
    """
    message = TemplateArray()
    message.header.stamp = stamp
    for template_id in sorted(templates):
        template = templates[template_id]
        entry = Template(template_id=template_id, reference_count=len(template.features))
        entry.created = created.get(template_id, stamp)
        header = Header(stamp=entry.created)
        entry.thumbnails = [
            to_compressed(thumbnail, "bgr8", header) for thumbnail in template.thumbnails_bgr
        ]
        message.templates.append(entry)
    return message
