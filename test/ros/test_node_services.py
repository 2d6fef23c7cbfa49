"""Template services: every refusal is one sentence and leaves the old template working."""

import array
import threading
import time

import cv2
import numpy as np
import pytest
from rclpy.qos import DurabilityPolicy, QoSProfile, qos_profile_sensor_data
from refdet_msgs.msg import TemplateArray, TemplateReference
from refdet_msgs.srv import ClearTemplate, SetTemplate
from sensor_msgs.msg import CompressedImage, Image, RegionOfInterest
from vision_msgs.msg import Detection2DArray

from refdet_ros.conversions import to_compressed
from refdet_ros.references import from_request

LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)


@pytest.fixture(scope="module")
def node(start_node):
    return start_node()


@pytest.fixture(scope="module")
def client(node, connect):
    return connect()


@pytest.fixture(scope="module")
def detections(client):
    return client.collect(Detection2DArray, "detections")


@pytest.fixture(scope="module")
def camera(client, detections):
    return client.publisher(Image, "image", qos_profile_sensor_data)


@pytest.fixture
def red(client, tools):
    """The template 'target' is red, and the only one."""
    client.call(ClearTemplate, "clear_template")
    assert set_template(client, tools, tools.colour_reference("red")).success


def set_template(client, tools, *references, **fields):
    return client.call(
        SetTemplate, "set_template", tools.set_template_request(*references, **fields)
    )


def found(camera, detections, tools, *colours):
    """Template ids and columns found in a frame with these squares."""
    image = tools.image(tools.square_frame(*colours), tools.header(str(time.monotonic_ns())))

    def mine():
        camera.publish(image)
        time.sleep(0.05)
        return [message for message in detections if message.header == image.header]

    result = tools.wait_for(mine, what="the frame's detections")[0]
    return {
        (item.results[0].hypothesis.class_id, round(item.bbox.center.position.x))
        for item in result.detections
    }


RED_ONLY = {("target", 84.0)}


def jpeg(content):
    return TemplateReference(
        compressed_image=CompressedImage(format="jpeg", data=array.array("B", content))
    )


def photo(tools, size, roi=None):
    image = tools.image(np.full((size[1], size[0], 3), 200, np.uint8))
    return TemplateReference(image=image, roi=roi or RegionOfInterest())


BAD_REFERENCES = {
    "zero-size ROI": (
        lambda t: [photo(t, (64, 48), RegionOfInterest(x_offset=5, y_offset=5))],
        "must have a size",
    ),
    "ROI without height": (
        lambda t: [photo(t, (64, 48), RegionOfInterest(width=10))],
        "must have a size",
    ),
    "ROI outside": (
        lambda t: [photo(t, (64, 48), RegionOfInterest(x_offset=64, width=10, height=10))],
        "inside the 64x48 px image",
    ),
    "undecodable JPEG": (lambda t: [jpeg(b"\xff\xd8\xff\xe0 not a photo")], "cannot be decoded"),
    "empty JPEG": (lambda t: [jpeg(b"")], "cannot be decoded"),
    "1x1 image": (lambda t: [photo(t, (1, 1))], "at least 4x4 px"),
    "no references": (lambda t: [], "1 to 5 references, got 0"),
    "6 references": (lambda t: [t.colour_reference("green")] * 6, "1 to 5 references, got 6"),
    "nothing filled": (lambda t: [TemplateReference()], "neither an image nor a ROI"),
    "both filled": (
        lambda t: [
            TemplateReference(
                image=photo(t, (9, 9)).image, compressed_image=jpeg(b"1").compressed_image
            )
        ],
        "fill one of them",
    ),
    "unknown encoding": (
        lambda t: [
            TemplateReference(
                image=Image(height=1, width=1, encoding="32FC2", step=8, data=[0] * 8)
            )
        ],
        "supported are",
    ),
    "less data than promised": (
        lambda t: [
            TemplateReference(
                image=Image(height=99, width=1, encoding="mono8", step=1, data=[0] * 4)
            )
        ],
        "needs 99 bytes",
    ),
    "the second one is bad": (
        lambda t: [t.colour_reference("green"), photo(t, (1, 1))],
        "Reference 2 of 2",
    ),
}


