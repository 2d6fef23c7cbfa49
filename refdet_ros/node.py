"""The lifecycle node ``detector``.

The executor's thread only stores frames and answers services; everything heavy happens in
the worker's thread of :class:`~refdet_ros.pipeline.Pipeline`. A callback group or a
multi-threaded executor is therefore not needed.
"""

from __future__ import annotations

import time
import traceback
from concurrent.futures import Future, wait
from dataclasses import dataclass
from typing import Any, Callable, Dict, List, Optional

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray
from rcl_interfaces.msg import SetParametersResult
from rclpy.clock import Clock, ClockType
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.parameter import Parameter

from refdet_core.errors import DeviceLostError, EngineRefusedError, RefdetError
from refdet_ros.autostart import Autostart
from refdet_ros.camera import Camera, CameraMessage, to_bgr
from refdet_ros.counters import Statistics
from refdet_ros.diagnostics import NodeState, to_diagnostics
from refdet_ros.parameters import changed, check_changeable, declare, own_values, unknown_names
from refdet_ros.pipeline import Pipeline
from refdet_ros.publishing import ResultPublisher
from refdet_ros.python_log import PythonLog
from refdet_ros.services import DetectorServices

DIAGNOSTICS_PERIOD_S = 1.0
ERROR_LOG_PERIOD_S = 5.0
LOST_DEVICE = 75
"""Exit code where only a new process can use the GPU again; the launch file starts one."""


@dataclass(frozen=True)
class _Opening:
    """A pipeline whose model is being opened since ``since_s`` on the monotonic clock."""

    pipeline: Pipeline
    done: Future[None]
    since_s: float


