"""The services of the detector; each answers a refusal with one sentence.

They wait in the executor's thread for the worker, which takes a job before the next frame.
Meanwhile only the newest camera frame waits, so nothing is late afterwards.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rclpy.parameter import Parameter
from refdet_msgs.srv import ClearTemplate, SetTemplate
from std_srvs.srv import SetBool

from refdet_core.detector import DEFAULT_TEMPLATE_ID
from refdet_ros.references import from_request

if TYPE_CHECKING:
    from refdet_ros.node import DetectorNode


class DetectorServices:
    """``set_template``, ``clear_template`` and ``enable`` of a node, in every lifecycle state."""

    def __init__(self, node: DetectorNode) -> None:
        self._node = node
        node.create_service(SetTemplate, "set_template", self._on_set_template)
        node.create_service(ClearTemplate, "clear_template", self._on_clear_template)
        node.create_service(SetBool, "enable", self._on_enable)

    def _on_set_template(self, request: SetTemplate.Request, response: SetTemplate.Response) -> Any:
        response.template_id = request.template_id or DEFAULT_TEMPLATE_ID
        try:
            pipeline = self._node.pipeline
            given = from_request(request.references, self._node.newest_frame)
            change = pipeline.set_template(
                given.references, response.template_id, request.append, given.here_xyxy
            )
        except Exception as error:
            response.message = self._node.refusal("set_template", error)
            response.reference_count = self._node.template_counts.get(response.template_id, 0)
            return response
        response.success = True
        response.reference_count = change.reference_count
        response.encode_ms = change.encode_ms
        response.message = "{} '{}' with {} reference(s){}.".format(
            "Following" if change.followed else "Looking for",
            response.template_id,
            change.reference_count,
            "" if self._node.active else " as soon as the node is active",
        )
        self._node.get_logger().info(response.message)
        return response

    def _on_clear_template(
        self, request: ClearTemplate.Request, response: ClearTemplate.Response
    ) -> Any:
        try:
            gone = sorted(self._node.pipeline.clear_template(request.template_id or None))
        except Exception as error:
            response.message = self._node.refusal("clear_template", error)
            return response
        response.success = True
        response.cleared_ids = gone
        response.message = "Forgot {}.".format(", ".join(gone) or "nothing, there was no template")
        self._node.get_logger().info(response.message)
        return response

    def _on_enable(self, request: SetBool.Request, response: SetBool.Response) -> Any:
        # Through the parameter, so that there is one state and it can be read back.
        result = self._node.set_parameters([Parameter("enabled", value=bool(request.data))])[0]
        response.success = result.successful
        response.message = result.reason or (
            "Searching." if request.data else "Paused; templates are kept."
        )
        return response
