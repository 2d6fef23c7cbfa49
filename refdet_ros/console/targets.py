"""Sets, clears and undoes targets for all browsers."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Any, Deque, Dict, Iterable, List, Optional, Sequence, Union

from refdet_ros.console.ros.detector import Answer, DetectorLink, TemplateView

UNDO_STEPS = 10
_FOREIGN = "foreign"  # set by somebody else: the references are not known here

Before = Union[None, str, List[Any]]
"""A template before a change: None where there was none, its references where they are known."""


@dataclass(frozen=True)
class _Step:
    what: str
    before: Dict[str, Before]


class TargetBook:
    """The changes made by this console, so that they can be undone."""

    def __init__(self, link: DetectorLink) -> None:
        self._link = link
        self._own: Dict[str, List[Any]] = {}
        self._there: Dict[str, int] = {}
        self._steps: Deque[_Step] = deque(maxlen=UNDO_STEPS)

    @property
    def can_undo(self) -> str:
        """What would be undone, in words; empty if nothing."""
        return self._steps[-1].what if self._steps else ""

    def templates(self, views: Iterable[TemplateView]) -> None:
        """Take the detector's present templates, whoever set them."""
        self._there = {view.template_id: view.references for view in views}
        for name, references in list(self._own.items()):
            if self._there.get(name) != len(references):
                del self._own[name]

    async def set(self, template_id: str, references: List[Any], append: bool) -> Answer:
        """Set a target, or add views to it."""
        name = template_id or "target"
        before = self._before(name)
        answer = await self._link.set_template(name, references, append)
        if answer.success:
            verb = "adding a view to" if append and before is not None else "setting"
            self._steps.append(_Step(f"{verb} '{name}'", {name: before}))
            self._remember(name, references, append, before)
        return answer

    async def clear(self, template_id: str) -> Answer:
        """Clear one target, or all with an empty name."""
        names = [template_id] if template_id else list(self._there)
        before = {name: self._before(name) for name in names}
        answer = await self._link.clear_template(template_id)
        if answer.success and names:
            what = f"clearing '{template_id}'" if template_id else "clearing all"
            self._steps.append(_Step(what, before))
            for name in names:
                self._own.pop(name, None)
                self._there.pop(name, None)
        return answer

    async def undo(self) -> Answer:
        """Undo the last change made by this console."""
        if not self._steps:
            return Answer(False, "There is nothing to undo.")
        step = self._steps.pop()
        foreign = [name for name, before in step.before.items() if before == _FOREIGN]
        for name, before in step.before.items():
            if before is None:
                answer = await self._link.clear_template(name)
                self._own.pop(name, None)
                self._there.pop(name, None)
            elif isinstance(before, list):
                answer = await self._link.set_template(name, before, append=False)
                self._remember(name, before, False, None)
            else:
                continue
            if not answer.success:
                return answer
        if foreign:
            names = ", ".join(f"'{name}'" for name in foreign)
            return Answer(
                False, f"{names} was set elsewhere; its pictures are not known here. Set it again."
            )
        return Answer(True, f"Undone: {step.what}.")

    def _before(self, name: str) -> Before:
        if name not in self._there:
            return None
        return list(self._own[name]) if name in self._own else _FOREIGN

    def _remember(
        self, name: str, references: Sequence[Any], append: bool, before: Optional[Before]
    ) -> None:
        if append and before == _FOREIGN:
            return
        earlier = before if append and isinstance(before, list) else []
        self._own[name] = [*earlier, *references]
        self._there[name] = len(self._own[name])
