"""Accuracy against time, and against the object's size in the network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import ScalarFormatter

from benchmarks.search_scale.policies import KNOWN_SIZE, PHOTO
from benchmarks.search_scale.results import Result, SizeBin

_PANELS = {"recall_iou50": "recall at IoU 0.5", "ap50": "AP50", "fpr": "false alarms"}
_MARKS = {KNOWN_SIZE: ("*", "tab:green", 220.0), PHOTO: ("D", "tab:orange", 70.0)}
_PANEL_INCHES = (4.4, 3.6)


def write_plot(
    results: Sequence[Result],
    sizes: Mapping[str, Sequence[SizeBin]],
    best_object_px: float,
    file: Path,
) -> None:
    """One row for each data set.

    Args:
        sizes: recall by the object's size in the network, for each data set.
        best_object_px: marked there.
    """
    count = len(_PANELS) + 1
    figure = Figure((_PANEL_INCHES[0] * count, _PANEL_INCHES[1] * len(sizes)), layout="constrained")
    rows = figure.subplots(len(sizes), count, squeeze=False)
    for row, source in zip(rows, sizes, strict=True):
        own = [item for item in results if item.source == source]
        _draw_sizes(row[0], sizes[source], best_object_px)
        row[0].set_title(source)
        for axes, key in zip(row[1:], _PANELS, strict=True):
            _draw(axes, own, key)
            axes.set(title=_PANELS[key], xlabel="CPU ms a frame, one thread")
    rows[0][1].legend(loc="lower right", fontsize=8)
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, dpi=90)


def _draw_sizes(axes: Axes, bins: Sequence[SizeBin], best_object_px: float) -> None:
    axes.plot([one.middle_px for one in bins], [one.recall for one in bins], "o-")
    axes.axvline(best_object_px, color="tab:green", linestyle="--", label="best_object_px")
    axes.axvspan(best_object_px / 2, best_object_px * 2, color="tab:green", alpha=0.1)
    axes.set(xscale="log", xlabel="object in the network, px", ylabel="recall at IoU 0.5")
    axes.set_xticks([6, 12, 24, 48, 96, 192], minor=False)
    axes.xaxis.set_major_formatter(ScalarFormatter())
    axes.minorticks_off()
    axes.set_ylim(0, 1)
    axes.grid(alpha=0.3)
    axes.legend(loc="lower center", fontsize=8)


def _draw(axes: Axes, results: Sequence[Result], key: str) -> None:
    forced = [item for item in results if item.policy not in _MARKS]
    axes.plot(
        [item.cpu_ms for item in forced],
        [item.numbers[key] for item in forced],
        "o-",
        color="tab:blue",
        label="one scale for all",
    )
    for item in forced:
        axes.annotate(
            item.policy,
            (item.cpu_ms, item.numbers[key]),
            textcoords="offset points",
            xytext=(5, -11),
            fontsize=8,
        )
    for item in results:
        if item.policy in _MARKS:
            marker, colour, area = _MARKS[item.policy]
            place = ([item.cpu_ms], [item.numbers[key]])
            axes.scatter(*place, s=area, marker=marker, color=colour, label=item.policy, zorder=3)
    axes.set_xscale("log")
    axes.grid(alpha=0.3)
