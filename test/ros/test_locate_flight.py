"""A simulated flight, written as a bag and played through the real detector and ``locate``."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest

pytest.importorskip("tf2_msgs.msg", reason="needs tf2_msgs: make setup-test")
pytest.importorskip("pymap3d", reason="needs pymap3d")

from geometry_msgs.msg import TwistWithCovarianceStamped
from refdet_msgs.msg import TargetLocationArray
from sensor_msgs.msg import NavSatFix

from refdet_ros.locate.geodesy import to_enu
from refdet_ros.locate.simulated_flight import ORIGIN, Flight, Renderer, write_bag

CHI2_2D_95 = 5.991


@pytest.fixture(scope="module")
def flight(tmp_path_factory, tools):
    """The bag's folder and the truth of its frames by stamp; the target is a red square."""
    folder = tmp_path_factory.mktemp("flight") / "bag"
    flight = Flight(seconds=2.5, focal_px=500.0, radius=28.0, target_size=(5.0, 5.0))
    target = np.full((32, 32, 3), tools.COLOURS_BGR["red"], np.uint8)
    ground = np.full((64, 64, 3), 114, np.uint8)
    truth = write_bag(folder, flight, Renderer(flight, target, ground))
    assert json.loads((folder / "truth.json").read_text()) == truth
    return folder, {frame["stamp_ns"]: frame for frame in truth}


@pytest.mark.slow
def test_positions_of_a_flight(flight, start_node, connect, tools):
    folder, truth = flight
    locate = start_node("flight", module="refdet_ros.locate", box_sigma=0.15, tf_wait_s=3.0)
    detector = start_node("flight")
    client = connect("flight")
    bench = tools.Bench(detector, client)
    bench.set_template("red")
    answers = client.collect(TargetLocationArray, "locations")
    fixes = client.collect(NavSatFix, "located/target/fix")
    speeds = client.collect(TwistWithCovarianceStamped, "located/target/velocity")
    remaps = [f"/{name}:=/flight/{name}" for name in ("image", "camera_info", "fix")]
    command = [sys.executable, "-m", "refdet_ros.play_bag", str(folder), "--rate", "0.25"]
    command += ["--wait-for-subscribers", "20"]
    for remap in remaps:
        command += ["--remap", remap]
    subprocess.run(command, check=True, timeout=90, cwd=tools.REPOSITORY, env=dict(os.environ))

    def located():
        return [
            (truth[stamp], item)
            for message in list(answers)
            for stamp in [message.header.stamp.sec * 10**9 + message.header.stamp.nanosec]
            for item in message.locations
            if stamp in truth and item.has_position
        ]

    tools.wait_for(lambda: len(located()) >= 4, what="positions")
    assert locate.process.poll() is None
    errors, distances, last = [], [], None
    for frame, item in located():
        error = np.array([item.position.x, item.position.y]) - frame["target"][:2]
        covariance = np.reshape(item.position_covariance, (3, 3))[:2, :2]
        errors.append(float(np.linalg.norm(error)))
        distances.append(float(error @ np.linalg.solve(covariance, error)))
        if item.has_geo:
            last = (frame, item)
    # TF and calibration are exact here, so only the toy's box is off: some pixels.
    assert np.median(errors) < 1.2 and max(errors) < 2.5
    assert np.mean(np.array(distances) <= CHI2_2D_95) >= 0.95
    frame, item = last
    place = to_enu(np.array([[item.latitude, item.longitude, item.altitude]]), ORIGIN)[0]
    assert place[:2] == pytest.approx(frame["target"][:2], abs=2.0)
    assert fixes and speeds
    speed = speeds[-1].twist.twist.linear
    assert [speed.x, speed.y] == pytest.approx(frame["velocity"][:2], abs=3.0)
