"""Writes a simulated flight as a bag: a drone circles a moving target; the truth lies beside it.

    python -m refdet_ros.bags.simulated_flight flight_bag

The ground is flat and textured, the camera has lens distortion, the drone rolls and pitches and its
gimbal nods. Every pixel is traced to the ground, so images, CameraInfo, TF and fixes agree exactly.
"""

from __future__ import annotations

import argparse
import json
import sys
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Dict, List, Sequence, Tuple

import cv2
import numpy as np
from tqdm import tqdm

from refdet_core.errors import RefdetError, SourceError
from refdet_core.types import BoxXYXY
from refdet_ros.bags.cdr import split_ns
from refdet_ros.bags.writing import reliable_qos
from refdet_ros.locate.camera_model import CameraModel
from refdet_ros.locate.geodesy import GeoPoint, to_geodetic
from refdet_ros.locate.rotations import from_matrix, to_matrix
from refdet_ros.locate.transforms import Transform

OPTICAL, GIMBAL, BASE, FIXED = "camera_optical", "gimbal", "base_link", "map"
TRUTH_FILE, TARGET_FILE = "truth.json", "target.png"
_TF_HZ, _FIX_HZ = 30, 5
ORIGIN = GeoPoint(48.13712, 11.57541, 561.0)
_START_NS = 1_764_300_000 * 10**9
# Right, down, forward of a camera as forward, left, up of what carries it.
_CARRIER_FROM_OPTICAL = np.array([[0.0, 0, 1], [-1, 0, 0], [0, -1, 0]])


@dataclass(frozen=True)
class Flight:
    """The simulated flight. Lengths in metres, angles in degrees, times in seconds.

    Attributes:
        width, height: of the images, pixels.
        focal_px: focal length.
        distortion: plumb_bob coefficients.
        radius, altitude: of the circle around the target.
        target_size: length and width of the target.
        target_velocity: east and north, per second.
        origin: of the fixed frame on Earth.
    """

    seconds: float = 20.0
    hz: float = 10.0
    width: int = 640
    height: int = 480
    focal_px: float = 600.0
    distortion: Tuple[float, ...] = (-0.20, 0.06, 0.0008, -0.0006, 0.0)
    radius: float = 40.0
    altitude: float = 45.0
    target_size: Tuple[float, float] = (9.0, 6.0)
    target_velocity: Tuple[float, float] = (2.0, 0.7)
    origin: GeoPoint = ORIGIN

    @property
    def camera_info(self) -> Any:
        """The fields of its ``sensor_msgs/CameraInfo``."""
        f, cx, cy = self.focal_px, self.width / 2 - 3.5, self.height / 2 + 2.5
        return SimpleNamespace(
            header=SimpleNamespace(frame_id=OPTICAL),
            k=(f, 0.0, cx, 0.0, f, cy, 0.0, 0.0, 1.0),
            d=self.distortion,
            r=(1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0),
            p=(f, 0.0, cx, 0.0, 0.0, f, cy, 0.0, 0.0, 0.0, 1.0, 0.0),
            distortion_model="plumb_bob",
            binning_x=0,
            binning_y=0,
            roi=SimpleNamespace(x_offset=0, y_offset=0),
        )

    @property
    def camera(self) -> CameraModel:
        """The camera."""
        return CameraModel.from_camera_info(self.camera_info)

    def target(self, time_s: float) -> np.ndarray:
        """Where the middle of the target is on the ground, ``(3,)``."""
        return np.array([*np.multiply(self.target_velocity, time_s), 0.0])

    def transforms(self, time_s: float) -> Dict[Tuple[str, str], Transform]:
        """The moving transforms by parent and child frame."""
        turn = np.radians(12 * time_s)
        out = np.array([np.cos(turn), np.sin(turn), 0.0])
        position = self.target(time_s) + self.radius * out
        position[2] = self.altitude + 3 * np.sin(0.5 * time_s)
        # It flies along the circle, banked, and bobs.
        body = _axes(np.degrees(turn) + 90, 4 * np.sin(1.3 * time_s), 8 + 3 * np.sin(0.9 * time_s))
        # The gimbal looks near the target, level to a few degrees.
        aside = np.array([3 * np.sin(time_s), 2 * np.cos(0.7 * time_s), 0.0])
        sight = self.target(time_s) + aside - position
        heading = np.degrees(np.arctan2(sight[1], sight[0]))
        down = np.degrees(np.arctan2(-sight[2], np.hypot(*sight[:2])))
        gimbal = _axes(heading, down, 3 * np.sin(0.8 * time_s))
        return {
            (FIXED, BASE): Transform(position, from_matrix(body)),
            (BASE, GIMBAL): Transform(np.array([0.1, 0.0, -0.05]), from_matrix(body.T @ gimbal)),
        }

    @property
    def mount(self) -> Transform:
        """The fixed transform of the camera's optical frame in the gimbal's."""
        return Transform(np.array([0.03, 0.0, 0.0]), from_matrix(_CARRIER_FROM_OPTICAL))

    def camera_pose(self, time_s: float) -> Transform:
        """The pose of the optical frame in the fixed frame."""
        moving = self.transforms(time_s)
        return moving[(FIXED, BASE)] @ moving[(BASE, GIMBAL)] @ self.mount

    def target_box(self, time_s: float) -> BoxXYXY:
        """The box around the target in the image, whole or not, from pixels' edges."""
        length, width = self.target_size
        sides = np.linspace(-0.5, 0.5, 9)
        outline = np.array([[x, y] for x in sides for y in sides]) * [length, width]
        points = np.column_stack([outline @ self._target_axes().T, np.zeros(len(outline))])
        pose = self.camera_pose(time_s).inverse
        seen = (self.target(time_s) + points) @ to_matrix(pose.rotation).T + pose.translation
        pixels = self.camera.project(seen) + 0.5
        (left, top), (right, bottom) = pixels.min(axis=0), pixels.max(axis=0)
        return float(left), float(top), float(right), float(bottom)

    def _target_axes(self) -> np.ndarray:
        """Unit vectors along and across the target on the ground, as columns."""
        east, north = np.array(self.target_velocity) / np.linalg.norm(self.target_velocity)
        return np.array([[east, -north], [north, east]])


