"""The topic ``templates``: which templates there are, and when each one was set."""

from __future__ import annotations

from typing import Dict, Mapping, Sequence

from builtin_interfaces.msg import Time
from rclpy.clock import Clock

from refdet_core.templates import Template
from refdet_ros.publishing import ResultPublisher, to_template_array


class TemplateTopic:
    """Publishes the templates after each change. Only the worker's thread changes them.

    Args:
        clock: the node's clock, for the stamps.
    """

    def __init__(self, publisher: ResultPublisher, clock: Clock) -> None:
        self._publisher = publisher
        self._clock = clock
        self._created: Dict[str, Time] = {}
        self._changed = clock.now().to_msg()

    def added(self, template_id: str, templates: Mapping[str, Template]) -> None:
        """Publish ``templates`` after one of them was set or extended."""
        self._created[template_id] = self._clock.now().to_msg()
        self._publish_change(templates)

    def removed(self, template_ids: Sequence[str], templates: Mapping[str, Template]) -> None:
        """Publish ``templates`` after these were cleared."""
        for template_id in template_ids:
            self._created.pop(template_id, None)
        self._publish_change(templates)

    def publish(self, templates: Mapping[str, Template]) -> None:
        """Publish the templates again, with the stamp of their last change."""
        self._publisher.publish_templates(
            to_template_array(templates, self._created, self._changed)
        )

    def _publish_change(self, templates: Mapping[str, Template]) -> None:
        self._changed = self._clock.now().to_msg()
        self.publish(templates)
