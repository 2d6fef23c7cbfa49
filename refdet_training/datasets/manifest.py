"""The manifest of a prepared data set: its counts and problems."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from refdet_core.boxes import area

# Doubling from 4 px: below 8 a target hardly shows, above 256 it is no longer small.
SIZE_EDGES = (0, 4, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 512)


def statistics(
    table: pd.DataFrame, splits: Mapping[str, Sequence[str]]
) -> dict[str, dict[str, Any]]:
    """Counts over all, by split and by kind, and the box sizes, from the rows of an index.

    ``boxes_by_size`` counts boxes by the square root of their area in pixels of the frame.
    """
    split_of = {video: split for split, videos in splits.items() for video in videos}
    place = table["video_id"].map(split_of).fillna("unused")
    return {
        "counts": _counts(table),
        "by_split": {name: _counts(rows) for name, rows in table.groupby(place)},
        "by_kind": {name: _counts(rows) for name, rows in table.groupby("kind")},
        "box_size_px": _sizes(table),
    }


def box_sizes(table: pd.DataFrame) -> np.ndarray:
    """Square root of the area of every box, ``(N,)`` pixels."""
    boxes = table[["x1", "y1", "x2", "y2"]].dropna()
    return np.asarray(np.sqrt(area(boxes.to_numpy(dtype=np.float64))))


def size_histogram(sizes: np.ndarray) -> list[tuple[int, int | None, int]]:
    """``(from, to, boxes)`` for each range of :data:`SIZE_EDGES`; the last has no end."""
    counts = np.histogram(sizes, [*SIZE_EDGES, np.inf])[0]
    ends = [*SIZE_EDGES[1:], None]
    return [(low, high, int(n)) for low, high, n in zip(SIZE_EDGES, ends, counts, strict=True)]


def _counts(table: pd.DataFrame) -> dict[str, int]:
    present = table["x1"].notna()
    return {
        "videos": int(table["video_id"].nunique()),
        "frames": len(table.drop_duplicates(["video_id", "frame"])),
        "instances": len(table.drop_duplicates(["video_id", "object_id"])),
        "boxes": int(present.sum()),
        "absent_frames": int((~present).sum()),
    }


def _sizes(table: pd.DataFrame) -> dict[str, Any]:
    sizes = box_sizes(table)
    low, median, high = np.percentile(sizes, [10, 50, 90])
    return {
        "percentile_10": round(float(low), 1),
        "median": round(float(median), 1),
        "percentile_90": round(float(high), 1),
        "boxes_by_size": [
            {"from": low, "to": high, "boxes": number}
            for low, high, number in size_histogram(sizes)
        ],
    }
