"""The lifecycle node ``detector``.

The executor's thread only stores frames and answers services; everything heavy happens in
the worker's thread of :class:`~refdet_ros.pipeline.Pipeline`. A callback group or a
multi-threaded executor is therefore not needed.
"""

from __future__ import annotations

from typing import Any, Dict, List, Optional

from diagnostic_msgs.msg import DiagnosticArray
from rcl_interfaces.msg import SetParametersResult
from rclpy.clock import Clock, ClockType
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.parameter import Parameter

from refdet_core.errors import RefdetError
from refdet_ros.autostart import Autostart
from refdet_ros.camera import CameraMessage
from refdet_ros.detector_resources import DetectorResources
from refdet_ros.diagnostics import to_diagnostics
from refdet_ros.error_reports import ErrorReports
from refdet_ros.lifecycle_service import answer_invalid_transitions
from refdet_ros.parameters import changed, check_changeable, declare, own_values, unknown_names
from refdet_ros.pipeline import Pipeline
from refdet_ros.python_log import PythonLog
from refdet_ros.services import DetectorServices

DIAGNOSTICS_PERIOD_S = 1.0
LOST_DEVICE = 75
"""Exit code if only a new process can use the GPU again; the launch file starts one."""


class DetectorNode(LifecycleNode):
    """Finds the objects in the reference photos in a camera topic.

    Attributes:
        exit_code: the process's exit code if it ends now.

    Raises:
        ConfigError: a parameter it was started with cannot be used.
    """

    def __init__(self, **node_arguments: Any) -> None:
        super().__init__("detector", **node_arguments)
        self._settings = declare(self)
        for warning in unknown_names(self._parameter_overrides):
            self.get_logger().warning(warning)
        self.add_on_set_parameters_callback(self._on_set_parameters)
        self._python_log = PythonLog(self.get_logger())
        self._state = "unconfigured"
        self._errors = ErrorReports(self)
        self._resources = DetectorResources(self, self._errors, self._python_log)
        self.exit_code = 1 if self._settings.build_only else 0  # until it is ready
        answer_invalid_transitions(self)

        self._services_of_detector = DetectorServices(self, self)
        self._diagnostics = self.create_publisher(DiagnosticArray, "/diagnostics", 10)
        # Not the node's clock: a paused simulation must not silence the diagnostics.
        self._steady = Clock(clock_type=ClockType.STEADY_TIME)
        self.create_timer(DIAGNOSTICS_PERIOD_S, self._every_second, clock=self._steady)
        if self._settings.autostart or self._settings.build_only:
            self._autostart = Autostart(self, self._steady, self._settings.build_only)

    # Lifecycle. rclpy swallows exceptions here, so each transition reports its own.

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Use the opened model; if opening has not started, open it and wait."""

        def action() -> None:
            while not self.model_is_opened(wait_s=DIAGNOSTICS_PERIOD_S):
                if not self.context.ok():
                    raise RefdetError("The node is shutting down.")
                # The timer cannot run while the executor's thread waits here.
                self._publish_diagnostics()
            pipeline = self._resources.take_model(self._settings)
            self.get_logger().info(f"model {pipeline.model}, backend {pipeline.backend_name}")

        if self._errors.attempt("configure", action):
            self._state = "inactive"
            return TransitionCallbackReturn.SUCCESS
        self._resources.release()
        return TransitionCallbackReturn.FAILURE

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Activate the topics and subscribe to the camera."""

        def action() -> None:
            super(DetectorNode, self).on_activate(state)
            self.pipeline.publish_templates()
            camera = self._resources.start_camera(self._settings, self._on_image)
            self.get_logger().info(f"looking at {camera.topic}")

        if self._errors.attempt("activate", action):
            self._state = "active"
            return TransitionCallbackReturn.SUCCESS
        self._resources.stop_camera()
        super().on_deactivate(state)
        return TransitionCallbackReturn.FAILURE

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Unsubscribe from the camera; the model and the templates stay."""

        def action() -> None:
            self._resources.stop_camera()
            self.pipeline.finish_frames()
            super(DetectorNode, self).on_deactivate(state)

        if self._errors.attempt("deactivate", action):
            self._state = "inactive"
            return TransitionCallbackReturn.SUCCESS
        return TransitionCallbackReturn.ERROR

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Release the model and the templates."""
        self._resources.release()
        self._state = "unconfigured"
        return TransitionCallbackReturn.SUCCESS

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Release everything."""
        self._resources.release()
        self._state = "finalized"
        return TransitionCallbackReturn.SUCCESS

    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Release everything and become unconfigured."""
        self._resources.release()
        self._state = "unconfigured"
        return TransitionCallbackReturn.SUCCESS

    def close(self) -> bool:
        """Stop the worker at the end of the process; False if its thread does not end."""
        ended = self._resources.release()
        self._python_log.close()
        return ended

    def model_is_opened(self, wait_s: float = 0.0) -> bool:
        """Start opening the model if necessary; True once that has ended, successfully or not."""
        return self._resources.open_model(self._settings).finished(wait_s)

    def end(self, exit_code: int) -> None:
        """End the process."""
        self.exit_code = exit_code
        self.context.try_shutdown()

    def _on_image(self, message: CameraMessage) -> None:
        self._resources.statistics.arrived()
        pipeline = self._resources.pipeline
        if pipeline is not None and self._settings.enabled:
            pipeline.offer(message)

    # Parameters, and access for the services.

    def _on_set_parameters(self, parameters: List[Parameter]) -> SetParametersResult:
        try:
            new = changed(self._settings, own_values(parameters))
            if self._resources.opening is not None:
                check_changeable(
                    self._settings, new, "wait until the model that it opens now is there."
                )
            if self._resources.pipeline is not None:
                name = self.get_fully_qualified_name()
                check_changeable(
                    self._settings,
                    new,
                    f"'ros2 lifecycle set {name} deactivate', 'ros2 lifecycle set {name} cleanup', "
                    "change it, then configure and activate.",
                )
                self._resources.pipeline.configure(new)
        except Exception as error:
            return SetParametersResult(
                successful=False, reason=self._errors.refusal("parameters", error)
            )
        self._settings = new
        return SetParametersResult(successful=True)

    @property
    def lifecycle(self) -> str:
        """``unconfigured``, ``inactive``, ``active`` or ``finalized``."""
        return self._state

    @property
    def active(self) -> bool:
        """Whether camera frames are being searched."""
        return self._state == "active"

    @property
    def worth_another_try(self) -> bool:
        """Whether the failed transition may succeed later with the same settings."""
        return self._errors.worth_another_try

    @property
    def pipeline(self) -> Pipeline:
        """The running detector.

        Raises:
            RefdetError: the node is not configured; the message says what to do.
        """
        opening, pipeline = self._resources.opening, self._resources.pipeline
        if pipeline is not None:
            return pipeline
        if opening is not None:
            raise RefdetError(f"The detector is not ready: {opening.progress}. Try again later.")
        raise RefdetError(
            "The detector is {}; configure it first: ros2 lifecycle set {} configure.{}".format(
                self._state,
                self.get_fully_qualified_name(),
                f" It says: {self._errors.fault}" if self._errors.fault else "",
            )
        )

    @property
    def newest_frame(self) -> Optional[CameraMessage]:
        """The newest camera frame; None while none has arrived."""
        return self._resources.newest_frame

    def refusal(self, what: str, error: Exception) -> str:
        """The message for the client; an internal error is logged with its trace."""
        return self._errors.refusal(what, error)

    @property
    def template_counts(self) -> Dict[str, int]:
        """References of each template; empty while not configured."""
        return self._resources.template_counts

    @property
    def _needs_new_process(self) -> str:
        """Why only a new process can continue, as a sentence; empty while this one can."""
        pipeline = self._resources.pipeline
        if pipeline is not None and pipeline.device_is_gone:
            return pipeline.device_problem
        return self._errors.fatal_fault

    def _every_second(self) -> None:
        if self._resources.pipeline is not None:
            self._resources.pipeline.tend()
        self._publish_diagnostics()
        reason = self._needs_new_process
        if reason:
            self.get_logger().fatal(
                f"The node ends with exit code {LOST_DEVICE}: {reason} When it starts again, "
                "the templates of template_path come back; those set by service are lost."
            )
            self.end(LOST_DEVICE)

    def _publish_diagnostics(self) -> None:
        state = self._resources.state(self._state, self._settings)
        name, stamp = self.get_fully_qualified_name(), self.get_clock().now().to_msg()
        counts = self._resources.statistics.snapshot()
        self._diagnostics.publish(to_diagnostics(name, state, counts, stamp))
