"""The result of one part of the benchmark: a table, a chart, and notes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Union

Cell = Union[str, int, float, None]


@dataclass(frozen=True)
class Chart:
    """A picture of a section.

    Attributes:
        kind: ``waterfall`` (each bar begins where the last one ends), ``bars`` or ``lines``.
        y_label: the label with its unit.
        series: by name the points; x is a number for ``lines``, else a bar's name.
        goal: a line to stay below.
    """

    kind: str
    y_label: str
    series: Mapping[str, Sequence[tuple[Any, float]]]
    x_label: str = ""
    goal: float | None = None


@dataclass(frozen=True)
class Section:
    """One part of the benchmark.

    Attributes:
        title: its title, one line.
        head: the columns.
        rows: a cell that could not be measured is None.
        notes: sentences below the table: how to read it, and why something is missing.
        numbers: further results for programs.
    """

    title: str
    head: Sequence[str] = ()
    rows: Sequence[Sequence[Cell]] = ()
    notes: Sequence[str] = ()
    chart: Chart | None = None
    numbers: Mapping[str, Any] = field(default_factory=dict)


def skipped(title: str, reason: str) -> Section:
    """A section that cannot be measured here."""
    return Section(title, notes=(f"Not measured: {reason}",))