@pytest.mark.parametrize("case", sorted(BAD_REFERENCES))
def test_bad_references_change_nothing(case, client, camera, detections, red, tools):
    make, sentence = BAD_REFERENCES[case]
    response = set_template(client, tools, *make(tools))
    assert not response.success
    assert sentence in response.message and response.message.count("\n") == 0
    assert response.template_id == "target" and response.reference_count == 1
    assert found(camera, detections, tools, "red", "green") == RED_ONLY


@pytest.mark.parametrize("name", ["a" * 20_000, "two\nlines"])
def test_a_long_or_broken_template_id_is_refused(client, camera, detections, red, tools, name):
    response = set_template(client, tools, tools.colour_reference("green"), template_id=name)
    assert not response.success and "64 printable characters" in response.message
    assert response.message.isprintable() and len(response.message) < 300
    assert found(camera, detections, tools, "red", "green") == RED_ONLY


def test_a_picture_counts_as_one_of_the_camera_only_when_that_is_said(tools):
    content = cv2.imencode(".jpg", np.full((48, 64, 3), 200, np.uint8))[1].tobytes()
    pictures = [photo(tools, (64, 48)), jpeg(content)]
    frame = tools.image(np.full((48, 64, 3), 90, np.uint8))
    here = TemplateReference(roi=RegionOfInterest(width=20, height=20))

    def same_camera(*references):
        requested = from_request(references, frame).references
        return [reference.same_camera for reference in requested]

    assert same_camera(*pictures, here) == [False, False, True]
    for picture in pictures:
        picture.same_camera = True
    assert same_camera(*pictures) == [True, True]


def test_roi_without_a_camera_frame_is_refused(start_node, connect, tools):
    start_node(namespace="blind")
    client = connect("blind")
    reference = TemplateReference(roi=RegionOfInterest(width=10, height=10))
    tools.wait_for(lambda: client.state("detector") == "active")
    response = set_template(client, tools, reference)
    assert not response.success and "no frame has arrived yet" in response.message


def test_roi_in_the_newest_camera_frame(client, camera, detections, red, tools):
    assert found(camera, detections, tools, "red", "green") == RED_ONLY
    x, y = tools.SQUARES_XY["green"]
    roi = RegionOfInterest(x_offset=x, y_offset=y, width=32, height=32)
    response = set_template(client, tools, TemplateReference(roi=roi))
    assert response.success, response.message
    assert found(camera, detections, tools, "red", "green") == {("target", 220.0)}


def test_roi_outside_the_newest_camera_frame(client, camera, detections, red, tools):
    assert found(camera, detections, tools, "red") == RED_ONLY
    roi = RegionOfInterest(x_offset=320, y_offset=0, width=32, height=32)
    response = set_template(client, tools, TemplateReference(roi=roi))
    assert not response.success and "inside the 320x240 px image" in response.message


def test_roi_over_the_border_of_the_newest_camera_frame_is_clipped(
    client, node, camera, detections, red, tools
):
    assert found(camera, detections, tools, "red") == RED_ONLY
    roi = RegionOfInterest(x_offset=300, y_offset=0, width=32, height=32)
    assert set_template(client, tools, TemplateReference(roi=roi)).success
    tools.wait_for(lambda: "partly outside the 320x240 px image" in node.output)


def test_roi_of_a_jpeg(client, camera, detections, red, tools):
    x, y = tools.SQUARES_XY["green"]
    frame = tools.square_frame("red", "green")
    reference = TemplateReference(
        compressed_image=to_compressed(frame, "bgr8", tools.header()),
        roi=RegionOfInterest(x_offset=x + 4, y_offset=y + 4, width=24, height=24),
    )
    assert set_template(client, tools, reference).success
    assert found(camera, detections, tools, "red", "green") == {("target", 220.0)}


