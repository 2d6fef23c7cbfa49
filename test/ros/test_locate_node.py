"""The node ``locate`` over DDS: stamps, missing transforms, horizon, origins, several targets."""

import time

import numpy as np
import pytest

pytest.importorskip("tf2_msgs.msg", reason="needs tf2_msgs: make setup-test")
pytest.importorskip("pymap3d", reason="needs pymap3d")

from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import PoseWithCovarianceStamped, TransformStamped, Vector3Stamped
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy, qos_profile_sensor_data
from refdet_msgs.msg import TargetLocationArray, Template, TemplateArray
from sensor_msgs.msg import CameraInfo, NavSatFix
from tf2_msgs.msg import TFMessage
from vision_msgs.msg import Detection2D, Detection2DArray, ObjectHypothesisWithPose

from refdet_ros.locate.rotations import from_matrix
from refdet_ros.locate.topics import topic_token

LATCHED = QoSProfile(
    depth=1, reliability=ReliabilityPolicy.RELIABLE, durability=DurabilityPolicy.TRANSIENT_LOCAL
)
S = 10**9
START = 1_764_300_000 * S
DOWN = np.array([[0.0, -1, 0], [-1, 0, 0], [0, 0, -1]])  # the picture's top is east


class Sky:
    """A drone, its camera and a detector, all made up."""

    def __init__(self, node, client, tools):
        self.node, self.tools, self.client = node, tools, client
        self.locations = client.collect(TargetLocationArray, "locations")
        self.diagnostics = client.collect(DiagnosticArray, "/diagnostics")
        name = client.node.resolve_topic_name("locations")
        tools.wait_for(lambda: client.node.count_publishers(name), what="the node")
        publish = client.publisher
        self._detections = publish(Detection2DArray, "detections")
        self._camera_info = publish(CameraInfo, "camera_info", qos_profile_sensor_data)
        self._tf = publish(TFMessage, "/tf", 100)
        self._templates = publish(TemplateArray, "templates", LATCHED)
        self._fix = publish(NavSatFix, "fix", qos_profile_sensor_data)
        self.frames = 0

    def calibrate(self, stamp_ns=START, focal=500.0):
        info = CameraInfo(header=self.tools.header("camera", stamp_ns), width=640, height=480)
        info.k = [focal, 0.0, 319.5, 0.0, focal, 239.5, 0.0, 0.0, 1.0]
        self._send_best_effort(self._camera_info, info)

    def fly(self, stamp_ns, position, axes=DOWN, child="camera"):
        message = TransformStamped(header=self.tools.header("map", stamp_ns), child_frame_id=child)
        t, r = message.transform.translation, message.transform.rotation
        t.x, t.y, t.z = map(float, position)
        r.x, r.y, r.z, r.w = map(float, from_matrix(np.asarray(axes)))
        self._tf.publish(TFMessage(transforms=[message]))

    def fix(self, stamp_ns, latitude, longitude, altitude):
        message = NavSatFix(header=self.tools.header("map", stamp_ns))
        message.latitude, message.longitude, message.altitude = latitude, longitude, altitude
        message.status.status = 0  # the default says that it is not known
        self._send_best_effort(self._fix, message)

    def _send_best_effort(self, publisher, message):
        """Several times: one may be lost, and equal ones change nothing."""
        for _ in range(5):
            publisher.publish(message)
            time.sleep(0.02)

    def look_for(self, *template_ids):
        templates = [Template(template_id=name) for name in template_ids]
        self._templates.publish(TemplateArray(templates=templates))

    def detect(self, stamp_ns, *found, frame_id="camera"):
        """Send detections ``(template, (x, y), score)``, 20 px wide."""
        header = self.tools.header(frame_id, stamp_ns)
        message = Detection2DArray(header=header)
        for template_id, (x, y), score in found:
            detection = Detection2D(header=header, id="1")
            detection.bbox.center.position.x, detection.bbox.center.position.y = x, y
            detection.bbox.size_x = detection.bbox.size_y = 20.0
            hypothesis = ObjectHypothesisWithPose()
            hypothesis.hypothesis.class_id, hypothesis.hypothesis.score = template_id, score
            detection.results = [hypothesis]
            message.detections.append(detection)
        self._detections.publish(message)
        return header

    def answer(self, header):
        def mine():
            return [m for m in self.locations if m.header.stamp == header.stamp]

        return self.tools.wait_for(mine, what="the frame's locations")[0]

    def settle(self):
        """Wait until what was sent before has been taken: other topics are no queue."""
        time.sleep(0.3)