class Renderer:
    """Draws what the flight's camera sees.

    Args:
        target_bgr: picture of the target from above, its length to the right.
        ground_bgr: texture of the ground, repeated every ``texture_m`` metres.
    """

    def __init__(
        self, flight: Flight, target_bgr: np.ndarray, ground_bgr: np.ndarray, texture_m: float = 40
    ) -> None:
        self._flight = flight
        self._target = target_bgr
        self._ground = ground_bgr
        self._texture_m = texture_m
        rows, columns = np.mgrid[: flight.height, : flight.width]
        pixels = np.column_stack([columns.ravel(), rows.ravel()]).astype(float)
        self._rays = flight.camera.rays(pixels)

    def frame(self, time_s: float) -> np.ndarray:
        """``(H, W, 3)`` uint8 BGR."""
        flight = self._flight
        pose = flight.camera_pose(time_s)
        rays = self._rays @ to_matrix(pose.rotation).T
        with np.errstate(divide="ignore", invalid="ignore"):
            distances = np.where(rays[:, 2] < 0, -pose.translation[2] / rays[:, 2], np.inf)
            places = pose.translation[:2] + distances[:, None] * rays[:, :2]
        sky = ~np.isfinite(places).all(axis=1)
        places[sky] = 0
        shape = (flight.height, flight.width)
        scale = self._ground.shape[0] / self._texture_m
        picture = cv2.remap(
            self._ground,
            (places[:, 0] * scale).reshape(shape).astype(np.float32),
            (-places[:, 1] * scale).reshape(shape).astype(np.float32),
            cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_WRAP,
        )
        on_target = (places - flight.target(time_s)[:2]) @ flight._target_axes()
        share = on_target / np.array(flight.target_size) + 0.5
        height, width = self._target.shape[:2]
        drawn = cv2.remap(
            self._target,
            (share[:, 0] * width - 0.5).reshape(shape).astype(np.float32),
            ((1 - share[:, 1]) * height - 0.5).reshape(shape).astype(np.float32),
            cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_REPLICATE,
        )
        inside = ((share >= 0) & (share < 1)).all(axis=1).reshape(shape)
        picture[inside] = drawn[inside]
        picture[sky.reshape(shape)] = (235, 206, 170)
        return np.asarray(picture)


def _axes(yaw: float, pitch: float, roll: float) -> np.ndarray:
    """Of a carrier (forward, left, up): degrees left of east, down, and clockwise."""
    (cy, cp, cr), (sy, sp, sr) = (f(np.radians([yaw, pitch, roll])) for f in (np.cos, np.sin))
    about_z = np.array([[cy, -sy, 0], [sy, cy, 0], [0, 0, 1]])
    about_y = np.array([[cp, 0, sp], [0, 1, 0], [-sp, 0, cp]])
    about_x = np.array([[1, 0, 0], [0, cr, -sr], [0, sr, cr]])
    return np.asarray(about_z @ about_y @ about_x)


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


def textured_ground(side_px: int = 1024, seed: int = 4) -> np.ndarray:
    """A field with patches, and some dark bushes."""
    random = np.random.default_rng(seed)
    picture = np.full((side_px, side_px, 3), (60, 110, 105), np.float32)
    for cell in (256, 64, 16, 4):
        coarse = random.normal(size=(side_px // cell, side_px // cell, 3)).astype(np.float32)
        coarse = np.pad(coarse, ((0, 1), (0, 1), (0, 0)), mode="wrap")
        picture += 9 * cv2.resize(coarse, None, fx=cell, fy=cell)[:side_px, :side_px]
    for _ in range(60):
        x, y = (int(value) for value in random.integers(20, side_px - 20, 2))
        cv2.circle(picture, (x, y), int(random.integers(4, 16)), (30, 60, 40), -1)
    return np.clip(picture, 0, 255).astype(np.uint8)


def truck() -> np.ndarray:
    """A truck from above, its front to the right."""
    picture = np.full((120, 180, 3), (40, 40, 190), np.uint8)
    picture[10:110, 120:170] = (200, 200, 205)
    picture[20:100, 140:155] = (60, 45, 35)
    picture[10:110:20, 8:112] = (30, 30, 140)
    return picture


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m refdet_ros.bags.simulated_flight",
        description="Write a bag of a simulated flight, with the truth.",
    )
    parser.add_argument("bag", type=Path, help="the new bag folder")
    parser.add_argument("--seconds", type=float, default=Flight.seconds, help="default: 20")
    parser.add_argument("--rate", type=float, default=Flight.hz, help="images a second (10)")
    args = parser.parse_args(argv)
    flight = Flight(seconds=args.seconds, hz=args.rate)
    try:
        renderer = Renderer(flight, truck(), textured_ground())
        write_bag(args.bag, flight, renderer)
    except RefdetError as error:
        print(f"simulated_flight: {error}", file=sys.stderr)
        return 1
    left, top, right, bottom = map(round, flight.target_box(0.0))
    cv2.imwrite(str(args.bag / TARGET_FILE), renderer.frame(0.0)[top:bottom, left:right])
    print(f"Written: {args.bag}, with {TRUTH_FILE} and {TARGET_FILE}, a photo of the target.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
