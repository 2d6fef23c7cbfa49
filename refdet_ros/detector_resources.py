"""What the lifecycle transitions of the node create and release: model, topics, camera."""

from __future__ import annotations

import traceback
from typing import Callable, Dict, Optional

from rclpy.lifecycle import LifecycleNode

from refdet_ros.camera import Camera, CameraMessage
from refdet_ros.counters import Statistics
from refdet_ros.diagnostics import NodeState
from refdet_ros.error_reports import ErrorReports
from refdet_ros.model_opening import ModelOpening
from refdet_ros.parameters import Settings
from refdet_ros.pipeline import Pipeline
from refdet_ros.publishing import ResultPublisher
from refdet_ros.python_log import PythonLog


class DetectorResources:
    """The resources of a node; None while they do not exist.

    Attributes:
        opening: the model during its opening.
        pipeline: the open detector.
        camera: the subscription while the node is active.
    """

    def __init__(self, node: LifecycleNode, errors: ErrorReports, log: PythonLog) -> None:
        self._node = node
        self._errors = errors
        self._log = log
        self._publisher: Optional[ResultPublisher] = None
        self.statistics = Statistics()
        self.opening: Optional[ModelOpening] = None
        self.pipeline: Optional[Pipeline] = None
        self.camera: Optional[Camera] = None

    def open_model(self, settings: Settings) -> ModelOpening:
        """Start opening the model, unless that has started."""
        if self.opening is None:
            self._publisher = ResultPublisher(self._node)
            pipeline = Pipeline(
                settings,
                self._publisher,
                self.statistics,
                self._node.get_clock(),
                self._errors.frame_failed,
                self._node.context.ok,
            )
            self.opening = ModelOpening(pipeline, self._log)
        return self.opening

    def take_model(self, settings: Settings) -> Pipeline:
        """Use the opened model with these settings, which may have changed meanwhile.

        Raises:
            RefdetError: the model or a setting cannot be used.
        """
        assert self.opening is not None, "open_model comes first"
        pipeline = self.opening.opened()
        pipeline.configure(settings)
        self.pipeline, self.opening = pipeline, None
        return pipeline

    def start_camera(
        self, settings: Settings, on_message: Callable[[CameraMessage], None]
    ) -> Camera:
        """Subscribe to the camera."""
        self.camera = Camera(self._node, settings.image_transport, settings.image_qos, on_message)
        return self.camera

    def stop_camera(self) -> None:
        """Unsubscribe from the camera."""
        camera, self.camera = self.camera, None
        if camera is not None:
            camera.destroy()

    @property
    def newest_frame(self) -> Optional[CameraMessage]:
        """The newest camera frame; None while none has arrived."""
        return self.camera.newest if self.camera is not None else None

    @property
    def template_counts(self) -> Dict[str, int]:
        """References of each template; empty while there is no open detector."""
        return self.pipeline.template_counts if self.pipeline is not None else {}

    def state(self, lifecycle: str, settings: Settings) -> NodeState:
        """All of this for the diagnostics."""
        pipeline, camera = self.pipeline, self.camera
        input_problem = camera.problem() if camera is not None else ""
        # The targets' positions are unknown while the camera is silent.
        searching = lifecycle == "active" and settings.enabled and not input_problem
        image = camera.topic if camera is not None else self._node.resolve_topic_name("image")
        return NodeState(
            lifecycle=lifecycle,
            fault=self._errors.fault,
            opening=self.opening.progress if self.opening is not None else "",
            device_problem=pipeline.device_problem if pipeline is not None else "",
            enabled=settings.enabled,
            input_topic=image,
            input_problem=input_problem,
            search=settings.search,
            score_threshold=pipeline.score_threshold if pipeline is not None else None,
            model=pipeline.model if pipeline is not None else "",
            backend=pipeline.backend if pipeline is not None else None,
            templates=self.template_counts,
            targets=pipeline.targets if pipeline is not None and searching else {},
            last_error=self._errors.last_error,
            contrast=str(pipeline.contrast) if pipeline is not None else settings.contrast,
        )

    def release(self) -> bool:
        """Release everything; never raises.

        Returns:
            False if the worker's thread is still busy; it is abandoned.
        """
        log = self._node.get_logger()
        ended = True
        try:
            self.stop_camera()
            if self.opening is not None and not self.opening.pipeline.close():
                ended = False
                log.warning("The model is still being opened; that is abandoned.")
            if self.pipeline is not None and not self.pipeline.close():
                ended = False
                log.error("The backend did not finish its frame; its thread is abandoned.")
            if self._publisher is not None:
                self._publisher.destroy()
        except Exception:
            log.error(traceback.format_exc())
        self.opening = self.pipeline = self._publisher = None
        return ended
