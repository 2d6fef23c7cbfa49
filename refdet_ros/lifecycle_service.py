"""A repair of rclpy's lifecycle service."""

from __future__ import annotations

from typing import Any

from rclpy.lifecycle import LifecycleNode


def answer_invalid_transitions(node: LifecycleNode) -> None:
    """Answer an invalid transition with ``success=false``.

    rclpy (3.3 to 7.1) does not catch the exception, which ends the executor.
    """
    service = getattr(node, "_service_change_state", None)
    if service is None:
        return
    answer = service.callback

    def callback(request: Any, response: Any) -> Any:
        try:
            return answer(request, response)
        except Exception as error:
            node.get_logger().warning(f"Refused: {error}")
            response.success = False
            return response

    service.callback = callback
