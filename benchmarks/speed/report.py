"""Writes the results: a Markdown table for people, JSON for programs."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.speed.section import Cell, Section


@dataclass(frozen=True)
class Report:
    """One run of the benchmark.

    Attributes:
        machine: see :func:`benchmarks.speed.machine.describe`.
        settings: a dataclass.
        sections: by name, in the order they were measured.
    """

    machine: Mapping[str, str]
    settings: Any
    sections: Mapping[str, Section]
    title: str = "Speed"


def as_json(report: Report) -> dict[str, Any]:
    """The content of ``results.json``."""
    return {
        "machine": dict(report.machine),
        "settings": {name: _plain(value) for name, value in asdict(report.settings).items()},
        "sections": {
            name: {
                "title": section.title,
                "head": list(section.head),
                "rows": [[_plain(cell) for cell in row] for row in section.rows],
                "notes": list(section.notes),
                "numbers": dict(section.numbers),
            }
            for name, section in report.sections.items()
        },
    }


def as_markdown(report: Report) -> str:
    """The machine, then every section."""
    parts = [f"# {report.title}", table(("machine", ""), list(report.machine.items()))]
    parts += [section_markdown(section) for section in report.sections.values()]
    return "\n\n".join(parts) + "\n"


def section_markdown(section: Section) -> str:
    """A heading, the table, the notes."""
    parts = [f"## {section.title}"]
    if section.rows:
        parts.append(table(section.head, section.rows))
    if section.notes:
        parts.append("\n".join(f"- {note}" for note in section.notes))
    return "\n\n".join(parts)


def table(head: Sequence[str], rows: Sequence[Sequence[Cell]]) -> str:
    """A Markdown table with aligned columns."""
    lines = [list(head), *([text(cell) for cell in row] for row in rows)]
    widths = [max(3, *(len(line[i]) for line in lines)) for i in range(len(head))]
    padded = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths)) + " |"
        for line in lines
    ]
    rule = "|" + "|".join("-" * (width + 2) for width in widths) + "|"
    return "\n".join([padded[0], rule, *padded[1:]])


def text(cell: Cell) -> str:
    """A number with its significant digits; – if it was not measured."""
    if cell is None or (isinstance(cell, float) and math.isnan(cell)):
        return "–"
    if isinstance(cell, float):
        return (
            f"{cell:.2f}" if abs(cell) < 10 else f"{cell:.1f}" if abs(cell) < 100 else f"{cell:.0f}"
        )
    return str(cell)


def write_report(report: Report, folder: Path) -> None:
    """Write ``results.json`` and ``table.md``."""
    folder.mkdir(parents=True, exist_ok=True)
    content = json.dumps(as_json(report), indent=1)
    (folder / "results.json").write_text(content + "\n", encoding="utf-8")
    (folder / "table.md").write_text(as_markdown(report), encoding="utf-8")


def _plain(value: Any) -> Any:
    """A value for JSON: paths become text, NaN becomes null."""
    if isinstance(value, float) and math.isnan(value):
        return None
    return str(value) if isinstance(value, Path) else value
