"""Boxes as annotations that Foxglove's Image panel draws over the camera's own picture."""

from __future__ import annotations

import importlib
from typing import Any, List, Optional, Tuple

from geometry_msgs.msg import Point
from rclpy.lifecycle import LifecycleNode
from std_msgs.msg import ColorRGBA, Header

from refdet_core.drawing import ColourBGR, template_colour
from refdet_core.types import BoxXYXY, FrameResult

TOPIC = "annotations"
_BOX_PX, _WINDOW_PX, _FONT_PX = 2.0, 1.0, 14.0
_WINDOW_ALPHA = 0.4
_Shape = Tuple[BoxXYXY, ColourBGR, float, str]


class AnnotationPublisher:
    """Publishes ``annotations`` while somebody subscribes.

    ``foxglove_msgs/ImageAnnotations`` where that package is installed, with names and scores, else
    ``visualization_msgs/ImageMarker``, which has lines only. Without either there is no topic.
    """

    def __init__(self, node: LifecycleNode) -> None:
        self._node = node
        self._publisher: Optional[Any] = None
        self._make: Any = None
        for package, name, make in (
            ("foxglove_msgs", "ImageAnnotations", to_image_annotations),
            ("visualization_msgs", "ImageMarker", to_image_marker),
        ):
            try:
                self._types = importlib.import_module(f"{package}.msg")
            except ImportError:
                continue
            kind = getattr(self._types, name)
            self._publisher = node.create_lifecycle_publisher(kind, TOPIC, 10)
            self._make = make
            return

    def publish(self, result: FrameResult, header: Header) -> None:
        """Publish one frame's boxes and search windows, if somebody listens."""
        if self._publisher is not None and self._publisher.get_subscription_count():
            self._publisher.publish(self._make(self._types, _shapes(result), header))

    def destroy(self) -> None:
        """Take the topic back."""
        if self._publisher is not None:
            self._node.destroy_lifecycle_publisher(self._publisher)


def _shapes(result: FrameResult) -> List[_Shape]:
    """Rectangles with colour, opacity and text: windows first, so that boxes are drawn on top."""
    shapes: List[_Shape] = [
        (status.window_xyxy, template_colour(template_id), _WINDOW_ALPHA, "")
        for template_id, status in sorted(result.targets.items())
        if status.window_xyxy is not None
    ]
    for item in result.detections:
        name = item.template_id + ("" if item.track_id is None else f" #{item.track_id}")
        colour = template_colour(item.template_id)
        shapes.append((item.bbox_xyxy, colour, 1.0, f"{name} {item.score:.2f}"))
    return shapes


def to_image_annotations(types: Any, shapes: List[_Shape], header: Header) -> Any:
    """A ``foxglove_msgs/ImageAnnotations``; empty without shapes, which clears the old ones.

    Args:
        types: the module ``foxglove_msgs.msg``.
    """
    message = types.ImageAnnotations()
    for box_xyxy, colour, alpha, text in shapes:
        outline = types.PointsAnnotation(
            timestamp=header.stamp,
            type=types.PointsAnnotation.LINE_LOOP,
            thickness=_BOX_PX if text else _WINDOW_PX,
            outline_color=_colour(types.Color, colour, alpha),
        )
        outline.points = [types.Point2(x=x, y=y) for x, y in _corners(box_xyxy)]
        message.points.append(outline)
        if text:
            message.texts.append(
                types.TextAnnotation(
                    timestamp=header.stamp,
                    position=types.Point2(x=float(box_xyxy[0]), y=float(box_xyxy[1])),
                    text=text,
                    font_size=_FONT_PX,
                    text_color=_colour(types.Color, (255, 255, 255), 1.0),
                    background_color=_colour(types.Color, colour, 0.6),
                )
            )
    return message


def to_image_marker(types: Any, shapes: List[_Shape], header: Header) -> Any:
    """A ``visualization_msgs/ImageMarker``: all lines in one, as the last message is shown.

    Args:
        types: the module ``visualization_msgs.msg``.
    """
    message = types.ImageMarker(
        header=header,
        ns=TOPIC,
        type=types.ImageMarker.LINE_LIST,
        action=types.ImageMarker.ADD,
        scale=_BOX_PX,
    )
    for box_xyxy, colour, alpha, _ in shapes:
        corners = _corners(box_xyxy)
        for start, end in zip(corners, [*corners[1:], corners[0]]):
            message.points += [Point(x=start[0], y=start[1]), Point(x=end[0], y=end[1])]
            message.outline_colors.append(_colour(ColorRGBA, colour, alpha))
    if message.outline_colors:
        message.outline_color = message.outline_colors[0]
    return message


def _corners(box_xyxy: BoxXYXY) -> List[Tuple[float, float]]:
    x1, y1, x2, y2 = map(float, box_xyxy)
    return [(x1, y1), (x2, y1), (x2, y2), (x1, y2)]


def _colour(kind: Any, bgr: ColourBGR, alpha: float) -> Any:
    blue, green, red = bgr
    return kind(r=red / 255, g=green / 255, b=blue / 255, a=alpha)
