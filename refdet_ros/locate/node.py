"""The node ``locate``: computes where the detections are on the map.

It is a client of the detector's topics, so it may run anywhere; what it needs besides is the
camera's ``camera_info`` and TF.
"""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass, replace
from typing import Any, Deque, Dict, List, Optional

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray
from rcl_interfaces.msg import SetParametersResult
from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy, qos_profile_sensor_data
from refdet_msgs.msg import TargetLocationArray, TemplateArray
from sensor_msgs.msg import CameraInfo, NavSatFix
from std_msgs.msg import Header
from vision_msgs.msg import Detection2D, Detection2DArray

from refdet_core.errors import ConfigError
from refdet_core.types import BoxXYXY
from refdet_ros.locate import tf
from refdet_ros.locate.camera_history import CameraHistory
from refdet_ros.locate.camera_model import CameraModel, CameraModelError
from refdet_ros.locate.diagnostics import Tally
from refdet_ros.locate.geodesy import GeoPoint
from refdet_ros.locate.georeference import Georeference
from refdet_ros.locate.locator import Location, Position, locate_box
from refdet_ros.locate.markers import MarkerPublisher
from refdet_ros.locate.messages import LocatedTarget, geo_point_type, set_pose, to_location
from refdet_ros.locate.settings import LOCATE_OPTIONS, declare
from refdet_ros.locate.topics import TargetTopics
from refdet_ros.locate.track import PositionTrack
from refdet_ros.locate.transforms import Transform, TransformError, stamp_of

DIAGNOSTICS_PERIOD_S = 1.0
_RETRY_S = 0.02
_MAX_WAITING = 200
_RELIABLE_DEPTH = 10
_LATCHED = QoSProfile(
    depth=1, reliability=ReliabilityPolicy.RELIABLE, durability=DurabilityPolicy.TRANSIENT_LOCAL
)


@dataclass(frozen=True)
class _Waiting:
    """Detections that wait for their camera pose until a monotonic time."""

    detections: Detection2DArray
    deadline_s: float


