"""The detector's parameters that an operator may change, through the node's own services."""

from __future__ import annotations

from typing import Any, Dict, List

from rcl_interfaces.srv import DescribeParameters, GetParameters, SetParameters
from rclpy.parameter import Parameter, parameter_value_to_python

from refdet_ros.console.ros.side import NoAnswerError, RosSide

OFFERED = (
    "search",
    "score_threshold",
    "track_persistence",
    "max_detections",
    "auto_lost_s",
    "auto_forget_s",
    "auto_confirm_frames",
    "auto_check_s",
    "max_tiles_per_frame",
)
"""In the order of the page; parameters that a node lacks are left out."""
_TYPES = {1: "boolean", 2: "integer", 3: "double", 4: "string"}
_TIMEOUT_S = 5.0


class SettingsClient:
    """Parameters of one node.

    Args:
        node: its fully qualified name.
    """

    def __init__(self, ros: RosSide, node: str) -> None:
        self._ros = ros
        create = ros.node.create_client
        self._get = create(GetParameters, node + "/get_parameters")
        self._describe = create(DescribeParameters, node + "/describe_parameters")
        self._set = create(SetParameters, node + "/set_parameters")

    async def read(self) -> List[Dict[str, Any]]:
        """Name, type, value, range, choices and description of each.

        Raises:
            NoAnswerError: the node does not answer.
        """
        names = list(OFFERED)
        described = await self._call(self._describe, DescribeParameters.Request(names=names))
        known = [item for item in described.descriptors if item.type in _TYPES]
        if not known:
            return []
        request = GetParameters.Request(names=[item.name for item in known])
        values = (await self._call(self._get, request)).values
        return [_plain(item, value) for item, value in zip(known, values)]

    async def change(self, name: str, value: Any) -> str:
        """Change one parameter; returns the node's reason if it refuses, else an empty string.

        Raises:
            NoAnswerError: the node does not answer.
        """
        if name not in OFFERED and name != "enabled":
            return f"'{name}' is not among the settings offered here."
        current = {item["name"]: item for item in await self.read()}
        if name in current and current[name]["type"] == "double" and isinstance(value, int):
            value = float(value)
        parameters = [Parameter(name, value=value).to_parameter_msg()]
        answer = await self._call(self._set, SetParameters.Request(parameters=parameters))
        result = answer.results[0]
        return "" if result.successful else str(result.reason or "The detector refused.")

    async def _call(self, client: Any, request: Any) -> Any:
        return await self._ros.call(client, request, _TIMEOUT_S, attempts=2)


def _plain(descriptor: Any, value: Any) -> Dict[str, Any]:
    entry: Dict[str, Any] = {
        "name": descriptor.name,
        "type": _TYPES[descriptor.type],
        "value": parameter_value_to_python(value),
        "description": descriptor.description,
        "choices": [],
    }
    prefix = "one of: "
    if descriptor.additional_constraints.startswith(prefix):
        entry["choices"] = descriptor.additional_constraints[len(prefix) :].split(", ")
    for ranges in (descriptor.floating_point_range, descriptor.integer_range):
        if ranges:
            entry["low"], entry["high"] = ranges[0].from_value, ranges[0].to_value
    return entry


__all__ = ["OFFERED", "NoAnswerError", "SettingsClient"]
