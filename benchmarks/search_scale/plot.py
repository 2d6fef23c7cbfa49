"""Accuracy against time: forced scales as a curve, the automatic ones as marks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.search_scale.measure import Result
from benchmarks.search_scale.settings import KNOWN_SIZE, PHOTO

_PANELS = {"recall_iou50": "recall at IoU 0.5", "ap50": "AP50", "fpr": "false alarms"}
_MARKS = {KNOWN_SIZE: ("*", "tab:green", 220.0), PHOTO: ("D", "tab:orange", 70.0)}
_PANEL_INCHES = (4.6, 3.6)


def write_plot(results: Sequence[Result], file: Path) -> None:
    """One row for each data set."""
    sources = list(dict.fromkeys(item.source for item in results))
    size = (_PANEL_INCHES[0] * len(_PANELS), _PANEL_INCHES[1] * len(sources))
    figure = Figure(size, layout="constrained")
    rows = figure.subplots(len(sources), len(_PANELS), squeeze=False)
    for row, source in zip(rows, sources, strict=True):
        own = [item for item in results if item.source == source]
        for axes, key in zip(row, _PANELS, strict=True):
            _draw(axes, own, key)
            axes.set(title=f"{source}: {_PANELS[key]}", xlabel="CPU ms a frame, one thread")
    rows[0][0].legend(loc="lower right")
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, dpi=100)


def _draw(axes: Axes, results: Sequence[Result], key: str) -> None:
    forced = [item for item in results if item.setting not in _MARKS]
    axes.plot(
        [item.cpu_ms for item in forced],
        [item.numbers[key] for item in forced],
        "o-",
        color="tab:blue",
        label="one scale for all",
    )
    for item in forced:
        axes.annotate(
            item.setting,
            (item.cpu_ms, item.numbers[key]),
            textcoords="offset points",
            xytext=(5, -11),
            fontsize=8,
        )
    for item in results:
        if item.setting in _MARKS:
            marker, colour, area = _MARKS[item.setting]
            place = ([item.cpu_ms], [item.numbers[key]])
            axes.scatter(*place, s=area, marker=marker, color=colour, label=item.setting, zorder=3)
    axes.set_xlim(left=0)
    axes.grid(alpha=0.3)
