r"""Play a bag into the detector and watch it in RViz.

It also takes every argument of detector.launch.py:

    ros2 launch refdet_ros replay.launch.py bag:=flight_bag image_topic:=/camera/image_raw \
        template_path:=$HOME/car.jpg
"""

import importlib.util
import shutil
from pathlib import Path

from launch.actions import (
    DeclareLaunchArgument,
    ExecuteProcess,
    IncludeLaunchDescription,
    OpaqueFunction,
)
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch_ros.actions import Node

from launch import LaunchDescription

ARGUMENTS = {
    "bag": (None, "folder or file of a rosbag2 recording"),
    "rate": ("1.0", "playing speed, 1.0 is real time"),
    "loop": ("false", "true repeats the bag"),
    # Arguments of the detector with defaults for a replay.
    "use_sim_time": (
        "true",
        "true uses the bag's time; otherwise its frames would count as old",
    ),
    "rviz": ("true", "false leaves RViz closed"),
}


def play(context):
    """``ros2 bag play``, or this package's ``play_bag`` where rosbag2 is not installed."""
    given = {name: context.launch_configurations[name] for name in ARGUMENTS}
    options = [given["bag"], "--rate", given["rate"]]
    if given["loop"].lower() == "true":
        options.append("--loop")
    if given["use_sim_time"].lower() == "true":
        options.append("--clock")
    if shutil.which("ros2") and importlib.util.find_spec("ros2bag"):
        return [ExecuteProcess(cmd=["ros2", "bag", "play", *options], output="screen")]
    return [Node(package="refdet_ros", executable="play_bag", arguments=options, output="screen")]


def generate_launch_description():
    """The entry point of ``ros2 launch``."""
    declared = [
        DeclareLaunchArgument(name, default_value=default, description=text)
        for name, (default, text) in ARGUMENTS.items()
    ]
    detector = IncludeLaunchDescription(
        PythonLaunchDescriptionSource(str(Path(__file__).with_name("detector.launch.py")))
    )
    # The detector comes first: it sets the Fast DDS profile, which the player needs too.
    return LaunchDescription([*declared, detector, OpaqueFunction(function=play)])
