r"""Start the detector.

Arguments that are not given set nothing: the defaults are those of the node. ``params_file``
overrides them, and the arguments here override both.

    ros2 launch refdet_ros detector.launch.py image_topic:=/camera/image_raw \
        template_path:=$HOME/car.jpg template_roi:=412,80,36,52
"""

import os
import shlex
from pathlib import Path

from ament_index_python.packages import PackageNotFoundError, get_package_prefix
from launch.actions import (
    DeclareLaunchArgument,
    LogInfo,
    OpaqueFunction,
    RegisterEventHandler,
    SetEnvironmentVariable,
    TimerAction,
)
from launch.event_handlers import OnProcessExit
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue

from launch import LaunchDescription

CONFIG = Path(__file__).resolve().parents[1] / "config"
LOST_DEVICE = 75  # exit code of a node that needs a new process to use the GPU
# Fast DDS 2 (Humble, Jazzy) and 3 (Kilted).
PROFILE_VARIABLES = ("FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_DEFAULT_PROFILES_FILE")

ARGUMENTS = {
    "namespace": "namespace of the node, for example drone1",
    "params_file": "YAML file of parameters, see config/detector.yaml",
    "use_sim_time": "true uses the time of /clock",
    "autostart": "false: you configure and activate the node",
    "log_level": "debug, info, warn, error or fatal",
    "image_topic": "camera topic, without /compressed even for the compressed transport",
    "image_transport": "raw or compressed",
    "bundle": "released model (base, small), folder of a bundle, or auto",
    "backend": "backend that runs the network: auto, onnxruntime, tensorrt or torch",
    "precision": "auto, fp32, fp16 or int8",
    "engine_folder": "folder for TensorRT engines",
    "build_only": "true builds missing TensorRT engines and exits",
    "template_path": "photo of the object; several separated by ';'",
    "template_roi": "the object's box in the photo: X,Y,W,H; one for each photo, separated by ';'",
    "search": "where to look: tiles, full_frame, track or auto",
    "console": "true starts the console, to set targets and watch in a web browser",
    "console_options": "options of the console, for example '--address 0.0.0.0 --port 8080'",
    "locate": "true also computes where targets are on the map (docs/locate.md)",
    "camera_info_topic": "for locate (default: camera_info beside image_topic)",
    "fixed_frame": "for locate: frame of the positions, x east, y north, z up",
    "rviz": "true opens RViz with the annotated picture, the heatmap and located targets",
}
STRING_PARAMETERS = (
    "image_transport",
    "bundle",
    "backend",
    "precision",
    "engine_folder",
    "template_path",
    "template_roi",
    "search",
)
BOOLEAN_PARAMETERS = ("use_sim_time", "autostart", "build_only")


def start(context):
    """The actions for the given arguments."""
    given = {name: context.launch_configurations[name].strip() for name in ARGUMENTS}
    given = {name: value for name, value in given.items() if value}

    parameters = [given["params_file"]] if "params_file" in given else []
    # With explicit types: launch would turn a path that looks like a number into a number.
    values = {
        name: ParameterValue(given[name], value_type=str)
        for name in STRING_PARAMETERS
        if name in given
    }
    values.update(
        (name, to_bool(name, given[name])) for name in BOOLEAN_PARAMETERS if name in given
    )
    if values:
        parameters.append(values)

    remappings = []
    if "image_topic" in given:
        topic = given["image_topic"]
        base = topic[: -len("/compressed")] if topic.endswith("/compressed") else topic
        remappings = [("image", base)]

    settings = {
        "package": "refdet_ros",
        "executable": "detector",
        "name": "detector",
        "namespace": given.get("namespace", ""),
        "parameters": parameters,
        "remappings": remappings,
        "ros_arguments": ["--log-level", given["log_level"]] if "log_level" in given else [],
        "output": "screen",
        "emulate_tty": True,
    }
    started = [*detector(settings), *locate(given), *console(given), *rviz(given)]
    return [*fast_dds_profile(), *started]


def detector(settings):
    """The node; when it loses the GPU, a new process replaces it."""
    node = Node(**settings)

    def ended(event, context):
        if event.returncode != LOST_DEVICE:
            return []
        return [TimerAction(period=2.0, actions=detector(settings))]

    return [node, RegisterEventHandler(OnProcessExit(target_action=node, on_exit=ended))]


def locate(given):
    """The node ``locate``, if asked for."""
    if not to_bool("locate", given.get("locate", "false")):
        return []
    topic = given.get("camera_info_topic")
    if topic is None and "image_topic" in given:
        # As in image_pipeline, /camera/camera_info belongs to /camera/image_raw.
        base = given["image_topic"]
        base = base[: -len("/compressed")] if base.endswith("/compressed") else base
        folder, separator, _ = base.rpartition("/")
        topic = f"{folder}{separator}camera_info"
    parameters = [given["params_file"]] if "params_file" in given else []
    values = {}
    if "fixed_frame" in given:
        values["fixed_frame"] = ParameterValue(given["fixed_frame"], value_type=str)
    if "use_sim_time" in given:
        values["use_sim_time"] = to_bool("use_sim_time", given["use_sim_time"])
    return [
        Node(
            package="refdet_ros",
            executable="locate",
            name="locate",
            namespace=given.get("namespace", ""),
            parameters=[*parameters, values] if values else parameters,
            remappings=[("camera_info", topic)] if topic else [],
            ros_arguments=["--log-level", given["log_level"]] if "log_level" in given else [],
            output="screen",
            emulate_tty=True,
        )
    ]


def to_bool(name, value):
    """The value of a boolean argument. Raises for anything but true and false."""
    if value.lower() not in ("true", "false"):
        raise ValueError(f"{name} must be true or false, got '{value}'.")
    return value.lower() == "true"


def fast_dds_profile():
    """Settings of Fast DDS with room for camera images, unless the user has chosen a profile."""
    if any(os.environ.get(name) for name in PROFILE_VARIABLES):
        return []
    profile = str(CONFIG / "fastdds_shm.xml")
    return [SetEnvironmentVariable(name, profile) for name in PROFILE_VARIABLES]


def console(given):
    """The console, if asked for; it prints the address to open."""
    if not to_bool("console", given.get("console", "false")):
        return []
    return [
        Node(
            package="refdet_ros",
            executable="console",
            namespace=given.get("namespace", ""),
            arguments=shlex.split(given.get("console_options", "")),
            output="screen",
            emulate_tty=True,
        )
    ]


def rviz(given):
    """RViz in the detector's namespace, if asked for and installed."""
    if "rviz" not in given or not to_bool("rviz", given["rviz"]):
        return []
    try:
        get_package_prefix("rviz2")
    except PackageNotFoundError:
        return [LogInfo(msg="rviz2 is not installed, continuing without it.")]
    sim_time = (
        [{"use_sim_time": True}]
        if to_bool("use_sim_time", given.get("use_sim_time", "false"))
        else []
    )
    # Only positions need a fixed frame.
    located = to_bool("locate", given.get("locate", "false"))
    fixed_frame = ["-f", given.get("fixed_frame", "map")] if located else []
    return [
        Node(
            package="rviz2",
            executable="rviz2",
            namespace=given.get("namespace", ""),
            arguments=["-d", str(CONFIG / "detector.rviz"), *fixed_frame],
            parameters=sim_time,
            output="log",
        )
    ]


def generate_launch_description():
    """The entry point of ``ros2 launch``."""
    declared = [
        DeclareLaunchArgument(name, default_value="", description=text)
        for name, text in ARGUMENTS.items()
    ]
    return LaunchDescription([*declared, OpaqueFunction(function=start)])
