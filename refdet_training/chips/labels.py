"""Labels of satellite images: a table of points or boxes beside each image."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

from refdet_core.errors import SourceError
from refdet_core.types import BoxXYXY

POINT, BOX = ("x", "y"), ("x_min", "y_min", "x_max", "y_max")
DEFAULT_CLASS = "object"


@dataclass(frozen=True)
class Label:
    """One labelled object: its class, and its box in pixels of the image."""

    name: str
    box_xyxy: BoxXYXY


def read_labels(image: Path, point_size: float) -> list[Label]:
    """The labels of ``image.csv`` beside ``image.tif``; none without such a file.

    Its columns are ``x, y`` or ``x_min, y_min, x_max, y_max`` in pixels, and ``class`` if there are
    several: also what ``refdet search-images`` writes.

    Args:
        point_size: side of the box around a point, pixels.

    Raises:
        SourceError: other columns, or a line that holds no numbers.
    """
    path = image.with_suffix(".csv")
    if not path.is_file():
        return []
    with open(path, newline="", encoding="utf-8-sig") as file:
        rows = csv.DictReader(file)
        names = [name.strip() for name in rows.fieldnames or []]
        rows.fieldnames = names
        columns = BOX if set(BOX) <= set(names) else POINT
        if not set(columns) <= set(names):
            raise SourceError(
                f"{path} needs the columns x, y or x_min, y_min, x_max, y_max in its first line, "
                f"and may have class; it has {', '.join(names) or 'none'}."
            )
        return [_label(row, columns, point_size, f"{path}, line {rows.line_num}") for row in rows]


def _label(row: dict[str, str], columns: tuple[str, ...], point_size: float, where: str) -> Label:
    try:
        values = [float(row[name]) for name in columns]
    except (TypeError, ValueError):
        raise SourceError(
            f"{where}: {', '.join(columns)} must be numbers, got {[row[c] for c in columns]}."
        ) from None
    name = (row.get("class") or DEFAULT_CLASS).strip()
    if columns == POINT:
        x, y, half = values[0], values[1], point_size / 2
        return Label(name, (x - half, y - half, x + half, y + half))
    x1, y1, x2, y2 = values
    if not (x2 > x1 and y2 > y1):
        raise SourceError(f"{where}: x_max and y_max must exceed x_min and y_min, got {values}.")
    return Label(name, (x1, y1, x2, y2))
