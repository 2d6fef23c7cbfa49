"""Launch files: a cheap check everywhere, the real ``ros2 launch`` where it is installed."""

import ast
import importlib.util
import json
import os
import re
import runpy
import signal
import subprocess
import sys
import time
from dataclasses import fields
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import MagicMock
from xml.etree import ElementTree

import pytest
import yaml

REPOSITORY = Path(__file__).resolve().parents[2]
LAUNCH = REPOSITORY / "launch"
DETECTOR_ARGUMENTS = [
    "namespace",
    "params_file",
    "use_sim_time",
    "autostart",
    "log_level",
    "image_topic",
    "image_transport",
    "bundle",
    "backend",
    "precision",
    "engine_folder",
    "build_only",
    "template_path",
    "template_roi",
    "search",
    "console",
    "console_options",
    "locate",
    "camera_info_topic",
    "fixed_frame",
    "rviz",
]


def constant(file, name):
    """The literal assigned to a module-level name, without importing launch."""
    for statement in ast.parse((LAUNCH / file).read_text()).body:
        if isinstance(statement, ast.Assign) and statement.targets[0].id == name:
            return ast.literal_eval(statement.value)
    raise AssertionError(f"{file} has no {name}")


def test_arguments_of_the_detector():
    assert list(constant("detector.launch.py", "ARGUMENTS")) == DETECTOR_ARGUMENTS


@pytest.fixture
def launched(monkeypatch):
    """What detector.launch.py does when a node's process ends, with stand-ins for launch."""
    stand_ins = ("launch", "launch.actions", "launch.event_handlers", "launch_ros")
    stand_ins += ("launch_ros.actions", "launch_ros.parameter_descriptions")
    for name in (*stand_ins, "ament_index_python.packages"):
        monkeypatch.setitem(sys.modules, name, MagicMock())
    start = runpy.run_path(str(LAUNCH / "detector.launch.py"))["start"]
    start(SimpleNamespace(launch_configurations=dict.fromkeys(DETECTOR_ARGUMENTS, "")))
    return SimpleNamespace(
        nodes=sys.modules["launch_ros.actions"].Node.call_args_list,
        when_ended=sys.modules["launch.event_handlers"].OnProcessExit.call_args_list,
    )


def test_a_node_that_lost_its_gpu_has_a_successor_and_no_other_node_has(launched):
    from refdet_ros.node import LOST_DEVICE

    for count, codes in enumerate([(0, 1, -2, -9), (0, 1)], start=1):
        assert len(launched.nodes) == len(launched.when_ended) == count
        ended = launched.when_ended[-1].kwargs["on_exit"]
        for code in codes:
            assert ended(SimpleNamespace(returncode=code), None) == []
        assert ended(SimpleNamespace(returncode=LOST_DEVICE), None)
    assert launched.nodes[0] == launched.nodes[1]


def test_arguments_of_the_replay_do_not_miss_a_bag():
    arguments = constant("replay.launch.py", "ARGUMENTS")
    assert arguments["bag"][0] is None  # no default: must be given
    assert {"rate", "loop"} < set(arguments)


def test_parameters_passed_on_exist():
    parameters = pytest.importorskip("refdet_ros.parameters")
    known = {item.name for item in fields(parameters.Settings)} | {"use_sim_time"}
    passed = constant("detector.launch.py", "STRING_PARAMETERS")
    passed += constant("detector.launch.py", "BOOLEAN_PARAMETERS")
    assert set(passed) <= known


def test_every_example_in_the_params_file_is_a_valid_value():
    parameters = pytest.importorskip("refdet_ros.parameters")
    lines = (REPOSITORY / "config" / "detector.yaml").read_text().splitlines()
    start = lines.index("  ros__parameters:")
    examples = [
        line.replace("# ", "", 1)
        for line in lines[start:]
        if line.startswith("    # ") and ": " in line
    ]
    examples = [line for line in examples if line.strip().split(":")[0] in parameters.OPTIONS]
    values = yaml.safe_load("\n".join(line.strip() for line in examples))
    assert set(values) == set(parameters.OPTIONS)
    assert parameters.changed(parameters.Settings(), values) != parameters.Settings()


def test_params_file_sets_no_second_default():
    parameters = pytest.importorskip("refdet_ros.parameters")
    content = yaml.safe_load((REPOSITORY / "config" / "detector.yaml").read_text())
    assert not set(content["/**"]["ros__parameters"]) & set(parameters.OPTIONS)


def test_config_files_are_well_formed():
    for name in ("fastdds_shm.xml", "sros2_policy.xml"):
        ElementTree.parse(REPOSITORY / "config" / name)
    rviz = yaml.safe_load((REPOSITORY / "config" / "detector.rviz").read_text())
    displays = rviz["Visualization Manager"]["Displays"]
    topics = [item["Topic"]["Value"] for item in displays if "Topic" in item]
    assert topics == ["debug_image", "heatmap", "located/markers"]


