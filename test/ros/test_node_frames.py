"""Frames through a running node: headers, boxes, ages, pictures, transports, diagnostics."""

import time

import cv2
import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.qos import qos_profile_sensor_data
from sensor_msgs.msg import CompressedImage, Image
from std_srvs.srv import SetBool

from refdet_ros.conversions import image_to_bgr, to_compressed


@pytest.fixture(scope="module")
def bench(start_node, connect, tools):
    # With best_view the toy model finds either of two references; their mean is a third colour.
    # At a smaller scale it would not see its squares.
    node = start_node(reference_pooling="best_view", tile_scale=1.0)
    return tools.Bench(node, connect())


@pytest.fixture(autouse=True)
def at_its_beginning(request):
    """The shared node is enabled and looks for nothing."""
    if "bench" in request.fixturenames:
        bench = request.getfixturevalue("bench")
        assert bench.client.call(SetBool, "enable", SetBool.Request(data=True)).success
        bench.clear()


def centres(detections):
    return {
        item.results[0].hypothesis.class_id: (
            item.bbox.center.position.x,
            item.bbox.center.position.y,
            item.bbox.size_x,
            item.bbox.size_y,
        )
        for item in detections.detections
    }


def expected_box(tools, colour, px=0.5):
    x, y = tools.SQUARES_XY[colour]
    return pytest.approx((x + 16, y + 16, 32, 32), abs=px)


def test_no_template_gives_an_empty_array_with_the_frames_header(bench, tools):
    header = tools.header("front_camera", 1_234_567_890_123_456_789)
    result = bench.result(tools.image(tools.square_frame("red"), header))
    assert result.header == header
    assert list(result.detections) == []


def test_object_not_in_the_frame_gives_an_empty_array(bench, tools):
    bench.set_template("green")
    assert not bench.result(tools.image(tools.square_frame("red"))).detections


def test_box_score_and_header_of_a_found_object(bench, tools):
    response = bench.set_template("red")
    assert response.template_id == "target" and response.reference_count == 1
    assert response.encode_ms > 0
    header = tools.header("front_camera")
    result = bench.result(tools.image(tools.square_frame("red", "green"), header))
    assert len(result.detections) == 1
    detection = result.detections[0]
    assert detection.header == header and detection.id == ""
    assert centres(result) == {"target": expected_box(tools, "red")}
    assert detection.results[0].hypothesis.score == pytest.approx(1.0, abs=0.01)


def thermal_scene(tools, warm):
    """14-bit counts: a warm square, when it is there, on a cool textured ground."""
    random = np.random.default_rng(0)
    counts = random.normal(7700, 10, (240, 320))
    if warm:
        x, y = tools.SQUARES_XY["red"]
        counts[y : y + 32, x : x + 32] = random.normal(9500, 10, (32, 32))
    return counts


@pytest.mark.parametrize("encoding", ["mono16", "32FC1"])
def test_a_raw_thermal_camera_has_contrast(start_node, connect, tools, encoding):
    node = start_node(namespace="thermal_" + encoding, tile_scale=1.0)
    bench = tools.Bench(node, connect("thermal_" + encoding))
    pictures = bench.client.collect(Image, "debug_image", qos_profile_sensor_data)
    kind = np.uint16 if encoding == "mono16" else np.float32
    levels = []
    for number in range(5):
        counts = (thermal_scene(tools, True) + number).astype(kind)
        image = tools.image(counts.view(np.uint8), tools.header(), "mono8")
        image.encoding, image.width = encoding, 320
        bench.result(image)
        seen = tools.wait_for(lambda image=image: [p for p in pictures if p.header == image.header])
        picture = image_to_bgr(seen[-1])
        x, y = tools.SQUARES_XY["red"]
        levels.append((picture[y : y + 32, x : x + 32].mean(), picture[200:].mean()))
    warm, cool = np.transpose(levels)
    assert (warm - cool).min() > 120
    assert np.abs(np.diff(cool)).max() < 3
    bench.wait_status(lambda status, values: values["contrast"].startswith("auto, 7"))
    result = bench.client.set_parameter("contrast", "low,high", node.name)
    assert not result.successful and "LOW,HIGH" in result.reason
    assert bench.client.set_parameter("contrast", "7600,9640", node.name).successful
    bench.wait_status(lambda status, values: values["contrast"].startswith("7600,9640"))


