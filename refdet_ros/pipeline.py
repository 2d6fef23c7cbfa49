"""From a camera message to published detections, all of it in the worker's thread."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Callable, Dict, Optional, Sequence, Tuple

import numpy as np
from builtin_interfaces.msg import Time
from rclpy.clock import Clock
from std_msgs.msg import Header

from refdet_core.backends.base import BackendInfo
from refdet_core.detector import DEFAULT_TEMPLATE_ID, Detector
from refdet_core.errors import RefdetError
from refdet_core.search import FOLLOWING
from refdet_core.types import TRACKING, BoxXYXY, Reference, TargetStatus
from refdet_ros.camera import CameraMessage, to_bgr
from refdet_ros.conversions import ImageError
from refdet_ros.counters import Statistics
from refdet_ros.frame_clock import FrameClock
from refdet_ros.parameters import Settings
from refdet_ros.publishing import ResultPublisher, to_template_array
from refdet_ros.worker import Worker

OPEN_TIMEOUT_S = 1800.0
"""A TensorRT engine may have to be built first."""
JOB_TIMEOUT_S = 10.0


@dataclass(frozen=True)
class TemplateChange:
    """What came of a template change.

    Attributes:
        encode_ms: time spent encoding the references.
        followed: whether the object is followed from where the request said it is.
    """

    reference_count: int
    encode_ms: float
    followed: bool


class Pipeline:
    """Owns the detector and the one thread that may use it.

    Args:
        clock: the node's; ages and latencies are measured on it.
        on_error: told about every frame that failed, with the exception.
        keep_waiting: False once the process shuts down.
    """

    def __init__(
        self,
        settings: Settings,
        publisher: ResultPublisher,
        statistics: Statistics,
        clock: Clock,
        on_error: Callable[[Exception], None],
        keep_waiting: Callable[[], bool],
    ) -> None:
        self.settings = settings
        self._publisher = publisher
        self._statistics = statistics
        self._clock = clock
        self._report = on_error
        self._keep_waiting = keep_waiting
        self._detector: Optional[Detector] = None
        self._frame_clock = FrameClock()
        self._targets: Dict[str, TargetStatus] = {}
        self._template_created: Dict[str, Time] = {}
        self._templates_changed = clock.now().to_msg()
        self._worker: Worker[Tuple[CameraMessage, float]] = Worker(
            self._process, self._failed, self._close, keep_waiting
        )

    def open(self) -> None:
        """Load the model and run it once, so that the first camera frame is not the slow one.

        Raises:
            RefdetError: the model or backend cannot be used.
        """
        self._worker.call(self._open, OPEN_TIMEOUT_S)

    def close(self) -> bool:
        """End the thread and release the backend; False if a frame would not end."""
        return self._worker.stop(JOB_TIMEOUT_S)

    def offer(self, message: CameraMessage) -> None:
        """Take the newest frame; one that the worker has not begun is replaced."""
        if self._worker.offer((message, time.perf_counter())):
            self._statistics.dropped("replaced")

    def finish_frames(self) -> None:
        """Forget the waiting frame and wait for the one in work."""
        self._worker.forget_frame()
        self._worker.call(lambda: None, JOB_TIMEOUT_S)

    def configure(self, settings: Settings) -> None:
        """Use other settings from the next frame on.

        Raises:
            RefdetError: they cannot be used; the old ones stay.
        """
        if settings.detector != self.settings.detector:
            config = settings.detector
            self._worker.call(lambda: self._opened.configure(config), JOB_TIMEOUT_S)
        self.settings = settings

    def set_template(
        self,
        references: Sequence[Reference],
        template_id: str,
        append: bool,
        here_xyxy: Optional[BoxXYXY] = None,
    ) -> TemplateChange:
        """Look for the object in these photos from the next frame on.

        Args:
            here_xyxy: where it is in the newest frame, if that is known. The searches that follow
                targets begin there, unless a reference is appended to what they follow already.

        Raises:
            RefdetError: they cannot be used; the old templates stay.
        """

        def job() -> TemplateChange:
            started = time.perf_counter()
            template = self._opened.set_template(references, template_id, append)
            if not append:
                self._forget_targets((template_id,))
            encode_ms = (time.perf_counter() - started) * 1e3
            self._template_created[template_id] = self._clock.now().to_msg()
            self._announce()
            follow = (
                here_xyxy is not None
                and self.settings.search in FOLLOWING
                and not (append and self._is_tracked(template_id))
            )
            if here_xyxy is not None and follow:
                self._opened.lock(template_id, here_xyxy)
            return TemplateChange(len(template.features), encode_ms, follow)

        return self._worker.call(job, JOB_TIMEOUT_S)

    def clear_template(self, template_id: Optional[str]) -> Tuple[str, ...]:
        """Stop looking for one object, or for all (None). Returns the ids that are gone.

        Raises:
            RefdetError: there is no template of that id.
        """

        def job() -> Tuple[str, ...]:
            gone = self._opened.clear_template(template_id)
            self._forget_targets(gone)
            for name in gone:
                self._template_created.pop(name, None)
            self._announce()
            return gone

        return self._worker.call(job, JOB_TIMEOUT_S)

    def publish_templates(self) -> None:
        """Publish again what is being looked for; for subscribers of a node just activated."""
        self._publisher.publish_templates(
            to_template_array(
                self._opened.bank.templates, self._template_created, self._templates_changed
            )
        )

    @property
    def template_counts(self) -> Dict[str, int]:
        """References of each template."""
        if self._detector is None:
            return {}
        templates = self._detector.bank.templates
        return {name: len(template.features) for name, template in templates.items()}

    @property
    def targets(self) -> Dict[str, TargetStatus]:
        """Where the search was with each target in the newest frame; see ``FrameResult``."""
        return self._targets

    @property
    def backend(self) -> Optional[BackendInfo]:
        """What runs the network; None until it is open."""
        return self._detector.backend.info if self._detector is not None else None

    @property
    def backend_name(self) -> str:
        """Backend, device and precision in words, for the log."""
        info = self._opened.backend.info
        return f"{info.name} {info.version} on {info.device}, {info.precision}"

    @property
    def model(self) -> str:
        """Name and version of the model bundle."""
        if self._detector is None:
            return ""
        return f"{self._detector.bundle.name} {self._detector.bundle.version}"

    @property
    def score_threshold(self) -> float:
        """The threshold in force: the parameter's, else the bundle's."""
        return self._opened.score_threshold

    @property
    def _opened(self) -> Detector:
        if self._detector is None:
            raise RefdetError("The detector is not open; configure the node first.")
        return self._detector

    def _open(self) -> None:
        bundle = Path(self.settings.bundle).expanduser() if self.settings.bundle else None
        detector = Detector.open(bundle, self.settings.backend, self.settings.detector)
        try:
            _warm_up(detector)
        except Exception:
            detector.close()
            raise
        self._detector = detector

    def _close(self) -> None:
        if self._detector is not None:
            self._detector.close()

    def _announce(self) -> None:
        self._templates_changed = self._clock.now().to_msg()
        self.publish_templates()

    def _process(self, work: Tuple[CameraMessage, float]) -> None:
        message, arrived_s = work
        settings = self.settings
        # Enabled and age are asked here, not on arrival: the frame may have waited.
        if not settings.enabled:
            return
        age_s = self._age_s(message.header)
        if 0 < settings.max_frame_age_s < age_s:
            self._statistics.dropped("stale")
            return
        started = time.perf_counter()
        frame_bgr = to_bgr(message)
        converted = time.perf_counter()
        result = self._opened.detect(
            frame_bgr,
            heatmaps=self._publisher.wants_heatmap,
            time_s=self._frame_clock.time_s(_stamp_ns(message.header), arrived_s),
        )
        self._targets = result.targets
        detected = time.perf_counter()
        self._publisher.publish_frame(message.header, frame_bgr, result)
        published = time.perf_counter()
        times_ms = {
            "wait": (started - arrived_s) * 1e3,
            "convert": (converted - started) * 1e3,
            **result.timings_ms,
            "detect": (detected - converted) * 1e3,
            "publish": (published - detected) * 1e3,
        }
        if _stamp_ns(message.header) is not None:
            times_ms["latency"] = self._age_s(message.header) * 1e3
            times_ms["overhead"] = times_ms["latency"] - times_ms["detect"]
        self._statistics.published(times_ms)

    def _failed(self, error: Exception) -> None:
        if not self._keep_waiting():
            return  # the context ended while the frame was in work; nobody could hear of it
        self._statistics.dropped("undecodable" if isinstance(error, ImageError) else "failed")
        self._report(error)

    def _forget_targets(self, template_ids: Sequence[str]) -> None:
        left = {name: it for name, it in self._targets.items() if name not in template_ids}
        self._targets = left

    def _is_tracked(self, template_id: str) -> bool:
        status = self._targets.get(template_id)
        return status is not None and status.state == TRACKING

    def _age_s(self, header: Header) -> float:
        """Seconds since the stamp on the node's clock; 0 for a frame without stamp."""
        stamp_ns = _stamp_ns(header)
        if stamp_ns is None:
            return 0.0
        return float(self._clock.now().nanoseconds - stamp_ns) * 1e-9


def _stamp_ns(header: Header) -> Optional[int]:
    """The stamp in nanoseconds; None where it is zero, which means "no time" to ROS."""
    return (header.stamp.sec * 1_000_000_000 + header.stamp.nanosec) or None


def _warm_up(detector: Detector) -> None:
    """Run the network once on each kind of crop: the first time takes longer."""
    # Through a detector of its own, so that the first target of the real one gets the id 1.
    trial = Detector(detector.bundle, detector.backend, detector.config)
    height, width = detector.config.tile_height, detector.config.tile_width
    frame = np.full((height, width, 3), 114, np.uint8)
    trial.set_template([Reference(frame[:64, :64])])
    trial.detect(frame)
    if detector.config.search in FOLLOWING:
        trial.lock(DEFAULT_TEMPLATE_ID, (0, 0, 64, 64))
        trial.detect(frame)
