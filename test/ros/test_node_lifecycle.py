"""Transitions, autostart, photos from files, and how the process ends."""

import signal
import threading
import time

import cv2
import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.qos import DurabilityPolicy, QoSProfile, qos_profile_sensor_data
from refdet_msgs.msg import TemplateArray
from refdet_msgs.srv import ClearTemplate, SetTemplate
from sensor_msgs.msg import Image
from vision_msgs.msg import Detection2DArray


@pytest.fixture(scope="module")
def client(connect):
    return connect()


@pytest.fixture(scope="module")
def manual_node(start_node):
    return start_node(autostart=False)


@pytest.fixture
def manual(manual_node, client, colour_bundle):
    """A node that waits for its transitions, unconfigured."""
    for state, transition in (("active", "deactivate"), ("inactive", "cleanup")):
        if client.state() == state:
            assert client.change_state(transition)
    assert client.set_parameter("bundle", str(colour_bundle)).successful
    return manual_node


def set_red(client, tools):
    request = tools.set_template_request(tools.colour_reference("red"))
    return client.call(SetTemplate, "set_template", request)


def test_up_down_up_keeps_the_template_until_cleanup(client, manual, tools):
    assert client.state() == "unconfigured"
    answer = set_red(client, tools)
    assert not answer.success and "configure it first" in answer.message
    assert not client.call(ClearTemplate, "clear_template").success

    assert client.change_state("configure") and client.state() == "inactive"
    answer = set_red(client, tools)
    assert answer.success and "as soon as the node is active" in answer.message

    detections = client.collect(Detection2DArray, "detections")
    templates = client.collect(
        TemplateArray, "templates", QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
    )
    for _ in range(3):
        assert client.change_state("activate") and client.state() == "active"
        camera = client.publisher(Image, "image", qos_profile_sensor_data)
        del detections[:]

        def seen(camera=camera):
            camera.publish(tools.image(tools.square_frame("red")))
            time.sleep(0.05)
            return detections

        assert tools.wait_for(seen)[-1].detections
        client.node.destroy_publisher(camera)
        assert client.change_state("deactivate") and client.state() == "inactive"
    assert [template.template_id for template in templates[-1].templates] == ["target"]

    assert client.change_state("cleanup") and client.state() == "unconfigured"
    assert client.change_state("configure")
    assert client.call(ClearTemplate, "clear_template").cleared_ids == []


def test_impossible_transition_is_refused_and_the_node_lives(client, manual):
    assert client.state() == "unconfigured"
    assert not client.change_state("deactivate")
    assert not client.change_state("activate")
    assert client.state() == "unconfigured" and manual.process.poll() is None


def test_configure_failure_is_told_and_can_be_mended(client, manual, colour_bundle, tools):
    diagnostics = client.collect(DiagnosticArray, "/diagnostics")
    assert client.set_parameter("bundle", "/no/such/bundle").successful
    assert not client.change_state("configure") and client.state() == "unconfigured"
    status = tools.wait_for(
        lambda: [a.status[0] for a in diagnostics if "/no/such/bundle" in a.status[0].message]
    )[0]
    assert status.level == status.ERROR and "is not a model bundle" in status.message
    assert "/no/such/bundle" in set_red(client, tools).message
    assert "Traceback" not in manual.output
    assert client.set_parameter("bundle", str(colour_bundle)).successful
    assert client.change_state("configure") and client.change_state("activate")


def test_lifecycle_shutdown_and_then_sigint(client, start_node, tools):
    node = start_node(namespace="ending")
    tools.wait_for(lambda: client.state("/ending/detector") == "active")
    assert client.change_state("active_shutdown", "/ending/detector")
    assert client.state("/ending/detector") == "finalized"
    assert node.stop() == 0


def test_autostart_retries_until_the_bundle_is_there(client, start_node, colour_bundle, tools):
    node = start_node(namespace="late", bundle="/not/yet")
    tools.wait_for(lambda: "is not a model bundle" in node.output)
    assert client.state("/late/detector") == "unconfigured"
    # It is refused for the moment in which the node tries again.
    tools.wait_for(
        lambda: client.set_parameter("bundle", str(colour_bundle), "/late/detector").successful
    )
    tools.wait_for(lambda: client.state("/late/detector") == "active")
    assert node.output.count("is not a model bundle") == 1


def photos(folder, tools):
    for colour in ("red", "green"):
        cv2.imwrite(str(folder / (colour + ".png")), tools.square_frame(colour))
    return {colour: "{},{},32,32".format(*tools.SQUARES_XY[colour]) for colour in ("red", "green")}


def test_photos_from_files(connect, start_node, tools, tmp_path):
    rois = photos(tmp_path, tools)
    start_node(
        namespace="files",
        template_path=f"[{tmp_path}/red.png, {tmp_path}/green.png]",
        template_roi="{red};{green}".format(**rois),
        template_id="both",
    )
    client = connect("files")
    templates = client.collect(
        TemplateArray, "templates", QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
    )
    entry = tools.wait_for(lambda: templates)[-1].templates[0]
    assert entry.template_id == "both" and entry.reference_count == 2
    thumbnails = [
        cv2.imdecode(np.frombuffer(item.data, np.uint8), cv2.IMREAD_COLOR).mean(axis=(0, 1))
        for item in entry.thumbnails
    ]
    for thumbnail, colour in zip(thumbnails, ("red", "green"), strict=True):
        assert np.abs(thumbnail - tools.COLOURS_BGR[colour]).max() < 5


@pytest.mark.parametrize(
    "path, roi, sentence",
    [
        ("/no/photo.jpg", "", "does not exist"),
        ("{}/red.png", "1,2,3", "must be X,Y,W,H in pixels"),
        ("{}/red.png", "320,0,50,50", "inside the 320x240 px image"),
        ("{0}/red.png;{0}/green.png", "1,2,30,40", "1 ROIs for 2 photos"),
    ],
)
def test_unusable_photo_is_a_configure_error(
    client, start_node, tools, tmp_path, path, roi, sentence
):
    photos(tmp_path, tools)
    node = start_node(namespace="unusable", template_path=path.format(tmp_path), template_roi=roi)
    tools.wait_for(lambda: sentence in node.output, 15, sentence)
    assert node.stop() == 0


@pytest.mark.parametrize(
    "signals",
    [
        (signal.SIGINT,),
        (signal.SIGTERM,),
        (signal.SIGINT, signal.SIGINT),
        (signal.SIGINT, signal.SIGTERM, signal.SIGINT),
    ],
)
def test_signals_end_with_code_0(client, start_node, tools, signals):
    node = start_node(namespace="signalled", interpreter=True)
    tools.wait_for(lambda: "looking at" in node.output)
    camera = client.publisher(Image, "/signalled/image", qos_profile_sensor_data)
    stop, image = threading.Event(), tools.image(tools.square_frame(size=(1280, 720)))

    def film():
        while not stop.wait(0.005):
            camera.publish(image)

    filming = threading.Thread(target=film)
    filming.start()
    try:
        time.sleep(0.3)
        assert node.stop(*signals) == 0
    finally:
        stop.set()
        filming.join()
        client.node.destroy_publisher(camera)
    assert "Traceback" not in node.output and "ERROR" not in node.output


def test_signal_while_starting(start_node, tools):
    node = start_node(namespace="early", interpreter=True)
    time.sleep(0.9)  # somewhere between the imports and the first frame
    # Python itself ends with -2 while it still imports.
    assert node.stop() in (0, -signal.SIGINT), node.output