def test_zero_stamp_is_preserved(bench, tools):
    header = tools.header("camera", 0)
    assert bench.result(tools.image(tools.square_frame(), header)).header == header


def test_several_templates_keep_their_ids(bench, tools):
    for colour in ("red", "green", "blue"):
        bench.set_template(colour, template_id="the " + colour)
    result = bench.result(tools.image(tools.square_frame("red", "green", "blue")))
    assert centres(result) == {
        "the " + colour: expected_box(tools, colour) for colour in ("red", "green", "blue")
    }


def test_append_adds_a_reference(bench, tools):
    bench.set_template("red")
    assert bench.set_template("green", append=True).reference_count == 2
    for colour in ("red", "green"):
        result = bench.result(tools.image(tools.square_frame(colour)))
        assert centres(result) == {"target": expected_box(tools, colour)}


@pytest.mark.parametrize("size", [(321, 241), (64, 48), (1920, 1080)])
def test_other_frame_sizes(bench, tools, size):
    bench.set_template("blue")
    frame = cv2.resize(tools.square_frame(size=(320, 240)), size)
    if size[0] > 300:
        frame[20:52, 140:172] = tools.COLOURS_BGR["blue"]
    result = bench.result(tools.image(frame))
    assert centres(result) == ({"target": expected_box(tools, "blue")} if size[0] > 300 else {})


def test_frame_of_unknown_encoding_is_counted_and_the_next_one_works(bench, tools):
    bench.set_template("red")
    strange = tools.image(tools.square_frame("red"))
    strange.encoding = "64FC7"

    def undecodable(status, values):
        bench.camera.publish(strange)
        return int(values["frames dropped: undecodable"]) > 0 and "64FC7" in values["last error"]

    status = bench.wait_status(undecodable)
    assert status.level == status.WARN and "supported are" in status.message
    assert bench.result(tools.image(tools.square_frame("red"))).detections


def test_stale_frames_are_dropped_and_counted(bench, tools):
    old = tools.image(tools.square_frame(), tools.header("old", time.time_ns() - 3600 * 10**9))
    with bench.client.parameters(max_frame_age_s=300.0):

        def stale(status, values):
            bench.camera.publish(old)
            return int(values["frames dropped: stale"]) > 0 and "max_frame_age_s" in status.message

        status = bench.wait_status(stale)
        assert status.level == status.WARN
        assert bench.result(tools.image(tools.square_frame())).header.frame_id == "camera"
        assert bench.result(tools.image(tools.square_frame(), tools.header("unstamped", 0)))
        assert all(message.header.frame_id != "old" for message in bench.detections)
    assert bench.result(old)


def test_disabled_node_is_silent_and_keeps_its_template(bench, tools):
    bench.set_template("red")
    assert bench.client.call(SetBool, "enable", SetBool.Request(data=False)).success
    seen = len(bench.detections)
    for _ in range(10):
        bench.camera.publish(tools.image(tools.square_frame("red")))
        time.sleep(0.02)
    assert len(bench.detections) - seen <= 1  # one may have been in work
    assert bench.client.call(SetBool, "enable", SetBool.Request(data=True)).success
    assert bench.result(tools.image(tools.square_frame("red"))).detections


