"""Plots of a replay: presence and overlap over time, and where the target went."""

from __future__ import annotations

from typing import Any, Dict, List, Optional, Sequence

import numpy as np

from refdet_core.metrics import box_iou
from refdet_core.report.page import new_figure
from refdet_ros.bags.positions import Positions
from refdet_ros.bags.replay import Replay
from refdet_ros.bags.targets import Target

_ROW_INCHES = (11.0, 2.3)
_MAP_INCHES = (6.0, 5.0)
_PRESENT, _UNKNOWN = "#d9ead3", "#e4e4e4"
_SCORE, _GOOD, _BAD = "tab:blue", "tab:green", "tab:red"
_MAP_COLUMNS = 2


def time_plot(
    replay: Replay, target: Target, times_s: Sequence[float], iou_threshold: float
) -> Any:
    """The presence of one target over time, and its overlap with the truth where there is one.

    Args:
        times_s: of each frame.
    """
    rows = 1 if target.truth is None else 2
    figure, grid = new_figure(rows, 1, _ROW_INCHES, sharex=True)
    axes = grid[:, 0]
    times = np.asarray(times_s)
    known = replay.presence(target.template_id)
    numbers = np.array(sorted(replay.answers), dtype=int)
    found = replay.best(target.template_id)
    _shade_truth(axes, target, times)
    presence = [known.get(number, np.nan) for number in numbers]
    axes[0].plot(times[numbers], presence, color=_SCORE, linewidth=1)
    hits = np.array(sorted(found), dtype=int)
    if hits.size:
        scores = [found[n].score for n in hits]
        axes[0].plot(times[hits], scores, ".", color=_SCORE, markersize=4, label="reported")
    _legend(axes[0])
    axes[0].set_ylim(0, 1.03)
    axes[0].set_ylabel("probability")
    axes[0].set_title(target.template_id.replace("$", r"\$"))
    if target.truth is not None:
        _overlap(axes[1], replay, target, times, iou_threshold)
    axes[-1].set_xlabel("seconds")
    for axis in axes:
        axis.grid(alpha=0.3)
        axis.set_xlim(times[0] if times.size else 0, times[-1] if times.size > 1 else 1)
    return figure


def _shade_truth(axes: Any, target: Target, times: np.ndarray) -> None:
    """Green behind the frames that show the target, grey behind those whose truth is unknown."""
    if target.truth is None or not times.size:
        return
    known = np.zeros(len(times), dtype=bool)
    known[target.truth.labelled(range(len(times)))] = True
    inside = np.zeros(len(times), dtype=bool)
    inside[[n for n in target.truth.boxes_xyxy if 0 <= n < len(times)]] = True
    for frames, colour, label in ((inside, _PRESENT, "in view"), (~known, _UNKNOWN, "not scored")):
        edges = np.flatnonzero(np.diff(np.concatenate([[False], frames, [False]]).astype(int)))
        for number, (first, end) in enumerate(edges.reshape(-1, 2)):
            for axis in axes:
                axis.axvspan(
                    times[first],
                    times[end - 1],
                    color=colour,
                    linewidth=0,
                    label=label if number == 0 and axis is axes[0] else None,
                )


def _legend(axis: Any) -> None:
    """Beside the axes, where it hides nothing."""
    if axis.get_legend_handles_labels()[0]:
        axis.legend(fontsize=8, loc="center left", bbox_to_anchor=(1.0, 0.5))


def _overlap(
    axis: Any, replay: Replay, target: Target, times: np.ndarray, iou_threshold: float
) -> None:
    assert target.truth is not None
    found = replay.best(target.template_id)
    groups: Dict[str, List[Any]] = {"good": [], "poor": [], "missed": [], "false alarm": []}
    counted = set(replay.answers) - target.reference_frames
    for number in target.truth.labelled(counted):
        truth, answer = target.truth.boxes_xyxy.get(number), found.get(number)
        if truth is not None and answer is not None:
            iou = box_iou(answer.bbox_xyxy, truth)
            groups["good" if iou >= iou_threshold else "poor"].append((times[number], iou))
        elif truth is not None:
            groups["missed"].append((times[number], 0.0))
        elif answer is not None:
            groups["false alarm"].append((times[number], 0.0))
    styles = {
        "good": (".", _GOOD),
        "poor": (".", "tab:orange"),
        "missed": ("|", _BAD),
        "false alarm": ("x", "black"),
    }
    for name, points in groups.items():
        if points:
            marker, colour = styles[name]
            label = f"{name} ({len(points)})"
            axis.plot(*np.transpose(points), marker, color=colour, markersize=5, label=label)
    axis.axhline(iou_threshold, color="grey", linestyle=":")
    axis.set_ylim(-0.05, 1.03)
    axis.set_ylabel("IoU")
    _legend(axis)


def map_plot(positions: Positions) -> Any:
    """The paths of camera and targets over the ground, north up."""
    figure, grid = new_figure(1, 1, (8.0, 6.5))
    axis = grid[0, 0]
    axis.plot(*positions.camera.T, color="0.6", linewidth=1, label="camera")
    if len(positions.camera):
        axis.plot(*positions.camera[0], "^", color="0.4")
    for name, way in positions.targets.items():
        label = name.replace("$", r"\$")
        (line,) = axis.plot(*way.T, ".", markersize=3, label=f"{label} ({len(way)} frames)")
        axis.plot(*way[0], "o", color=line.get_color(), markersize=7, markerfacecolor="none")
    axis.set_aspect("equal", adjustable="datalim")
    axis.set_xlabel("east, metres")
    axis.set_ylabel("north, metres")
    axis.grid(alpha=0.3)
    axis.legend(fontsize=8)
    return figure


def picture_map(
    replay: Replay, targets: Sequence[Target], frame_size: tuple[int, int]
) -> Optional[Any]:
    """Where in the picture the targets were reported, and where they were; None if nowhere.

    Args:
        frame_size: width and height, pixels.
    """
    shown = [
        target for target in targets if replay.best(target.template_id) or target.truth is not None
    ]
    if not shown:
        return None
    columns = min(_MAP_COLUMNS, len(shown))
    rows = -(-len(shown) // columns)
    figure, grid = new_figure(rows, columns, _MAP_INCHES)
    for axis in grid.flat[len(shown) :]:
        axis.set_axis_off()
    for axis, target in zip(grid.flat, shown):
        if target.truth is not None and target.truth.boxes_xyxy:
            axis.plot(*_centres(target.truth.boxes_xyxy), "o", color="0.75", label="truth")
        boxes = replay.best_boxes(target.template_id)
        if boxes:
            numbers = sorted(boxes)
            drawn = axis.scatter(*_centres(boxes), c=numbers, s=8, cmap="viridis", zorder=3)
            figure.colorbar(drawn, ax=axis, label="reported in frame", shrink=0.7)
        axis.set_xlim(0, frame_size[0])
        axis.set_ylim(frame_size[1], 0)
        axis.set_aspect("equal")
        axis.set_title(target.template_id.replace("$", r"\$"))
        if axis.get_legend_handles_labels()[0]:
            axis.legend(fontsize=8)
    return figure


def _centres(boxes_xyxy: Any) -> np.ndarray:
    """``(2, N)`` in the order of the frames."""
    boxes = np.array([boxes_xyxy[number] for number in sorted(boxes_xyxy)], dtype=float)
    return np.asarray((boxes[:, :2] + boxes[:, 2:]).T / 2)
