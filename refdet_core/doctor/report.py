"""The doctor's report as text and as JSON."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Dict, List, Sequence, Tuple

BROKEN = "broken"
"""The node cannot run."""
WARNING = "warning"
"""The node runs, but slower or with fewer features."""

_MARKS = {BROKEN: "!!", WARNING: "! "}
_COLOURS = {BROKEN: "\033[1;31m", WARNING: "\033[33m"}
_PLAIN = "\033[0m"


@dataclass(frozen=True)
class Finding:
    """A problem.

    Attributes:
        level: :data:`BROKEN` or :data:`WARNING`.
        what: the problem and its consequence.
        fix: the remedy.
    """

    level: str
    what: str
    fix: str


@dataclass(frozen=True)
class Section:
    """One subject: facts as (name, value), and their problems."""

    title: str
    facts: Tuple[Tuple[str, str], ...]
    findings: Tuple[Finding, ...] = ()


def healthy(sections: Sequence[Section]) -> bool:
    """Whether the node can run."""
    return not any(item.level == BROKEN for section in sections for item in section.findings)


def as_json(sections: Sequence[Section]) -> Dict[str, Any]:
    """The content of :func:`as_text` for programs."""
    return {
        "ok": healthy(sections),
        "sections": [
            {
                "title": section.title,
                "facts": {name.strip(): value for name, value in section.facts},
                "findings": [asdict(item) for item in section.findings],
            }
            for section in sections
        ],
    }


def as_text(sections: Sequence[Section], coloured: bool) -> str:
    """Facts in aligned lines, each section followed by its findings, marked ``!!`` or ``!``."""
    width = max((len(name) for section in sections for name, _ in section.facts), default=0)
    lines: List[str] = []
    for section in sections:
        lines.append(section.title)
        lines += [f"   {name:<{width}}  {value}" for name, value in section.facts]
        for item in section.findings:
            text = f"{_MARKS[item.level]} {item.what}"
            lines.append(f"{_COLOURS[item.level]}{text}{_PLAIN}" if coloured else text)
            lines.append(f"   fix: {item.fix}")
        lines.append("")
    levels = [item.level for section in sections for item in section.findings]
    warnings = f"{levels.count(WARNING)} warning{'s' * (levels.count(WARNING) != 1)} (!)"
    if healthy(sections):
        lines.append(f"The node can run here; {warnings}.")
    else:
        lines.append(
            f"The node cannot run here: see {levels.count(BROKEN)} × !! above; {warnings}."
        )
    return "\n".join(lines)