def test_heatmap_and_debug_image_only_while_subscribed(bench, tools, connect):
    bench.set_template("red")
    watcher = connect()
    heatmaps = watcher.collect(Image, "heatmap")
    jpegs = watcher.collect(CompressedImage, "heatmap/compressed")
    pictures = watcher.collect(Image, "debug_image")
    frame = tools.square_frame("red")
    header = tools.header("pictured")

    def all_there():
        bench.result(tools.image(frame, header))
        time.sleep(0.05)
        return heatmaps and jpegs and pictures

    tools.wait_for(all_there, what="the pictures")
    assert heatmaps[-1].header == header and heatmaps[-1].encoding == "mono8"
    heat = image_to_bgr(heatmaps[-1])[..., 0]
    assert heat.shape == frame.shape[:2]
    row, column = np.unravel_index(heat.argmax(), heat.shape)
    assert abs(column - 84) <= 8 and abs(row - 100) <= 8 and heat.max() > 200
    assert heat[200, 300] < 20
    assert (image_to_bgr(pictures[-1]) != frame).any()
    watcher.close()


def test_diagnostics_tell_rates_templates_and_backend(bench, tools):
    bench.set_template("red", template_id="car")

    def flowing(status, values):
        for _ in range(5):
            bench.camera.publish(tools.image(tools.square_frame("red")))
            time.sleep(0.02)
        return status.level == status.OK and float(values["processed rate (Hz)"]) > 1

    status = bench.wait_status(flowing)
    values = {item.key: item.value for item in status.values}
    assert status.message.startswith("looking for 'car' at")
    assert values["templates"] == "car (1)" and values["state"] == "active"
    assert values["backend"] == "onnxruntime" and values["device"] == "cpu"
    assert values["model"] == "colours test" and float(values["score threshold"]) == 0.5
    assert 0 < float(values["latency p50 (ms)"]) <= float(values["latency p95 (ms)"])


def test_silent_camera_is_reported(bench):
    status = bench.wait_status(lambda status, _: "no image on /image since" in status.message)
    assert (
        status.level == status.WARN and " publisher(s) of sensor_msgs/msg/Image" in status.message
    )


def test_compressed_transport(start_node, connect, tools):
    node = start_node(namespace="jpeg", image_transport="compressed")
    bench = tools.Bench(node, connect("jpeg"), transport="compressed")
    bench.set_template("red")
    header = tools.header("jpeg_camera")
    result = bench.result(to_compressed(tools.square_frame("red"), "bgr8", header))
    assert result.header == header
    # JPEG blurs the square's edge, and the search resamples the frame.
    assert centres(result) == {"target": expected_box(tools, "red", px=1.1)}
    broken = to_compressed(tools.square_frame("red"), "bgr8", header)
    broken.data = broken.data[:20]
    bench.camera.publish(broken)
    assert bench.result(to_compressed(tools.square_frame("red"), "bgr8", tools.header())).detections


def test_incompatible_qos_is_reported(start_node, connect, tools):
    node = start_node(namespace="qos", image_qos="reliable")
    client = connect("qos")
    client.node.create_publisher(Image, "image", qos_profile_sensor_data)
    bench = tools.Bench.__new__(tools.Bench)
    bench.node = node
    bench.diagnostics = client.collect(DiagnosticArray, "/diagnostics")
    status = bench.wait_status(
        lambda status, _: "incompatible quality of service" in status.message
    )
    assert status.level == status.WARN
    assert "RELIABILITY" in status.message and "image_qos" in status.message


def test_two_nodes_in_two_namespaces(start_node, connect, tools):
    nodes = [start_node(namespace=name) for name in ("drone1", "drone2")]
    benches = [
        tools.Bench(node, connect(name))
        for node, name in zip(nodes, ("drone1", "drone2"), strict=True)
    ]
    for bench, colour in zip(benches, ("red", "green"), strict=True):
        bench.set_template(colour, template_id=colour)
    frame = tools.square_frame("red", "green")
    for bench, colour in zip(benches, ("red", "green"), strict=True):
        result = bench.result(tools.image(frame, tools.header(colour)))
        assert centres(result) == {colour: expected_box(tools, colour)}
    assert {message.header.frame_id for message in benches[0].detections} == {"red"}
