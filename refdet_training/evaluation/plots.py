"""The report's plots, one panel per data source. They need no display."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import ScalarFormatter

from refdet_core.metrics import SUCCESS_THRESHOLDS
from refdet_core.report.page import for_people, new_figure
from refdet_training.evaluation.detection_numbers import (
    CALIBRATION_BINS,
    LOOSE_IOU,
    STRICT_IOU,
    as_answers,
    average_precision,
    expected_calibration_error,
    precision_recall,
    recall_by_size,
    reliability,
)
from refdet_training.evaluation.measure import Evaluation, Measured
from refdet_training.evaluation.tracking_numbers import PRECISION_THRESHOLDS_PX, Curves, mean_curves

_COLUMNS = 3
_PANEL_INCHES = (4.8, 4.5)
_COLOURS = ("tab:blue", "tab:orange", "tab:green")
_SCORE_COLOURS = ("tab:green", "tab:orange", "tab:red")
_BAR_COLOURS = ("#9ecae1", "#4292c6", "#08519c")

Draw = Callable[[Axes, Evaluation, str], None]


def draw_plots(evaluation: Evaluation) -> dict[str, Figure]:
    """All plots of the completed protocols, by file name without suffix."""
    plots: dict[str, Draw] = {}
    if evaluation.detection is not None:
        plots |= {
            "precision_recall": _precision_recall,
            "recall_by_size": _recall_by_size,
            "scores": _scores,
            "reliability": _reliability,
        }
    if evaluation.tracking is not None:
        plots |= {"success": _success, "precision": _precision}
    return {name: _panels(evaluation, draw) for name, draw in plots.items()}


def _panels(evaluation: Evaluation, draw: Draw) -> Figure:
    sources = evaluation.sources
    columns = min(_COLUMNS, len(sources))
    rows = -(-len(sources) // columns)
    figure, axes_grid = new_figure(rows, columns, _PANEL_INCHES)
    grid = axes_grid.flat
    for source in sources:
        axes = next(grid)
        draw(axes, evaluation, source)
        axes.set_title(source)
    for unused in grid:
        unused.set_axis_off()
    return figure


def _precision_recall(axes: Axes, evaluation: Evaluation, source: str) -> None:
    for one, colour in zip(evaluation.methods, _cycle(evaluation), strict=True):
        answers = as_answers([item for item in one.predictions if item.source == source])
        for iou, style in ((LOOSE_IOU, "-"), (STRICT_IOU, "--")):
            recall, precision = precision_recall(answers, iou)
            area = average_precision(
                answers.scores, answers.ious >= iou, int(answers.present.sum())
            )
            label = f"{one.name}, IoU {iou:g}: {for_people(area)}"
            axes.plot(recall, precision, style, color=colour, label=label)
    _square(axes, "recall", "precision")
    _legend_below(axes, "average precision")


def _recall_by_size(axes: Axes, evaluation: Evaluation, source: str) -> None:
    bundle = evaluation.methods[0]
    bins = recall_by_size(
        as_answers([item for item in bundle.predictions if item.source == source])
    )
    kinds = {"recall_iou50": "IoU ≥ 0.5", "recall_iou30": "IoU ≥ 0.3", "centre_hit": "centre hit"}
    places = np.arange(len(bins))
    for number, (key, label) in enumerate(kinds.items()):
        heights = [item[key] for item in bins.values()]
        axes.bar(
            places + (number - 1) * 0.27, heights, 0.25, label=label, color=_BAR_COLOURS[number]
        )
    names = [f"{name}\nn = {item['present']}" for name, item in bins.items()]
    axes.set_xticks(places, [name.replace(" px and more", "+ px") for name in names], fontsize=8)
    axes.set_ylim(0, 1.18)  # room for the legend above the bars
    axes.set_yticks(np.arange(0, 1.01, 0.2))
    axes.set_xlabel("object size, √area")
    axes.set_ylabel(f"share of frames with the object\n({bundle.name})")
    axes.grid(axis="y", alpha=0.3)
    axes.legend(fontsize=7, ncols=3, loc="upper center")


def _scores(axes: Axes, evaluation: Evaluation, source: str) -> None:
    bundle = evaluation.methods[0]
    answers = as_answers([item for item in bundle.predictions if item.source == source])
    groups = {
        "present, right place": answers.present & answers.correct,
        "present, wrong place": answers.present & ~answers.correct,
        "absent": ~answers.present,
    }
    edges = np.linspace(0, 1, 21)
    for (name, chosen), colour in zip(groups.items(), _SCORE_COLOURS, strict=True):
        counts = np.histogram(answers.scores[chosen], edges)[0]
        label = f"{name} ({chosen.sum()})"
        axes.stairs(counts, edges, color=colour, fill=True, alpha=0.25)
        axes.stairs(counts, edges, color=colour, linewidth=1.5, label=label)
    threshold = bundle.threshold
    axes.axvline(threshold, color="black", linestyle="--", label=f"threshold {threshold:.3f}")
    axes.set_yscale("symlog", linthresh=1)
    axes.yaxis.set_major_formatter(ScalarFormatter())
    axes.set_xlim(0, 1)
    axes.set_ylim(bottom=0)
    axes.set_xlabel("score of the best answer")
    axes.set_ylabel(f"frames, logarithmic ({bundle.name})")
    _legend_below(axes)


def _reliability(axes: Axes, evaluation: Evaluation, source: str) -> None:
    bundle = evaluation.methods[0]
    answers = as_answers([item for item in bundle.predictions if item.source == source])
    bins = reliability(answers.scores, answers.correct)
    error = expected_calibration_error(answers.scores, answers.correct)
    axes.plot([0, 1], [0, 1], color="grey", linestyle=":", label="perfectly calibrated")
    scores = [item.mean_score for item in bins]
    right = [item.share_right for item in bins]
    label = f"{bundle.name}, calibration error {for_people(error)}"
    axes.plot(scores, right, "o-", color=_COLOURS[0], label=label)
    counts = axes.twinx()
    counts.hist(answers.scores, np.linspace(0, 1, CALIBRATION_BINS + 1).tolist(), color="0.85")
    counts.set_ylabel("frames (grey bars)")
    highest = max([item.frames for item in bins], default=1)
    counts.set_ylim(0, 3 * highest)
    counts.set_yticks([0, highest])
    axes.set_zorder(counts.get_zorder() + 1)
    axes.patch.set_visible(False)
    _square(axes, "stated probability", "share of right answers (IoU ≥ 0.3)")
    _legend_below(axes)


def _success(axes: Axes, evaluation: Evaluation, source: str) -> None:
    for one, colour in zip(evaluation.methods, _cycle(evaluation), strict=True):
        mean = _mean_curves(one, source)
        if mean is not None:
            label = f"{one.name}: {mean.success.mean():.3f}"
            axes.plot(SUCCESS_THRESHOLDS, mean.success, color=colour, label=label)
    _square(axes, "IoU threshold", "share of frames above it")
    _legend_below(axes, "success AUC")


def _precision(axes: Axes, evaluation: Evaluation, source: str) -> None:
    for one, colour in zip(evaluation.methods, _cycle(evaluation), strict=True):
        mean = _mean_curves(one, source)
        if mean is not None:
            label = f"{one.name}: {mean.precision[20]:.3f}"
            axes.plot(PRECISION_THRESHOLDS_PX, mean.precision, color=colour, label=label)
    axes.axvline(20, color="grey", linestyle=":")
    _square(axes, "centre error threshold, pixels", "share of frames within it")
    axes.set_xlim(0, PRECISION_THRESHOLDS_PX[-1])
    _legend_below(axes, "at 20 px")


def _mean_curves(one: Measured, source: str) -> Curves | None:
    return mean_curves([track for track in one.tracks if track.source == source])


def _square(axes: Axes, x_label: str, y_label: str) -> None:
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1.02)
    axes.set_xlabel(x_label)
    axes.set_ylabel(y_label)
    axes.grid(alpha=0.3)


def _legend_below(axes: Axes, title: str = "") -> None:
    """A legend outside the curves."""
    axes.legend(
        *axes.get_legend_handles_labels(),
        fontsize=7,
        title=title,
        title_fontsize=7,
        ncols=2,
        loc="upper center",
        bbox_to_anchor=(0.5, -0.15),
    )


def _cycle(evaluation: Evaluation) -> Sequence[str]:
    return [_COLOURS[i % len(_COLOURS)] for i in range(len(evaluation.methods))]
