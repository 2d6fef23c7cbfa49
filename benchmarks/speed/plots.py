"""One picture with the charts of all sections."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.speed.section import Chart, Section

_COLUMNS = 2
_PANEL_INCHES = (7.2, 4.0)
_GROUP = 0.8  # share of a bar's place that the bars of one group fill


def write_plot(sections: Mapping[str, Section], file: Path) -> None:
    """Draw every chart into one PNG; writes nothing without a chart."""
    drawn = [section for section in sections.values() if section.chart is not None]
    if not drawn:
        return
    rows = -(-len(drawn) // _COLUMNS)
    figure = Figure((_PANEL_INCHES[0] * _COLUMNS, _PANEL_INCHES[1] * rows), layout="constrained")
    panels = figure.subplots(rows, _COLUMNS, squeeze=False).ravel()
    for axes, section in zip(panels, drawn):
        assert section.chart is not None
        _DRAWINGS[section.chart.kind](axes, section.chart)
        axes.set_title(section.title, fontsize=10)
    for axes in panels[len(drawn) :]:
        axes.set_axis_off()
    figure.savefig(file, dpi=100)


def _lines(axes: Axes, chart: Chart) -> None:
    for name, points in chart.series.items():
        axes.plot([x for x, _ in points], [y for _, y in points], "o-", label=name)
    axes.set(xlabel=chart.x_label, ylabel=chart.y_label)
    axes.set_ylim(bottom=0)
    axes.grid(alpha=0.3)
    _legend(axes, chart)


def _bars(axes: Axes, chart: Chart) -> None:
    names = list(dict.fromkeys(x for points in chart.series.values() for x, _ in points))
    height = _GROUP / len(chart.series)
    for number, (label, points) in enumerate(chart.series.items()):
        places = [names.index(x) + number * height for x, _ in points]
        bars = axes.barh(places, [y for _, y in points], height, label=label)
        axes.bar_label(bars, fmt="%.2f", fontsize=7, padding=2)
    axes.set_yticks([i + (_GROUP - height) / 2 for i in range(len(names))], names, fontsize=8)
    axes.invert_yaxis()
    axes.set_xlabel(chart.y_label)
    axes.margins(x=0.12)
    if chart.goal is not None:
        axes.axvline(chart.goal, color="tab:red", linestyle="--")
    _legend(axes, chart)


def _waterfall(axes: Axes, chart: Chart) -> None:
    """Each bar starts where the previous one ends; several series below each other."""
    labels: list[str] = []
    for number, (name, points) in enumerate(chart.series.items()):
        start = 0.0
        for label, value in points:
            bar = axes.barh(len(labels), value, left=start, color=f"C{number}")
            axes.bar_label(bar, [f"{value:.1f}"], fontsize=7, padding=2)
            labels.append(f"{name} {label}".strip())
            start += value
    axes.set_yticks(range(len(labels)), labels, fontsize=8)
    axes.invert_yaxis()
    axes.set_xlabel(chart.y_label)
    axes.margins(x=0.1)
    axes.grid(axis="x", alpha=0.3)


def _legend(axes: Axes, chart: Chart) -> None:
    if any(chart.series):  # one series needs no name
        axes.legend(fontsize=8)


_DRAWINGS = {"lines": _lines, "bars": _bars, "waterfall": _waterfall}
