"""The node's detector, and the only thread that uses it."""

from __future__ import annotations

import time
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Callable, Dict, Optional, Sequence, Tuple, TypeVar

from rclpy.clock import Clock

from refdet_core.backends.base import BackendInfo
from refdet_core.contrast import Contrast
from refdet_core.detector import Detector
from refdet_core.errors import DeviceLostError, RefdetError
from refdet_core.search_plans import TRACKING_SEARCHES
from refdet_core.types import Reference, TargetStatus
from refdet_ros.camera import CameraMessage
from refdet_ros.conversions import ImageError
from refdet_ros.counters import Statistics
from refdet_ros.device_recovery import DeviceRecovery
from refdet_ros.frame_processor import FrameProcessor
from refdet_ros.open_detector import open_detector, warm_up
from refdet_ros.parameters import Settings
from refdet_ros.publishing import ResultPublisher
from refdet_ros.references import Place, from_files
from refdet_ros.template_topic import TemplateTopic
from refdet_ros.worker import Worker

JOB_TIMEOUT_S = 10.0
OPENING_STOP_S = 1.0
"""An engine build of TensorRT cannot be interrupted."""

Result = TypeVar("Result")


@dataclass(frozen=True)
class TemplateChange:
    """The result of a template change.

    Attributes:
        encode_ms: time spent encoding the references.
        followed: whether the object is tracked from the requested place.
    """

    reference_count: int
    encode_ms: float
    followed: bool


