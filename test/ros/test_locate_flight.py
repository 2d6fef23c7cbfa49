"""A simulated flight, written as a bag and shown frame by frame to the detector and ``locate``."""

import json

import numpy as np
import pytest

pytest.importorskip("tf2_msgs.msg", reason="needs tf2_msgs: make setup-test")
pytest.importorskip("pymap3d", reason="needs pymap3d")

from geometry_msgs.msg import TwistWithCovarianceStamped
from rclpy.qos import DurabilityPolicy, QoSProfile, qos_profile_sensor_data
from rclpy.serialization import deserialize_message
from refdet_msgs.msg import TargetLocationArray
from sensor_msgs.msg import CameraInfo, Image, NavSatFix
from tf2_msgs.msg import TFMessage

from refdet_ros.bags.reading import Bag
from refdet_ros.bags.simulated_flight.bag import write_bag
from refdet_ros.bags.simulated_flight.flight import ORIGIN, Flight
from refdet_ros.bags.simulated_flight.renderer import Renderer
from refdet_ros.locate.geodesy import to_enu

LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
CHI2_2D_95 = 5.991
# TF and calibration are exact, and a box is off by the rounding of its edges to whole pixels.
PIXEL_SIGMA = 12**-0.5
EXACT = {"tilt_sigma_deg": 0.0, "heading_sigma_deg": 0.0, "camera_sigma_m": 0.0}
EXACT |= {"height_sigma_m": 0.0, "ground_sigma_m": 0.0, "box_sigma": 0.0}
# From 53 m at 500 px, half a pixel is 5 cm across and 6 cm along the line of sight; the middle of a
# square of 3 m lies up to 4 cm from the middle of its box.
MOST_M = 0.1


@pytest.fixture(scope="module")
def flight(tmp_path_factory, tools):
    """The bag's messages by topic, and the truth by stamp; the target is a red square."""
    folder = tmp_path_factory.mktemp("flight") / "bag"
    # As small as what the toy network outlines to the pixel.
    flight = Flight(seconds=2.5, focal_px=500.0, radius=28.0, target_size=(3.0, 3.0))
    target = np.full((32, 32, 3), tools.COLOURS_BGR["red"], np.uint8)
    ground = np.full((64, 64, 3), 114, np.uint8)
    truth = write_bag(folder, flight, Renderer(flight, target, ground))
    assert json.loads((folder / "truth.json").read_text()) == truth
    types = {"/image": Image, "/camera_info": CameraInfo, "/fix": NavSatFix}
    types |= {"/tf": TFMessage, "/tf_static": TFMessage}
    with Bag(folder) as bag:
        messages = {topic: [] for topic in types}
        for message in bag.messages(list(types)):
            topic = message.topic
            messages[topic].append(deserialize_message(message.cdr, types[topic]))
    return messages, {frame["stamp_ns"]: frame for frame in truth}


def stamp_ns(message):
    return message.header.stamp.sec * 10**9 + message.header.stamp.nanosec


def test_positions_of_a_flight(flight, start_node, connect, tools):
    messages, truth = flight
    start_node("flight", module="refdet_ros.locate", pixel_sigma_px=PIXEL_SIGMA, **EXACT)
    detector = start_node("flight", image_qos="reliable")
    client = connect("flight")
    bench = tools.Bench(detector, client, reliable=True)
    bench.set_template("red")
    answers = client.collect(TargetLocationArray, "locations")
    fixes = client.collect(NavSatFix, "located/target/fix")
    speeds = client.collect(TwistWithCovarianceStamped, "located/target/velocity")
    poses = client.publisher(TFMessage, "/tf", 100)
    client.publisher(TFMessage, "/tf_static", LATCHED).publish(messages["/tf_static"][0])
    camera_info = client.publisher(CameraInfo, "camera_info", qos_profile_sensor_data)
    fix = client.publisher(NavSatFix, "fix", qos_profile_sensor_data)
    for message in messages["/tf"]:
        poses.publish(message)

    def located(image):
        """What is said of a frame. Until its origin is known, it is shown again."""
        camera_info.publish(messages["/camera_info"][0])
        fix.publish(messages["/fix"][0])
        answers.clear()
        bench.result(image)

        def own():
            return [item for item in answers if item.header.stamp == image.header.stamp]

        return tools.wait_for(own, what="the frame's locations")[-1].locations

    first = messages["/image"][0]
    tools.wait_for(lambda: located(first)[0].has_geo, what="calibration, poses and origin")
    errors, distances, places = [], [], []
    for image in messages["/image"]:
        (item,) = located(image)
        target = truth[stamp_ns(image)]["target"]
        error = np.array([item.position.x, item.position.y]) - target[:2]
        covariance = np.reshape(item.position_covariance, (3, 3))[:2, :2]
        errors.append(float(np.linalg.norm(error)))
        distances.append(float(error @ np.linalg.solve(covariance, error)))
        place = to_enu(np.array([[item.latitude, item.longitude, item.altitude]]), ORIGIN)[0]
        places.append(float(np.linalg.norm(place - target)))
    assert max(errors) < MOST_M and max(places) < MOST_M
    # The covariance is neither too small nor too large: their mean is 2 for two coordinates.
    assert np.mean(np.array(distances) <= CHI2_2D_95) >= 0.95 and np.mean(distances) > 0.5
    tools.wait_for(lambda: len(fixes) >= len(truth), what="fixes")
    speed, velocity = speeds[-1].twist.twist.linear, truth[stamp_ns(speeds[-1])]["velocity"]
    assert [speed.x, speed.y] == pytest.approx(velocity[:2], abs=0.25)