class DetectorNode(LifecycleNode):
    """Finds the objects in the reference photos in a camera topic.

    Attributes:
        exit_code: of the process, should it end now.

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
        self._fault = ""
        self._failure: Optional[Exception] = None  # what the fault tells of
        self._last_error = ""
        self._statistics = Statistics()
        self._publisher: Optional[ResultPublisher] = None
        self._pipeline: Optional[Pipeline] = None
        self._opening: Optional[_Opening] = None
        self._camera: Optional[Camera] = None
        self.exit_code = 1 if self._settings.build_only else 0  # until everything is there
        self._survive_invalid_transitions()

        self._services_of_detector = DetectorServices(self)
        self._diagnostics = self.create_publisher(DiagnosticArray, "/diagnostics", 10)
        # Not on the node's clock: a simulation that stands still must not silence diagnostics.
        self._steady = Clock(clock_type=ClockType.STEADY_TIME)
        self.create_timer(DIAGNOSTICS_PERIOD_S, self._every_second, clock=self._steady)
        if self._settings.autostart or self._settings.build_only:
            self._autostart = Autostart(self, self._steady, self._settings.build_only)

    # Lifecycle. rclpy swallows what these raise, so each reports its own exceptions.

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Take the model that was opened; open it now, and wait, if that was not begun."""

        def action() -> None:
            while not self.model_is_opened(wait_s=DIAGNOSTICS_PERIOD_S):
                if not self.context.ok():
                    raise RefdetError("The node is shutting down.")
                # The executor's thread waits here, so its timer does not do it.
                self._publish_diagnostics()
            opening = self._opening
            assert opening is not None
            opening.done.result()
            # Meanwhile they may have changed.
            opening.pipeline.configure(self._settings)
            self._pipeline, self._opening = opening.pipeline, None
            self.get_logger().info(
                f"model {self._pipeline.model}, backend {self._pipeline.backend_name}"
            )

        if self._attempt("configure", action):
            self._state = "inactive"
            return TransitionCallbackReturn.SUCCESS
        self._release()
        return TransitionCallbackReturn.FAILURE

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Open the topics and listen to the camera."""

        def action() -> None:
            super(DetectorNode, self).on_activate(state)
            self.pipeline.publish_templates()
            self._camera = Camera(
                self, self._settings.image_transport, self._settings.image_qos, self._on_image
            )
            self.get_logger().info(f"looking at {self._camera.topic}")

        if self._attempt("activate", action):
            self._state = "active"
            return TransitionCallbackReturn.SUCCESS
        self._stop_camera()
        super().on_deactivate(state)
        return TransitionCallbackReturn.FAILURE

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Stop listening; the model and the templates stay."""

        def action() -> None:
            self._stop_camera()
            self.pipeline.finish_frames()
            super(DetectorNode, self).on_deactivate(state)

        if self._attempt("deactivate", action):
            self._state = "inactive"
            return TransitionCallbackReturn.SUCCESS
        return TransitionCallbackReturn.ERROR

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Release the model; templates are gone."""
        self._release()
        self._state = "unconfigured"
        return TransitionCallbackReturn.SUCCESS

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Release everything."""
        self._release()
        self._state = "finalized"
        return TransitionCallbackReturn.SUCCESS

    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Start over: release everything and be unconfigured."""
        self._release()
        self._state = "unconfigured"
        return TransitionCallbackReturn.SUCCESS

    def close(self) -> bool:
        """Stop the worker; for the end of the process. False if its thread would not end."""
        ended = self._release()
        self._python_log.close()
        return ended

    def model_is_opened(self, wait_s: float = 0.0) -> bool:
        """Begin to open the model if nobody has; True once that is done, well or not."""
        if self._opening is None:
            self._python_log.newest = ""
            self._publisher = ResultPublisher(self)
            pipeline = Pipeline(
                self._settings,
                self._publisher,
                self._statistics,
                self.get_clock(),
                self._on_frame_error,
                self.context.ok,
            )
            self._opening = _Opening(pipeline, pipeline.open(), time.monotonic())
        return bool(wait([self._opening.done], timeout=wait_s).done)

    def start_over(self) -> None:
        """Clean up after activating failed, and remember why it did."""
        fault = self._fault
        self.trigger_cleanup()
        self._fault = fault

    def end(self, exit_code: int) -> None:
        """End the process."""
        self.exit_code = exit_code
        self.context.try_shutdown()

    def _attempt(self, what: str, action: Callable[[], None]) -> bool:
        try:
            action()
        except Exception as error:
            fault = f"cannot {what}: {error}"
            self._failure = error
            if not self.worth_another_try:
                fault += (
                    " That is not tried again by itself: change a setting, for example precision, "
                    f"then 'ros2 lifecycle set {self.get_fully_qualified_name()} configure'."
                )
            # Autostart would repeat it with each retry; a shutdown interrupts on purpose.
            if fault != self._fault and self.context.ok():
                self.get_logger().error(
                    fault if isinstance(error, RefdetError) else traceback.format_exc()
                )
            self._fault = fault
            return False
        self._fault, self._failure = "", None
        return True

    def _release(self) -> bool:
        """Give everything back that configuring and activating took; never raises.

        Returns:
            False if the worker's thread is still busy; it is abandoned.
        """
        ended = True
        try:
            self._stop_camera()
            opening, pipeline = self._opening, self._pipeline
            if opening is not None and not opening.pipeline.close():
                ended = False
                self.get_logger().warning("The model is still being opened; that is abandoned.")
            if pipeline is not None and not pipeline.close():
                ended = False
                self.get_logger().error(
                    "The backend did not finish its frame; its thread is abandoned."
                )
            if self._publisher is not None:
                self._publisher.destroy()
        except Exception:
            self.get_logger().error(traceback.format_exc())
        self._opening = None
        self._pipeline = None
        self._publisher = None
        return ended

    def _stop_camera(self) -> None:
        camera, self._camera = self._camera, None
        if camera is not None:
            camera.destroy()

    def _survive_invalid_transitions(self) -> None:
        """Answer a transition that is not possible now with success=false.

        rclpy (3.3 to 7.1) lets the exception through, which ends the executor.
        """
        service = getattr(self, "_service_change_state", None)
        if service is None:
            return
        answer = service.callback

        def callback(request: Any, response: Any) -> Any:
            try:
                return answer(request, response)
            except Exception as error:
                self.get_logger().warning(f"Refused: {error}")
                response.success = False
                return response

        service.callback = callback

    # Frames.

    def _on_image(self, message: CameraMessage) -> None:
        self._statistics.arrived()
        if self._pipeline is not None and self._settings.enabled:
            self._pipeline.offer(message)

    def _on_frame_error(self, error: Exception) -> None:
        """Worker's thread: a frame gave no result, or the device was lost."""
        self._last_error = str(error) or type(error).__name__
        text = self._last_error
        if isinstance(error, DeviceLostError):
            self.get_logger().error(f"The device was lost, it is opened again: {text}")
            return
        if not isinstance(error, RefdetError):
            text = "".join(traceback.format_exception(type(error), error, error.__traceback__))
        self.get_logger().error(f"A frame failed: {text}", throttle_duration_sec=ERROR_LOG_PERIOD_S)

    def newest_frame(self) -> Optional[np.ndarray]:
        """The newest camera frame as BGR, None while none has arrived.

        Raises:
            ImageError: it cannot be decoded.
        """
        message = self._camera.newest if self._camera is not None else None
        return None if message is None else to_bgr(message)

    # Parameters and what the services ask.

    def _on_set_parameters(self, parameters: List[Parameter]) -> SetParametersResult:
        try:
            new = changed(self._settings, own_values(parameters))
            if self._opening is not None:
                check_changeable(
                    self._settings, new, "wait until the model that it opens now is there."
                )
            if self._pipeline is not None:
                name = self.get_fully_qualified_name()
                check_changeable(
                    self._settings,
                    new,
                    f"'ros2 lifecycle set {name} deactivate', 'ros2 lifecycle set {name} cleanup', "
                    "change it, then configure and activate.",
                )
                self._pipeline.configure(new)
        except Exception as error:
            return SetParametersResult(successful=False, reason=self.refusal("parameters", error))
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
        """Whether what failed may go well another time with the same settings."""
        return not isinstance(self._failure, EngineRefusedError)

    @property
    def pipeline(self) -> Pipeline:
        """The running detector.

        Raises:
            RefdetError: the node is not configured; the sentence says how to.
        """
        if self._pipeline is None and self._opening is not None:
            raise RefdetError(f"The detector is not ready: {self._progress}. Try again later.")
        if self._pipeline is None:
            raise RefdetError(
                "The detector is {}; configure it first: ros2 lifecycle set {} configure.{}".format(
                    self._state,
                    self.get_fully_qualified_name(),
                    f" It says: {self._fault}" if self._fault else "",
                )
            )
        return self._pipeline

    def refusal(self, what: str, error: Exception) -> str:
        """The sentence for the client; what is not the client's fault is logged in full."""
        if isinstance(error, RefdetError):
            self.get_logger().warning(f"{what} refused: {error}")
            return str(error)
        self.get_logger().error(
            "".join(traceback.format_exception(type(error), error, error.__traceback__))
        )
        self._last_error = f"{what} failed: {error!r}"
        return f"Internal error, see the node's log: {error!r}"

    @property
    def template_counts(self) -> Dict[str, int]:
        """References of each template; empty while not configured."""
        return self._pipeline.template_counts if self._pipeline is not None else {}

    @property
    def _progress(self) -> str:
        """How far opening the model is, in words; empty when it is not being opened."""
        if self._opening is None:
            return ""
        newest = self._python_log.newest
        return "opening the model for {:.0f} s{}".format(
            time.monotonic() - self._opening.since_s, f": {newest}" if newest else ""
        )

    @property
    def _doom(self) -> str:
        """Why only a new process can go on, as a sentence; empty while this one can."""
        if self._pipeline is not None and self._pipeline.device_is_gone:
            return self._pipeline.device_problem
        return self._fault if isinstance(self._failure, DeviceLostError) else ""

    def _every_second(self) -> None:
        if self._pipeline is not None:
            self._pipeline.tend()
        self._publish_diagnostics()
        if self._doom:
            self.get_logger().fatal(
                f"The node ends with exit code {LOST_DEVICE}: {self._doom} When it starts again, "
                "the templates of template_path come back; those set by service are lost."
            )
            self.end(LOST_DEVICE)

    def _publish_diagnostics(self) -> None:
        pipeline, camera = self._pipeline, self._camera
        input_problem = camera.problem() if camera is not None else ""
        # Of a camera that fell silent nobody knows whether its targets are still there.
        searching = self.active and self._settings.enabled and not input_problem
        state = NodeState(
            lifecycle=self._state,
            fault=self._fault,
            opening=self._progress,
            device_problem=pipeline.device_problem if pipeline is not None else "",
            enabled=self._settings.enabled,
            input_topic=camera.topic if camera is not None else self.resolve_topic_name("image"),
            input_problem=input_problem,
            search=self._settings.search,
            score_threshold=pipeline.score_threshold if pipeline is not None else None,
            model=pipeline.model if pipeline is not None else "",
            backend=pipeline.backend if pipeline is not None else None,
            templates=self.template_counts,
            targets=pipeline.targets if pipeline is not None and searching else {},
            last_error=self._last_error,
        )
        name, stamp = self.get_fully_qualified_name(), self.get_clock().now().to_msg()
        self._diagnostics.publish(to_diagnostics(name, state, self._statistics.snapshot(), stamp))