class LocateNode(Node):
    """Publishes where each detection is.

    Raises:
        ConfigError: a parameter it was started with cannot be used.
    """

    def __init__(self, **node_arguments: Any) -> None:
        super().__init__("locate", **node_arguments)
        self._settings = declare(self)
        self.add_on_set_parameters_callback(self._on_set_parameters)
        self._cameras = CameraHistory(self._settings.rectified)
        self._tracks: Dict[str, PositionTrack] = {}
        self._waiting: Deque[_Waiting] = deque()
        self._tally = Tally()
        self._transforms = tf.listen(self)
        self._earth = Georeference(self._settings, self._transforms, self.get_logger())

        self._locations = self.create_publisher(TargetLocationArray, "locations", _RELIABLE_DEPTH)
        self._topics = TargetTopics(self)
        self._markers = MarkerPublisher(self)
        self._diagnostics = self.create_publisher(DiagnosticArray, "/diagnostics", 10)
        self.create_subscription(
            Detection2DArray, "detections", self._on_detections, _RELIABLE_DEPTH
        )
        calibration = self.create_subscription(
            CameraInfo, "camera_info", self._cameras.add, qos_profile_sensor_data
        )
        self.create_subscription(TemplateArray, "templates", self._on_templates, _LATCHED)
        self.create_subscription(NavSatFix, "fix", self._on_fix, qos_profile_sensor_data)
        geo_point = geo_point_type()
        if geo_point is not None:
            self.create_subscription(geo_point, "origin", self._on_origin, qos_profile_sensor_data)
        # Not on the node's clock: a simulation that stands still must not stop diagnostics.
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self._retry = self.create_timer(_RETRY_S, self._answer_waiting, clock=steady)
        self._retry.cancel()
        self.create_timer(DIAGNOSTICS_PERIOD_S, self._every_second, clock=steady)
        self.get_logger().info(
            f"positions in '{self._settings.fixed_frame}', camera of {calibration.topic_name}"
        )

    # What comes in.

    def _on_detections(self, message: Detection2DArray) -> None:
        deadline_s = time.monotonic() + self._settings.tf_wait_s
        self._waiting.append(_Waiting(message, deadline_s))
        if len(self._waiting) > _MAX_WAITING:
            self._publish(self._waiting.popleft().detections, None, "the transforms are late")
        self._answer_waiting()

    def _on_templates(self, message: TemplateArray) -> None:
        """Forget targets whose template was cleared."""
        wanted = {template.template_id for template in message.templates}
        self._topics.keep(wanted)
        for template_id in set(self._tracks) - wanted:
            del self._tracks[template_id]

    def _on_fix(self, message: NavSatFix) -> None:
        values = (message.latitude, message.longitude, message.altitude)
        if message.status.status >= 0 and np.isfinite(values).all():
            self._earth.add_fix(message, self._settings)

    def _on_origin(self, message: Any) -> None:
        at = message.position
        if (
            self._settings.given_origin is not None
            or not np.isfinite((at.latitude, at.longitude)).all()
        ):
            return
        altitude = at.altitude if np.isfinite(at.altitude) else 0.0
        self._earth.set_origin(GeoPoint(at.latitude, at.longitude, altitude))

    def _on_set_parameters(self, parameters: List[Parameter]) -> SetParametersResult:
        values = {item.name: item.value for item in parameters if item.name in LOCATE_OPTIONS}
        for name, value in values.items():
            if not LOCATE_OPTIONS[name].running and value != getattr(self._settings, name):
                reason = f"{name} can only be set when the node is started."
                return SetParametersResult(successful=False, reason=reason)
        try:
            self._settings = replace(self._settings, **values)
        except ConfigError as error:
            return SetParametersResult(successful=False, reason=str(error))
        return SetParametersResult(successful=True)

    # What goes out.

    def _answer_waiting(self) -> None:
        """Answer the waiting frames in order, as far as poses are known or have timed out."""
        while self._waiting:
            entry = self._waiting[0]
            pose, problem = None, ""
            try:
                pose = self._pose_of_camera(entry.detections.header)
            except TransformError as error:
                # Frames that are not connected may be, too, with the next message.
                if time.monotonic() < entry.deadline_s:
                    if self._retry.is_canceled():
                        self._retry.reset()
                    return
                problem = str(error)
            self._waiting.popleft()
            self._publish(entry.detections, pose, problem)
        self._retry.cancel()

    def _pose_of_camera(self, header: Header) -> Transform:
        """The pose of the optical frame in the fixed frame at the image's stamp."""
        stamp_ns = stamp_of(header.stamp)
        if not header.frame_id:
            raise TransformError("The images have no frame_id; set it in the camera's driver.")
        if stamp_ns == 0:
            # To tf2 that would mean the newest.
            raise TransformError("The images have no stamp; set it in the camera's driver.")
        found: Transform = self._transforms.lookup_transform(
            self._settings.fixed_frame, header.frame_id, stamp_ns
        )
        return found

    def _publish(
        self, detections: Detection2DArray, pose: Optional[Transform], pose_problem: str
    ) -> None:
        header = detections.header
        fixed = Header(stamp=header.stamp, frame_id=self._settings.fixed_frame)
        self._earth.use_fixes(self._settings)
        targets = self._locate_all(detections, pose, pose_problem)
        self._tally.frame(pose_problem)
        for target in targets:
            self._tally.target(target.template_id, target.location)
        message = TargetLocationArray(
            header=fixed,
            camera_frame_id=header.frame_id,
            has_camera_pose=pose is not None,
            locations=[to_location(target) for target in targets],
        )
        if pose is not None:
            set_pose(message.camera_pose, pose)
        self._locations.publish(message)
        for target in _best_of_each(targets):
            self._topics.publish(target, header, fixed)
        self._markers.publish(_best_of_each(targets), pose, fixed)

    def _locate_all(
        self, detections: Detection2DArray, pose: Optional[Transform], pose_problem: str
    ) -> List[LocatedTarget]:
        stamp_ns = stamp_of(detections.header.stamp)
        named = [item for item in detections.detections if item.results]
        camera: Optional[CameraModel] = None
        camera_problem = ""
        try:
            camera = self._cameras.at(stamp_ns)
        except CameraModelError as error:
            camera_problem = f"{error} on '{self.resolve_topic_name('camera_info')}'"
        ground = self._earth.ground(self._settings)
        best = {id(item) for item in _best_detections(named)}
        located = []
        for detection in named:
            if camera is None:
                location = Location(problem=camera_problem)
            elif ground is None:
                location = Location(problem=self._earth.ground_problem)
            else:
                location = locate_box(
                    box_of(detection), camera, pose, ground, self._settings.sigmas
                )
                if pose is None and not location.problem:
                    location = replace(location, problem=pose_problem)
            track = None
            if location.position is not None and id(detection) in best:
                track = self._follow(detection, location.position, stamp_ns)
            place = None
            if location.position is not None:
                place = self._earth.place(
                    location.position.point if track is None else track.position
                )
            located.append(LocatedTarget(detection, location, track, place))
        return located

    def _follow(self, detection: Detection2D, position: Position, stamp_ns: int) -> PositionTrack:
        settings = self._settings
        template_id = detection.results[0].hypothesis.class_id
        if template_id not in self._tracks:
            self._tracks[template_id] = PositionTrack(
                settings.target_acceleration, settings.target_speed, settings.track_gap_s
            )
        track = self._tracks[template_id]
        track.update(position, stamp_ns, detection.id)
        return track

    def _every_second(self) -> None:
        self._earth.use_fixes(self._settings)
        self._tally.fix_problem = self._earth.fix_problem
        self._diagnostics.publish(
            self._tally.to_diagnostics(
                self.get_fully_qualified_name(),
                self.resolve_topic_name("detections"),
                self._earth.origin,
                self.get_clock().now().to_msg(),
            )
        )


def box_of(detection: Detection2D) -> BoxXYXY:
    """A detection's box in pixels."""
    box = detection.bbox
    x, y = box.center.position.x, box.center.position.y
    return (x - box.size_x / 2, y - box.size_y / 2, x + box.size_x / 2, y + box.size_y / 2)


def _best_detections(detections: List[Detection2D]) -> List[Detection2D]:
    """The most probable detection of each template."""
    best: Dict[str, Detection2D] = {}
    for item in detections:
        hypothesis = item.results[0].hypothesis
        other = best.get(hypothesis.class_id)
        if other is None or hypothesis.score > other.results[0].hypothesis.score:
            best[hypothesis.class_id] = item
    return list(best.values())


def _best_of_each(targets: List[LocatedTarget]) -> List[LocatedTarget]:
    best = {id(item) for item in _best_detections([target.detection for target in targets])}
    return [target for target in targets if id(target.detection) in best]
