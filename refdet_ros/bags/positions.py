"""Where the detections of a replayed bag are on the ground, from its own TF and CameraInfo."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import Dict, List, Optional, Sequence, Tuple

import numpy as np
from rclpy.serialization import deserialize_message

from refdet_ros.bags.cdr import read_frame_id, read_stamp_ns
from refdet_ros.bags.parts import BagTopic
from refdet_ros.bags.player import message_type
from refdet_ros.bags.reading import Bag
from refdet_ros.bags.replay import Replay
from refdet_ros.bags.targets import Target
from refdet_ros.locate.camera_history import CameraHistory
from refdet_ros.locate.camera_model import CameraModelError
from refdet_ros.locate.locator import locate_box
from refdet_ros.locate.settings import LocateSettings
from refdet_ros.locate.transforms import TransformBuffer, TransformError

_LOG = logging.getLogger(__name__)
_INFO, _TF = "sensor_msgs/msg/CameraInfo", "tf2_msgs/msg/TFMessage"
_HOUR_S = 3600.0


@dataclass
class Positions:
    """Paths over the ground in the fixed frame, metres east and north.

    Attributes:
        camera: ``(N, 2)`` of the camera.
        targets: ``(N, 2)`` by template.
    """

    camera: np.ndarray
    targets: Dict[str, np.ndarray] = field(default_factory=dict)


def positions_in(
    bag: Bag, topic: BagTopic, replay: Replay, targets: Sequence[Target]
) -> Optional[Positions]:
    """Positions of the best detections with the node's default settings.

    Returns:
        None where the bag has no CameraInfo or TF, or no detection meets the ground.
    """
    infos = [item for item in bag.topics if item.msgtype == _INFO and item.count]
    tf_topics = [item.name for item in bag.topics if item.msgtype == _TF and item.count]
    if not infos or not tf_topics or message_type(_TF) is None:
        return None
    info = min(infos, key=lambda item: -_common_start(item.name, topic.name))
    settings = LocateSettings()
    transforms, cameras = TransformBuffer(cache_s=24 * _HOUR_S), CameraHistory(settings.rectified)
    headers: List[Tuple[int, str]] = []
    for message in bag.messages([topic.name, info.name, *tf_topics]):
        if message.topic == topic.name:
            headers.append((read_stamp_ns(message.cdr), read_frame_id(message.cdr)))
            continue
        content = deserialize_message(message.cdr, message_type(message.msgtype))
        if message.msgtype == _INFO:
            cameras.add(content)
        else:
            transforms.store(content, "static" in message.topic, _LOG.warning)
    camera: List[np.ndarray] = []
    ways: Dict[str, List[np.ndarray]] = {target.template_id: [] for target in targets}
    best = {name: replay.best(name) for name in ways}
    problem = ""
    for number, (stamp_ns, frame_id) in enumerate(headers):
        try:
            pose = transforms.lookup_transform(settings.fixed_frame, frame_id, stamp_ns)
            model = cameras.at(stamp_ns)
        except (TransformError, CameraModelError) as error:
            problem = str(error)
            continue
        camera.append(pose.translation[:2])
        for name, way in ways.items():
            found = best[name].get(number)
            if found is None:
                continue
            location = locate_box(
                found.bbox_xyxy, model, pose, settings.ground(None), settings.sigmas
            )
            if location.position is not None:
                way.append(location.position.point[:2])
            else:
                problem = location.problem
    if not any(ways.values()):
        _LOG.warning("No position on the ground could be computed: %s", problem or "no detection")
        return None
    return Positions(np.array(camera), {name: np.array(way) for name, way in ways.items() if way})


def _common_start(one: str, other: str) -> int:
    """Parts of topic names that agree from the start: the CameraInfo of this camera."""
    count = 0
    for first, second in zip(one.split("/"), other.split("/")):
        if first != second:
            break
        count += 1
    return count
