"""Writes the simulated flight as a bag."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path
from typing import Any, Dict, List, Tuple

import numpy as np
from tqdm import tqdm

from refdet_core.errors import SourceError
from refdet_ros.bags.cdr import split_ns
from refdet_ros.bags.simulated_flight.flight import BASE, FIXED, GIMBAL, OPTICAL, Flight
from refdet_ros.bags.simulated_flight.renderer import Renderer
from refdet_ros.bags.writing import reliable_qos
from refdet_ros.locate.geodesy import to_geodetic
from refdet_ros.locate.transforms import Transform

TRUTH_FILE = "truth.json"
_TF_HZ, _FIX_HZ = 30, 5
_START_NS = 1_764_300_000 * 10**9


def write_bag(path: Path, flight: Flight, renderer: Renderer) -> List[Dict[str, Any]]:
    """Write the flight as a bag (mcap): ``/image``, ``/camera_info``, ``/tf``, ``/tf_static``,
    ``/fix``; beside it in the folder the truth as JSON.

    Returns:
        The truth of each frame: stamp, target's position, camera's position and box.

    Raises:
        SourceError: the folder exists or cannot be written.
    """
    try:
        from rosbags.rosbag2 import StoragePlugin, Writer
        from rosbags.typesys import Stores, get_typestore

        store = get_typestore(Stores.ROS2_JAZZY)
        writer = Writer(path, version=8, storage_plugin=StoragePlugin.MCAP)
        writer.open()  # fails here, with our sentence, where the folder exists
    except Exception as error:
        raise SourceError(f"The bag '{path}' cannot be written: {error}") from error
    messages = _Messages(store.types)
    truth = []
    with closing(writer):
        connections: Dict[str, Any] = {}

        def write(topic: str, message: Any, time_ns: int) -> None:
            if topic not in connections:
                qos = [reliable_qos(latched=topic == "/tf_static")]
                connections[topic] = writer.add_connection(
                    topic, message.__msgtype__, typestore=store, offered_qos_profiles=qos
                )
            cdr = store.serialize_cdr(message, message.__msgtype__)
            writer.write(connections[topic], time_ns, cdr)

        write("/tf_static", messages.tf({(GIMBAL, OPTICAL): flight.mount}, _START_NS), _START_NS)
        events: List[Tuple[float, int, str]] = []
        for order, (topic, hz) in enumerate(
            (("/tf", _TF_HZ), ("/fix", _FIX_HZ), ("/image", flight.hz))
        ):
            count = round(flight.seconds * hz)
            # TF also begins before the first frame and ends after the last.
            extra = 5 if topic == "/tf" else 0
            events += [(n / hz, order, topic) for n in range(-extra, count + extra)]
        for time_s, _, topic in tqdm(sorted(events), unit="message", disable=None):
            time_ns = _START_NS + round((time_s + 1) * 1e9)
            if topic == "/tf":
                write(topic, messages.tf(flight.transforms(time_s), time_ns), time_ns)
            elif topic == "/fix":
                position = flight.transforms(time_s)[(FIXED, BASE)].translation
                place = to_geodetic(position[None], flight.origin)[0]
                write(topic, messages.fix(place, time_ns), time_ns)
            else:
                write("/camera_info", messages.camera_info(flight, time_ns), time_ns)
                write(topic, messages.image(renderer.frame(time_s), time_ns), time_ns)
                truth.append(
                    {
                        "stamp_ns": time_ns,
                        "target": flight.target(time_s).tolist(),
                        "velocity": [*flight.target_velocity, 0.0],
                        "camera": flight.camera_pose(time_s).translation.tolist(),
                        "box_xyxy": list(flight.target_box(time_s)),
                    }
                )
    (path / TRUTH_FILE).write_text(json.dumps(truth), encoding="utf-8")
    return truth


class _Messages:
    """Messages of rosbags' typestore."""

    def __init__(self, types: Any) -> None:
        self._types = types

    def header(self, time_ns: int, frame_id: str) -> Any:
        sec, nanosec = split_ns(time_ns)
        stamp = self._types["builtin_interfaces/msg/Time"](sec=sec, nanosec=nanosec)
        return self._types["std_msgs/msg/Header"](stamp=stamp, frame_id=frame_id)

    def tf(self, transforms: Dict[Tuple[str, str], Transform], time_ns: int) -> Any:
        t = self._types
        entries = []
        for (parent, child), transform in transforms.items():
            x, y, z = map(float, transform.translation)
            qx, qy, qz, qw = map(float, transform.rotation)
            entries.append(
                t["geometry_msgs/msg/TransformStamped"](
                    header=self.header(time_ns, parent),
                    child_frame_id=child,
                    transform=t["geometry_msgs/msg/Transform"](
                        translation=t["geometry_msgs/msg/Vector3"](x=x, y=y, z=z),
                        rotation=t["geometry_msgs/msg/Quaternion"](x=qx, y=qy, z=qz, w=qw),
                    ),
                )
            )
        return t["tf2_msgs/msg/TFMessage"](transforms=entries)

    def fix(self, place: np.ndarray, time_ns: int) -> Any:
        latitude, longitude, altitude = map(float, place)
        return self._types["sensor_msgs/msg/NavSatFix"](
            header=self.header(time_ns, "gps"),
            status=self._types["sensor_msgs/msg/NavSatStatus"](status=0, service=1),
            latitude=latitude,
            longitude=longitude,
            altitude=altitude,
            position_covariance=np.zeros(9),
            position_covariance_type=0,
        )

    def camera_info(self, flight: Flight, time_ns: int) -> Any:
        info = flight.camera_info
        roi = self._types["sensor_msgs/msg/RegionOfInterest"](
            x_offset=0, y_offset=0, height=0, width=0, do_rectify=False
        )
        return self._types["sensor_msgs/msg/CameraInfo"](
            header=self.header(time_ns, OPTICAL),
            height=flight.height,
            width=flight.width,
            distortion_model=info.distortion_model,
            d=np.array(info.d),
            k=np.array(info.k),
            r=np.array(info.r),
            p=np.array(info.p),
            binning_x=0,
            binning_y=0,
            roi=roi,
        )

    def image(self, frame_bgr: np.ndarray, time_ns: int) -> Any:
        height, width = frame_bgr.shape[:2]
        return self._types["sensor_msgs/msg/Image"](
            header=self.header(time_ns, OPTICAL),
            height=height,
            width=width,
            encoding="bgr8",
            is_bigendian=0,
            step=3 * width,
            data=np.ascontiguousarray(frame_bgr).reshape(-1),
        )