def test_8k_photo_works(client, camera, detections, red, tools):
    frame = np.full((4320, 7680, 3), tools.COLOURS_BGR["green"], np.uint8)
    encoded = cv2.imencode(".jpg", frame)[1].tobytes()
    response = set_template(client, tools, jpeg(encoded))
    assert response.success, response.message
    assert found(camera, detections, tools, "red", "green") == {("target", 220.0)}


def test_append_beyond_five_is_refused(client, camera, detections, red, tools):
    references = [tools.colour_reference("green")] * 5
    response = set_template(client, tools, *references, append=True)
    assert not response.success and "at most 5" in response.message
    assert response.reference_count == 1
    assert found(camera, detections, tools, "red", "green") == RED_ONLY


def test_clear_one_unknown_and_all(client, camera, detections, red, tools):
    set_template(client, tools, tools.colour_reference("green"), template_id="car")
    response = client.call(
        ClearTemplate, "clear_template", ClearTemplate.Request(template_id="dog")
    )
    assert not response.success and "no template 'dog'" in response.message
    assert found(camera, detections, tools, "red", "green") == RED_ONLY | {("car", 220.0)}
    response = client.call(
        ClearTemplate, "clear_template", ClearTemplate.Request(template_id="car")
    )
    assert response.success and list(response.cleared_ids) == ["car"]
    assert found(camera, detections, tools, "red", "green") == RED_ONLY
    response = client.call(ClearTemplate, "clear_template")
    assert response.success and list(response.cleared_ids) == ["target"]
    response = client.call(ClearTemplate, "clear_template")
    assert response.success and list(response.cleared_ids) == []


def test_late_subscribers_learn_what_is_looked_for(client, red, connect, tools):
    set_template(client, tools, tools.colour_reference("green"), template_id="car")
    late = connect()
    arrays = late.collect(TemplateArray, "templates", LATCHED)
    tools.wait_for(lambda: arrays, what="the templates")
    templates = arrays[-1].templates
    assert [template.template_id for template in templates] == ["car", "target"]
    assert [template.reference_count for template in templates] == [1, 1]
    assert templates[0].created.sec > 1_600_000_000
    thumbnail = cv2.imdecode(
        np.frombuffer(templates[0].thumbnails[0].data, np.uint8), cv2.IMREAD_COLOR
    )
    assert np.abs(thumbnail.astype(int) - tools.COLOURS_BGR["green"]).mean() < 4
    late.close()


def test_swaps_under_load_never_mix(client, camera, detections, red, tools):
    """Frames at 30 Hz show red and green; the template flips between them all the time."""
    stop = threading.Event()

    def film():
        while not stop.is_set():
            camera.publish(tools.image(tools.square_frame("red", "green")))
            time.sleep(1 / 30)

    del detections[:]
    filming = threading.Thread(target=film)
    filming.start()
    columns = {"red": 84.0, "green": 220.0}
    try:
        tools.wait_for(lambda: detections)
        for turn in range(16):
            colour = ("green", "red")[turn % 2]
            assert set_template(client, tools, tools.colour_reference(colour)).success
            # Results of frames stamped after the answer are made with the new template.
            answered_ns = time.time_ns()
            tools.wait_for(
                lambda after=answered_ns: stamp_ns(detections[-1]) > after, what="a frame after it"
            )
            for message in detections[-3:]:
                if stamp_ns(message) > answered_ns:
                    assert [round(item.bbox.center.position.x) for item in message.detections] == [
                        columns[colour]
                    ]
    finally:
        stop.set()
        filming.join()
    for message in detections:
        assert len(message.detections) == 1
        item = message.detections[0]
        assert round(item.bbox.center.position.x) in columns.values()


def stamp_ns(message):
    return message.header.stamp.sec * 10**9 + message.header.stamp.nanosec
