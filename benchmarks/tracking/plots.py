"""Plots of the benchmark: success curves, and the course of each sequence over time."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle

from benchmarks.tracking.goals import AUTO, PEER
from benchmarks.tracking.runs import Run
from benchmarks.tracking.sequences import SCENARIOS, TRACKING, BenchmarkSequence
from refdet_core.metrics import SUCCESS_THRESHOLDS, box_iou
from refdet_training.evaluation.tracking_numbers import mean_curves

_STATE_COLOURS = {"searching": "tab:orange", "tracking": "tab:green", "lost": "tab:purple"}
_STRIP_COLOURS = {AUTO: "tab:blue", PEER: "tab:red"}
_STRIP_INCHES = (12.0, 1.25)
_BAND = (-0.3, -0.08)  # below the curves, in units of IoU
_MARKS = {AUTO: 1.08, PEER: 1.2}  # heights of the marks of false boxes
_MOST_STRIPS = 16


def write_plots(runs: Sequence[Run], folder: Path) -> None:
    """Write ``success.png`` and ``<scenario>_<source>.png``, where there is something to draw."""
    folder.mkdir(parents=True, exist_ok=True)
    tracked = [run for run in runs if run.sequence.scenario == TRACKING]
    if tracked:
        success_figure(tracked).savefig(folder / "success.png", dpi=110)
    for scenario in SCENARIOS:
        for source in dict.fromkeys(run.sequence.footage.source for run in runs):
            some = [
                run
                for run in runs
                if run.sequence.scenario == scenario
                and run.sequence.footage.source == source
                and run.method in _STRIP_COLOURS
            ]
            if some:
                strips_figure(some).savefig(folder / f"{scenario}_{source}.png", dpi=80)


def success_figure(runs: Sequence[Run]) -> Figure:
    """OTB's success curves of all methods, a panel for each data set."""
    sources = list(dict.fromkeys(run.sequence.footage.source for run in runs))
    names = list(dict.fromkeys(run.method for run in runs))
    figure = Figure((5.2 * len(sources), 4.6), layout="constrained")
    panels = figure.subplots(1, len(sources), squeeze=False)[0]
    colours = matplotlib.colormaps["tab10"]
    for axes, source in zip(panels, sources, strict=True):
        for number, name in enumerate(names):
            curves = mean_curves(
                [
                    run.as_track()
                    for run in runs
                    if run.method == name and run.sequence.footage.source == source
                ]
            )
            if curves is not None:
                label = f"{name}: {curves.success.mean():.3f}"
                style = "-" if name.startswith("refdet") else "--"
                axes.plot(
                    SUCCESS_THRESHOLDS, curves.success, style, color=colours(number), label=label
                )
        axes.set(xlim=(0, 1), ylim=(0, 1.02), title=source)
        axes.set(xlabel="IoU threshold", ylabel="share of frames above it")
        axes.grid(alpha=0.3)
        axes.legend(title="success AUC", fontsize=8, title_fontsize=8)
    return figure


def strips_figure(runs: Sequence[Run]) -> Figure:
    """One strip for each sequence (the first ones): IoU over time of refdet and its peer.

    Grey: the object is absent. Marks above the strip: a box was reported all the same. The band
    below it is the state of ``refdet auto``.
    """
    sequences: dict[tuple[str, int], BenchmarkSequence] = {}
    for run in runs:
        sequences[run.sequence.footage.object_id, run.sequence.case] = run.sequence
    shown = list(sequences.values())[:_MOST_STRIPS]
    figure = Figure((_STRIP_INCHES[0], 0.9 + _STRIP_INCHES[1] * len(shown)), layout="constrained")
    panels = figure.subplots(len(shown), 1, squeeze=False)[:, 0]
    for axes, sequence in zip(panels, shown, strict=True):
        _strip(axes, [run for run in runs if run.sequence is sequence], sequence)
    panels[-1].set_xlabel("seconds of video")
    figure.legend(handles=_legend(runs), loc="outside upper center", ncols=7, fontsize=8)
    return figure


def _strip(axes: Axes, runs: Sequence[Run], sequence: BenchmarkSequence) -> None:
    seconds = np.array([sequence.time_s(index) for index in range(len(sequence.frames))])
    frame_s = sequence.time_s(1)
    absent = np.array([frame.truth_xyxy is None for frame in sequence.frames])
    for start, end in _spans(absent):
        axes.axvspan(seconds[start], seconds[end - 1] + frame_s, color="0.85", zorder=0)
    for run in runs:
        colour = _STRIP_COLOURS[run.method]
        overlaps = np.array(
            [
                box_iou(answer.box_xyxy, frame.truth_xyxy)
                if answer.box_xyxy and frame.truth_xyxy
                else np.nan
                for frame, answer in zip(sequence.frames, run.answers, strict=True)
            ]
        )
        axes.plot(seconds, overlaps, ".-", color=colour, linewidth=1.1, markersize=2)
        reported = np.array([answer.box_xyxy is not None for answer in run.answers])
        false = seconds[absent & reported]
        axes.plot(false, np.full(len(false), _MARKS[run.method]), "|", color=colour, ms=5)
        for state, state_colour in _STATE_COLOURS.items():
            within = np.array([answer.state == state for answer in run.answers])
            for start, end in _spans(within):
                width = seconds[end - 1] + frame_s - seconds[start]
                corner = (float(seconds[start]), _BAND[0])
                axes.add_patch(_band(corner, float(width), state_colour))
    footage = sequence.footage
    case = f"\ncase {sequence.case + 1}" if sequence.returns_at is not None else ""
    axes.set_ylabel(f"{footage.object_id}{case}", rotation=0, ha="right", va="center", fontsize=8)
    axes.set(xlim=(0, seconds[-1] + frame_s), ylim=(_BAND[0] - 0.03, 1.32), yticks=(0, 0.5, 1))
    axes.tick_params(labelsize=7)
    axes.grid(axis="y", alpha=0.3)


def _band(corner: tuple[float, float], width: float, colour: str) -> Patch:
    return Rectangle(corner, width, _BAND[1] - _BAND[0], color=colour, linewidth=0)


def _spans(flags: np.ndarray) -> list[tuple[int, int]]:
    """First index and end (exclusive) of each run of True."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], flags, [False]]).astype(int)))
    return [(int(a), int(b)) for a, b in zip(edges[::2], edges[1::2], strict=True)]


def _legend(runs: Sequence[Run]) -> list[Patch]:
    names = dict.fromkeys(run.method for run in runs)
    states = {answer.state for run in runs for answer in run.answers}
    entries = [Patch(color=_STRIP_COLOURS[name], label=f"{name}: IoU") for name in names]
    entries.append(Patch(color="0.85", label="object absent (marks: box reported)"))
    return entries + [
        Patch(color=colour, label=f"state {state}")
        for state, colour in _STATE_COLOURS.items()
        if state in states
    ]
