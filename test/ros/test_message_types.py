"""The generated messages are the ones documented, and the official ones where there are any."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("rclpy", reason="needs a ROS 2 Python")

import rclpy
from refdet_msgs.msg import Target, TargetArray, Template, TemplateArray, TemplateReference
from refdet_msgs.srv import ClearTemplate, SetTemplate
from tf2_msgs.msg import TFMessage
from vision_msgs.msg import Detection2DArray

OFFICIAL_HASHES = {
    Detection2DArray: "RIHS01_214274120007f4a683866481336b70310268cfa107aebe9d594a6acf75bda968",
    TFMessage: "RIHS01_e369d0f05a23ae52508854b66f6aa0437f3449d652e8cbf22d5abe85d020f087",
}


@pytest.mark.parametrize("message", OFFICIAL_HASHES, ids=lambda message: message.__name__)
def test_stand_ins_have_the_official_type_hash(message: Any) -> None:
    """What DDS announces; a subscriber with another hash would not be the official one."""
    context = rclpy.Context()
    rclpy.init(context=context, domain_id=101)
    try:
        node = rclpy.create_node("type_hash", context=context)
        node.create_publisher(message, "type_hash_probe", 1)
        (endpoint,) = node.get_publishers_info_by_topic("type_hash_probe")
        if not hasattr(endpoint, "topic_type_hash"):
            pytest.skip("this ROS 2 release has no type hashes (they came with Iron)")
        assert str(endpoint.topic_type_hash) == OFFICIAL_HASHES[message]
        node.destroy_node()
    finally:
        rclpy.shutdown(context=context)


@pytest.mark.parametrize(
    ("message", "fields"),
    [
        (
            TemplateReference,
            {
                "image": "sensor_msgs/Image",
                "compressed_image": "sensor_msgs/CompressedImage",
                "roi": "sensor_msgs/RegionOfInterest",
                "same_camera": "boolean",
            },
        ),
        (
            Target,
            {
                "template_id": "string",
                "state": "uint8",
                "track_id": "string",
                "presence": "double",
                "window": "sensor_msgs/RegionOfInterest",
            },
        ),
        (
            TargetArray,
            {"header": "std_msgs/Header", "targets": "sequence<refdet_msgs/Target>"},
        ),
        (
            Template,
            {
                "template_id": "string",
                "reference_count": "uint32",
                "created": "builtin_interfaces/Time",
                "thumbnails": "sequence<sensor_msgs/CompressedImage>",
            },
        ),
        (
            TemplateArray,
            {"header": "std_msgs/Header", "templates": "sequence<refdet_msgs/Template>"},
        ),
        (
            SetTemplate.Request,
            {
                "template_id": "string",
                "append": "boolean",
                "references": "sequence<refdet_msgs/TemplateReference>",
            },
        ),
        (
            SetTemplate.Response,
            {
                "success": "boolean",
                "message": "string",
                "template_id": "string",
                "reference_count": "uint32",
                "encode_ms": "double",
            },
        ),
        (ClearTemplate.Request, {"template_id": "string"}),
        (
            ClearTemplate.Response,
            {"success": "boolean", "message": "string", "cleared_ids": "sequence<string>"},
        ),
    ],
    ids=lambda value: value.__name__ if isinstance(value, type) else "",
)
def test_interface_has_the_documented_fields(message: Any, fields: dict[str, str]) -> None:
    assert message.get_fields_and_field_types() == fields