class Pipeline:
    """Owns the detector and the only thread that uses it.

    Args:
        clock: the node's clock; it measures ages and latencies.
        on_error: called with the exception of every failed frame, and once for a lost device; in
            the worker's thread.
        keep_waiting: False once the process shuts down.

    Attributes:
        contrast: makes frames and photos of more than 8 bits uint8.
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
        self._statistics = statistics
        self._report = on_error
        self._keep_waiting = keep_waiting
        self._detector: Optional[Detector] = None
        self._backend: Optional[BackendInfo] = None
        self.contrast = Contrast(settings.contrast)
        self._frames = FrameProcessor(publisher, statistics, clock)
        self._templates = TemplateTopic(publisher, clock)
        self._worker: Worker[Tuple[CameraMessage, float]] = Worker(
            self._process, self._failed, self._close, keep_waiting
        )
        self._recovery = DeviceRecovery(self._reopen, self._worker.submit, on_error)

    def open(self) -> Future[None]:
        """Start loading the model and the photos of ``template_path``, without waiting.

        Returns:
            A future that ends when the detector is ready, or raises a RefdetError.
        """
        return self._worker.submit(self._open)

    def close(self) -> bool:
        """End the thread and release the backend; False if the thread does not end."""
        return self._worker.stop(OPENING_STOP_S if self._detector is None else JOB_TIMEOUT_S)

    def tend(self) -> None:
        """Retry opening a lost device if that is due. Call it about every second."""
        self._recovery.tend()

    @property
    def device_problem(self) -> str:
        """The device's problem as a sentence; empty while it works."""
        return self._recovery.problem

    @property
    def device_is_gone(self) -> bool:
        """Whether the device is lost until the process ends."""
        return self._recovery.hopeless

    def offer(self, message: CameraMessage) -> None:
        """Pass the newest frame to the worker; it replaces a waiting one."""
        if self._worker.offer((message, time.perf_counter())):
            self._statistics.dropped("replaced")

    def finish_frames(self) -> None:
        """Drop the waiting frame and wait for the current one."""
        self._worker.forget_frame()
        self._worker.call(lambda: None, JOB_TIMEOUT_S)

    def configure(self, settings: Settings) -> None:
        """Use other settings from the next frame on.

        Raises:
            RefdetError: they are not valid; the old ones stay.
        """
        if settings.detector != self.settings.detector:
            config = settings.detector
            self._call(lambda: self._working.configure(config))
        if settings.contrast != self.settings.contrast:
            self.contrast = Contrast(settings.contrast)
        self.settings = settings

    def set_template(
        self,
        references: Sequence[Reference],
        template_id: str,
        append: bool,
        place: Optional[Place] = None,
    ) -> TemplateChange:
        """Search for the object in these photos from the next frame on.

        Args:
            place: where the object is in the newest frame: searches that track start there; or was
                in an earlier one: they look there first. Not if a reference is appended to a
                tracked template.

        Raises:
            RefdetError: they cannot be used; the old templates stay.
        """
        return self._call(lambda: self._set_template(references, template_id, append, place))

    def clear_template(self, template_id: Optional[str]) -> Tuple[str, ...]:
        """Remove one template, or all (None). Returns the removed ids.

        Raises:
            RefdetError: there is no template of that id.
        """

        def job() -> Tuple[str, ...]:
            gone = self._working.clear_template(template_id)
            self._frames.forget_targets(gone)
            self._templates.removed(gone, self._opened.bank.templates)
            return gone

        return self._call(job)

    def publish_templates(self) -> None:
        """Publish the templates again, for subscribers of a newly activated node."""
        self._templates.publish(self._opened.bank.templates)

    @property
    def template_counts(self) -> Dict[str, int]:
        """References of each template."""
        if self._detector is None:
            return {}
        templates = self._detector.bank.templates
        return {name: len(template.features) for name, template in templates.items()}

    @property
    def targets(self) -> Dict[str, TargetStatus]:
        """The state of each target in the newest frame; see ``FrameResult``."""
        return self._frames.targets

    @property
    def backend(self) -> Optional[BackendInfo]:
        """The backend that runs the network; None until it is open."""
        return self._backend  # stored, because a lost device cannot be queried

    @property
    def backend_name(self) -> str:
        """Backend, device and precision in words, for the log."""
        info = self._backend
        return f"{info.name} {info.version} on {info.device}, {info.precision}" if info else ""

    @property
    def model(self) -> str:
        """Names and versions of the model bundles."""
        return self._detector.model if self._detector is not None else ""

    @property
    def score_threshold(self) -> float:
        """The current threshold: the parameter, else the bundle's."""
        return self._opened.score_threshold

    @property
    def _opened(self) -> Detector:
        if self._detector is None:
            raise RefdetError("The detector is not open; configure the node first.")
        return self._detector

    @property
    def _working(self) -> Detector:
        """The detector, if its device works."""
        self._check_device()
        return self._opened

    def _check_device(self) -> None:
        if self._recovery.problem:
            raise RefdetError(f"Not possible now: {self._recovery.problem} Try again later.")

    def _call(self, job: Callable[[], Result]) -> Result:
        """Run a job in the worker's thread and wait for it; notices a lost device."""

        def watched() -> Result:
            try:
                return job()
            except DeviceLostError as error:
                self._recovery.lost(error)
                raise

        self._check_device()  # here too, because the worker may be busy with the device for long
        return self._worker.call(watched, JOB_TIMEOUT_S)

    def _open(self) -> None:
        settings = self.settings
        # First, so that a wrong path is reported at once and not after minutes.
        references = from_files(
            settings.template_path,
            settings.template_roi,
            settings.template_same_camera,
            self.contrast.still,
        )
        self._detector = open_detector(settings)
        self._backend = self._detector.backend.info
        if references:
            self._set_template(references, settings.template_id, False, None)

    def _reopen(self) -> None:
        detector = self._opened
        detector.reopen()
        warm_up(detector)
        self._backend = detector.backend.info

    def _set_template(
        self,
        references: Sequence[Reference],
        template_id: str,
        append: bool,
        place: Optional[Place],
    ) -> TemplateChange:
        started = time.perf_counter()
        template = self._working.set_template(references, template_id, append)
        if not append:
            self._frames.forget_targets((template_id,))
        encode_ms = (time.perf_counter() - started) * 1e3
        self._templates.added(template_id, self._opened.bank.templates)
        if self.settings.search not in TRACKING_SEARCHES or (
            append and self._frames.is_tracked(template_id)
        ):
            place = None
        if place is not None and place.age_s:
            self._working.expect(template_id, place.box_xyxy, place.age_s)
        elif place is not None:
            self._working.lock(template_id, place.box_xyxy)
        followed = place is not None and not place.age_s
        return TemplateChange(len(template.features), encode_ms, followed)

    def _close(self) -> None:
        if self._detector is not None:
            self._detector.close()

    def _process(self, work: Tuple[CameraMessage, float]) -> None:
        message, arrived_s = work
        settings = self.settings
        # Checked here and not on arrival: the frame may have waited.
        if not settings.enabled:
            return
        if self._recovery.problem:
            self._statistics.dropped("device lost")
            return
        self._frames.process(
            self._opened, message, arrived_s, settings.max_frame_age_s, self.contrast
        )

    def _failed(self, error: Exception) -> None:
        if not self._keep_waiting():
            return  # the context ended during the frame; nobody is listening
        if isinstance(error, DeviceLostError):
            self._statistics.dropped("device lost")
            self._recovery.lost(error)
            return
        self._statistics.dropped("undecodable" if isinstance(error, ImageError) else "failed")
        self._report(error)