@pytest.fixture(scope="module")
def sky(start_node, connect, tools):
    pytest.importorskip("refdet_msgs.msg")
    node = start_node("field", module="refdet_ros.locate", tf_wait_s=2.0)
    sky = Sky(node, connect("field"), tools)

    def ready():
        sky.calibrate()
        sky.locations.clear()
        header = sky.detect(START - S, ("car", CENTRE, 0.9))
        return sky.answer(header).locations[0].bearing_camera.z > 0

    tools.wait_for(ready, what="the calibration")
    return sky


CENTRE = (320.0, 240.0)  # of the picture, from the pixels' edges


def test_the_pose_at_the_stamp_counts_not_the_newest(sky):
    sky.fly(START, (0, 0, 50))
    sky.fly(START + 2 * S, (20, 0, 50))
    sky.settle()
    answer = sky.answer(sky.detect(START + S // 2, ("car", CENTRE, 0.9)))
    assert answer.header.frame_id == "map" and answer.camera_frame_id == "camera"
    assert answer.has_camera_pose and answer.camera_pose.position.x == pytest.approx(5)
    (car,) = answer.locations
    assert car.has_position and not car.problem
    assert (car.template_id, car.track_id, car.score) == ("car", "1", pytest.approx(0.9))
    assert (car.position.x, car.position.y, car.position.z) == pytest.approx((5, 0, 0), abs=1e-6)
    assert car.distance == pytest.approx(50) and car.elevation_deg == pytest.approx(-90)
    assert car.bearing_camera.z == pytest.approx(1) and car.bearing.z == pytest.approx(-1)
    assert car.position_covariance[0] > 0 and car.track_position_covariance[0] > 0
    assert not car.has_geo


def test_a_transform_that_comes_late_is_waited_for(sky):
    header = sky.detect(START + 3 * S, ("car", CENTRE, 0.9))
    time.sleep(0.3)
    assert not [m for m in sky.locations if m.header.stamp == header.stamp]
    sky.fly(START + 4 * S, (40, 0, 50))
    answer = sky.answer(header)
    assert answer.locations[0].position.x == pytest.approx(30)


def test_without_a_transform_there_is_no_position_but_a_reason(sky):
    for frame_id, words in (("lidar", "'lidar' does not exist"), ("", "no frame_id")):
        answer = sky.answer(sky.detect(START + 4 * S, ("car", CENTRE, 0.9), frame_id=frame_id))
        (car,) = answer.locations
        assert not answer.has_camera_pose and not car.has_position
        assert words in car.problem
        assert car.bearing_camera.z == pytest.approx(1) and car.bearing.z == 0
        sky.locations.clear()
    answer = sky.answer(sky.detect(START + 999 * S, ("car", CENTRE, 0.9)))
    assert "after the newest" in answer.locations[0].problem
    answer = sky.answer(sky.detect(0, ("car", CENTRE, 0.9)))
    assert "no stamp" in answer.locations[0].problem

    def told():
        return [
            status.message
            for array in sky.diagnostics
            for status in array.status
            if status.name == "field/locate: positions" and "camera's pose" in status.message
        ]

    assert sky.tools.wait_for(told, what="a diagnostic")


def test_above_the_horizon_there_is_a_bearing_only(sky):
    stamp = START + 5 * S
    north = np.array([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]])  # level, looking north
    sky.fly(stamp, (0, 0, 50), north)
    sky.settle()
    answer = sky.answer(sky.detect(stamp, ("car", (320.0, 100.0), 0.9)))
    (car,) = answer.locations
    assert not car.has_position and "above the horizon" in car.problem
    assert car.azimuth_deg % 360 == pytest.approx(0, abs=1e-6) and car.elevation_deg > 10


def test_topics_of_their_own_for_each_target(sky):
    sky.look_for("red car", "red-car")
    poses = sky.client.collect(PoseWithCovarianceStamped, "located/red_car/position")
    others = sky.client.collect(Vector3Stamped, "located/red_car_2/bearing")
    stamp = START + 6 * S
    sky.fly(stamp, (0, 0, 50))
    sky.fly(stamp + 10 * S, (0, 0, 50))
    sky.settle()

    def both():
        nonlocal stamp
        stamp += S // 10
        header = sky.detect(
            stamp,
            ("red car", CENTRE, 0.9),
            ("red-car", CENTRE, 0.8),
            ("red car", (370.0, 240.0), 0.7),
        )
        assert len(sky.answer(header).locations) == 3
        return poses and others

    sky.tools.wait_for(both, what="topics")
    # The more probable of the two.
    assert poses[-1].pose.pose.position.x == pytest.approx(0, abs=1e-6)
    assert poses[-1].header.frame_id == "map" and poses[-1].pose.covariance[0] > 0
    assert others[-1].vector.z == pytest.approx(-1)
    sky.look_for("red-car")
    name = sky.client.node.resolve_topic_name("located/red_car/position")
    sky.tools.wait_for(lambda: not sky.client.node.count_publishers(name), what="topics taken back")


def test_fixes_give_latitude_and_longitude(sky):
    stamp = START + 20 * S
    for number in range(3):
        sky.fly(stamp + number * S, (100, 0, 50))
        sky.fly(stamp + number * S, (100, 0, 50), np.eye(3), child="base_link")
    sky.settle()
    sky.fix(stamp + S, float("nan"), 11.5, 0.0)
    sky.fix(stamp + S, 48.0, 11.5, 550.0)

    def located():
        (van,) = sky.answer(sky.detect(stamp + S, ("van", CENTRE, 0.9))).locations
        sky.locations.clear()
        return van if van.has_geo else None

    # Straight below the antenna, 50 m deeper.
    van = sky.tools.wait_for(located, what="an origin")
    assert (van.latitude, van.longitude) == pytest.approx((48.0, 11.5), abs=1e-6)
    assert van.altitude == pytest.approx(500.0, abs=0.01)


def test_a_zoom_is_followed_by_stamp(sky):
    stamp = START + 30 * S
    for number in range(5):
        sky.fly(stamp + number * S, (0, 0, 50))
    sky.calibrate(stamp + 2 * S, focal=1000.0)
    sky.settle()
    beside = (420.0, 240.0)  # 100 px right of the centre: south, as the top is east
    wide = sky.answer(sky.detect(stamp + S, ("van", beside, 0.9))).locations[0]
    tele = sky.answer(sky.detect(stamp + 3 * S, ("van", beside, 0.9))).locations[0]
    assert wide.position.y == pytest.approx(-10) and tele.position.y == pytest.approx(-5)


def test_parameters(sky):
    result = sky.client.set_parameter("ground_height", 10.0, node="/field/locate")
    assert result.successful
    answer = sky.answer(sky.detect(START + 31 * S + 1, ("van", CENTRE, 0.9)))
    assert answer.locations[0].position.z == pytest.approx(10)
    refused = sky.client.set_parameter("fixed_frame", "odom", node="/field/locate")
    assert not refused.successful and "started" in refused.reason
    assert sky.client.set_parameter("ground_height", 0.0, node="/field/locate").successful


def test_no_detections_and_unnamed_ones_are_answered(sky):
    header = sky.detect(START + 32 * S)
    assert not sky.answer(header).locations
    assert sky.node.process.poll() is None


@pytest.mark.parametrize(
    "parameter, value, words",
    [("origin", "95,11", "no place on Earth"), ("fixed_frame", "/", "must not be empty")],
)
def test_refused_parameters_end_the_process_with_a_sentence(start_node, parameter, value, words):
    node = start_node("refused", module="refdet_ros.locate", **{parameter: value})
    assert node.wait() == 1
    assert words in node.output and "Traceback" not in node.output


@pytest.mark.parametrize(
    "template_id, token",
    [
        ("car", "car"),
        ("red car", "red_car"),
        ("__x__y__", "x_y"),
        ("7up", "target_7up"),
        ("", "target"),
        ("Müller/../x", "M_ller_x"),
        ("目标", "target"),
    ],
)
def test_topic_tokens(template_id, token):
    assert topic_token(template_id, set()) == token
    assert topic_token(template_id, {token}) == f"{token}_2"