def test_foxglove_layout_shows_topics_that_exist():
    layout = json.loads((REPOSITORY / "config" / "foxglove.json").read_text())

    def panels(part):
        return {part} if isinstance(part, str) else panels(part["first"]) | panels(part["second"])

    assert panels(layout["layout"]) == set(layout["configById"])
    wanted = set(re.findall(r'"(/[a-z_/]+)', json.dumps(layout["configById"])))
    pages = [(REPOSITORY / "docs" / name).read_text() for name in ("ros-interface.md", "locate.md")]
    for topic in wanted - {"/tf"}:
        name = topic.strip("/").replace("/compressed", "")
        assert any(f"`{name}`" in page or f"`{topic}`" in page for page in pages), topic


def test_shared_memory_profile_is_loaded_by_fast_dds(tmp_path):
    """A process with the profile makes a segment of 16 MB, one without it does not."""
    pytest.importorskip("rclpy")
    program = (
        "import os, rclpy\n"
        "rclpy.init(); node = rclpy.create_node('probe')\n"
        "lines = open('/proc/self/maps').read().splitlines()\n"
        "maps = {line.split()[-1] for line in lines if '/dev/shm/fastrtps' in line}\n"
        "sizes = [os.path.getsize(path) for path in maps if os.path.exists(path)]\n"
        "print(max(sizes, default=0))\n"
        "os._exit(0)"
    )
    environment = dict(os.environ, ROS_DOMAIN_ID="99")
    for name in constant("detector.launch.py", "PROFILE_VARIABLES"):
        environment[name] = str(REPOSITORY / "config" / "fastdds_shm.xml")
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, timeout=60
    )
    if done.stdout.strip() == "0":
        pytest.skip("Fast DDS uses no shared memory here")
    assert int(done.stdout) >= 16 * 2**20, done.stderr


@pytest.fixture
def ros2_launch(tmp_path):
    for module in ("launch_ros", "ros2launch"):
        if importlib.util.find_spec(module) is None:
            pytest.skip(module + " is not installed here (no wheel exists)")
    packages = pytest.importorskip("ament_index_python.packages")
    try:
        packages.get_package_prefix("refdet_ros")
    except packages.PackageNotFoundError:
        pytest.skip("refdet_ros is not installed as a ROS package; build it with colcon")
    started = []

    def run(file, *arguments, seconds=90, until=("looking at",)):
        log = tmp_path / "log.txt"
        command = ["ros2", "launch", str(LAUNCH / file), *arguments]
        with log.open("w") as output:
            process = subprocess.Popen(
                command,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=dict(os.environ, ROS_DOMAIN_ID="98", ROS_LOG_DIR=str(tmp_path)),
            )
        started.append(process)
        deadline = time.monotonic() + seconds
        while (
            time.monotonic() < deadline
            and process.poll() is None
            and not all(words in log.read_text() for words in until)
        ):
            time.sleep(0.1)
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
        return process.wait(60), log.read_text()

    yield run
    for process in started:
        if process.poll() is None:
            process.kill()


def test_ros2_launch_detector(ros2_launch):
    code, output = ros2_launch(
        "detector.launch.py",
        "namespace:=drone1",
        "image_topic:=/camera/image_raw",
        "image_transport:=compressed",
        "use_sim_time:=false",
        "log_level:=info",
    )
    assert "looking at /camera/image_raw/compressed" in output
    assert "[drone1.detector]" in output and "process has finished cleanly" in output and code == 0


def test_ros2_launch_build_only_ends_by_itself(ros2_launch):
    code, output = ros2_launch("detector.launch.py", "build_only:=true")
    assert "process has finished cleanly" in output and "looking at" not in output and code == 0


def test_ros2_launch_refuses_a_bad_boolean(ros2_launch):
    code, output = ros2_launch("detector.launch.py", "autostart:=maybe")
    assert code != 0 and "autostart must be true or false, got 'maybe'" in output


def test_ros2_launch_with_the_params_file(ros2_launch):
    code, output = ros2_launch(
        "detector.launch.py", f"params_file:={REPOSITORY}/config/detector.yaml"
    )
    assert "looking at /image" in output and code == 0


def test_ros2_launch_with_console_and_locate(ros2_launch):
    code, output = ros2_launch(
        "detector.launch.py",
        "image_topic:=/camera/image_raw",
        "console:=true",
        "console_options:=--port 0",
        "locate:=true",
        until=(ready := ("looking at /camera/image_raw", "open http://", "/camera/camera_info")),
    )
    assert all(words in output for words in ready)
    assert output.count("process has finished cleanly") == 3 and code == 0
