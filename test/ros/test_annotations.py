"""Annotations for Foxglove: what is drawn, and that nothing is while nobody looks."""

import importlib.util
import sys
import time
from types import ModuleType, SimpleNamespace

import pytest
from std_msgs.msg import Header

from refdet_core.types import TRACKING, Detection, FrameResult, TargetStatus
from refdet_ros.annotations import AnnotationPublisher, _shapes, to_image_annotations

CAR = Detection("car", 0.9, (10.0, 20.0, 50.0, 40.0), 7)
RESULT = FrameResult(
    (CAR,),
    {"car": 0.9},
    bank_version=1,
    targets={"car": TargetStatus(TRACKING, 7, (0.0, 0.0, 100.0, 80.0))},
)
NOTHING = FrameResult((), {}, bank_version=1)


class FakeNode:
    """Stands in for the lifecycle node: remembers what is published."""

    def __init__(self, subscribers):
        self.subscribers, self.sent, self.kinds = subscribers, [], []

    def create_lifecycle_publisher(self, kind, topic, qos):
        self.kinds.append((topic, kind.__name__))
        return SimpleNamespace(
            publish=self.sent.append, get_subscription_count=lambda: self.subscribers
        )


def test_lines_without_foxglove_msgs(monkeypatch):
    pytest.importorskip("visualization_msgs.msg")
    monkeypatch.setitem(sys.modules, "foxglove_msgs", None)
    monkeypatch.setitem(sys.modules, "foxglove_msgs.msg", None)
    node = FakeNode(subscribers=1)
    publisher = AnnotationPublisher(node)
    assert node.kinds == [("annotations", "ImageMarker")]
    header = Header(frame_id="camera")
    publisher.publish(RESULT, header)
    publisher.publish(NOTHING, header)
    marker, empty = node.sent
    assert marker.header == header and marker.type == marker.LINE_LIST
    # Four sides of the search window, then of the box: two points and one colour each.
    assert len(marker.points) == 16 and len(marker.outline_colors) == 8
    box = {(point.x, point.y) for point in marker.points[8:]}
    assert box == {(10, 20), (50, 20), (50, 40), (10, 40)}
    assert marker.outline_colors[0].a < marker.outline_colors[7].a == 1
    assert not empty.points


def test_nothing_is_made_while_nobody_looks(monkeypatch):
    monkeypatch.setitem(sys.modules, "foxglove_msgs.msg", None)
    node = FakeNode(subscribers=0)
    AnnotationPublisher(node).publish(RESULT, Header())
    assert not node.sent


def test_without_any_package_there_is_no_topic(monkeypatch):
    for name in ("foxglove_msgs", "visualization_msgs"):
        monkeypatch.setitem(sys.modules, f"{name}.msg", None)
    node = FakeNode(subscribers=1)
    publisher = AnnotationPublisher(node)
    publisher.publish(RESULT, Header())
    publisher.destroy()
    assert not node.kinds and not node.sent


def foxglove_types():
    """foxglove_msgs.msg, or classes with its fields."""
    if importlib.util.find_spec("foxglove_msgs"):
        import foxglove_msgs.msg

        return foxglove_msgs.msg

    class Message(SimpleNamespace):
        LINE_LOOP = 2

    types = ModuleType("foxglove_msgs.msg")
    types.ImageAnnotations = lambda: Message(circles=[], points=[], texts=[])
    for name in ("PointsAnnotation", "TextAnnotation", "Point2", "Color"):
        setattr(types, name, Message)
    return types


def test_boxes_and_names_with_foxglove_msgs():
    types = foxglove_types()
    message = to_image_annotations(types, _shapes(RESULT), Header())
    window, box = message.points
    assert [(point.x, point.y) for point in box.points] == [(10, 20), (50, 20), (50, 40), (10, 40)]
    assert box.type == types.PointsAnnotation.LINE_LOOP and box.thickness > window.thickness
    (text,) = message.texts
    assert "car" in text.text and "7" in text.text and "0.90" in text.text
    assert (text.position.x, text.position.y) == (10, 20)
    assert not to_image_annotations(types, [], Header()).points


def test_the_node_draws_for_a_subscriber(start_node, connect, tools):
    markers = pytest.importorskip("visualization_msgs.msg")
    if importlib.util.find_spec("foxglove_msgs"):
        pytest.skip("foxglove_msgs is installed; this is about its absence")
    bench = tools.Bench(start_node("annotated"), connect("annotated"))
    bench.set_template("red")
    seen = bench.client.collect(markers.ImageMarker, "annotations")
    image = tools.image(tools.square_frame("red"))

    def drawn():
        bench.camera.publish(image)
        time.sleep(0.1)
        return [message for message in seen if message.header == image.header and message.points]

    x, y = tools.SQUARES_XY["red"]
    corner = tools.wait_for(drawn, what="annotations")[0].points[0]
    assert abs(corner.x - x) <= 2 and abs(corner.y - y) <= 2
