"""The services of the detector. A refusal is one sentence.

They wait in the executor's thread for the worker, which takes a job before the next frame.
Meanwhile only the newest camera frame waits, so no backlog builds up.
"""

from __future__ import annotations

from typing import Any, Dict, Optional, Protocol

from rclpy.node import Node
from rclpy.parameter import Parameter
from refdet_msgs.srv import ClearTemplate, SetTemplate
from std_srvs.srv import SetBool

from refdet_core.detector import DEFAULT_TEMPLATE_ID
from refdet_ros.camera import CameraMessage
from refdet_ros.pipeline import Pipeline
from refdet_ros.references import from_request


class DetectorAccess(Protocol):
    """What the services use of the detector, in any lifecycle state."""

    @property
    def pipeline(self) -> Pipeline:
        """The open detector; raises a RefdetError while there is none."""

    @property
    def active(self) -> bool:
        """Whether camera frames are being searched."""

    @property
    def template_counts(self) -> Dict[str, int]:
        """References of each template."""

    @property
    def newest_frame(self) -> Optional[CameraMessage]:
        """The newest camera frame; None while none has arrived."""

    def refusal(self, what: str, error: Exception) -> str:
        """The message for the client of a failed request."""


class DetectorServices:
    """``set_template``, ``clear_template`` and ``enable``; they answer in every lifecycle state.

    Args:
        node: offers the services.
        detector: what they change.
    """

    def __init__(self, node: Node, detector: DetectorAccess) -> None:
        self._node = node
        self._detector = detector
        node.create_service(SetTemplate, "set_template", self._on_set_template)
        node.create_service(ClearTemplate, "clear_template", self._on_clear_template)
        node.create_service(SetBool, "enable", self._on_enable)

    def _on_set_template(self, request: SetTemplate.Request, response: SetTemplate.Response) -> Any:
        response.template_id = request.template_id or DEFAULT_TEMPLATE_ID
        try:
            pipeline = self._detector.pipeline
            given = from_request(
                request.references, self._detector.newest_frame, pipeline.contrast.still
            )
            change = pipeline.set_template(
                given.references, response.template_id, request.append, given.place
            )
        except Exception as error:
            response.message = self._detector.refusal("set_template", error)
            response.reference_count = self._detector.template_counts.get(response.template_id, 0)
            return response
        response.success = True
        response.reference_count = change.reference_count
        response.encode_ms = change.encode_ms
        response.message = "{} '{}' with {} reference(s){}.".format(
            "Following" if change.followed else "Looking for",
            response.template_id,
            change.reference_count,
            "" if self._detector.active else " as soon as the node is active",
        )
        self._node.get_logger().info(response.message)
        return response

    def _on_clear_template(
        self, request: ClearTemplate.Request, response: ClearTemplate.Response
    ) -> Any:
        try:
            gone = sorted(self._detector.pipeline.clear_template(request.template_id or None))
        except Exception as error:
            response.message = self._detector.refusal("clear_template", error)
            return response
        response.success = True
        response.cleared_ids = gone
        response.message = "Forgot {}.".format(", ".join(gone) or "nothing, there was no template")
        self._node.get_logger().info(response.message)
        return response

    def _on_enable(self, request: SetBool.Request, response: SetBool.Response) -> Any:
        # Through the parameter, so that there is only one state, and it can be read.
        result = self._node.set_parameters([Parameter("enabled", value=bool(request.data))])[0]
        response.success = result.successful
        response.message = result.reason or (
            "Searching." if request.data else "Paused; templates are kept."
        )
        return response
