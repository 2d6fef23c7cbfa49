"""The index of a prepared data set: a Parquet table with one row per object and frame.

A folder of prepared data sets holds ``<name>/index.parquet``, ``<name>/splits.json`` and the
frames. Columns of the table:

======================  ==============================================================
source, video_id,       names
object_id, family, kind
frame                   frame number, 0-based
picture                 file relative to the data set's folder (or absolute)
video_frame             number in that file when it is a video, -1 when it is a picture
x1, y1, x2, y2          box, pixels, right and bottom edge exclusive; NaN: object absent
======================  ==============================================================

``splits.json`` names the videos of each split: ``{"train": [...], "val": [...]}`` and
optionally ``"tune"``, held out of ``train`` to choose settings and to fit the calibration.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from refdet_core.errors import SourceError
from refdet_core.text_files import read_text
from refdet_core.types import BoxXYXY
from refdet_training.datasets.instance import FrameRef, Instance
from refdet_training.datasets.whole_files import write_whole

INDEX = "index.parquet"
SPLITS = "splits.json"
COLUMNS = (
    *("source", "video_id", "object_id", "family", "kind", "frame", "picture", "video_frame"),
    *("x1", "y1", "x2", "y2"),
)


def write_index(folder: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Write ``folder/index.parquet`` from mappings with :data:`COLUMNS`, atomically."""
    table = pd.DataFrame(list(rows), columns=list(COLUMNS))
    write_whole(folder / INDEX, table.to_parquet(index=False))


def write_splits(folder: Path, splits: Mapping[str, Sequence[str]]) -> None:
    """Write ``folder/splits.json``, atomically."""
    write_json(folder / SPLITS, splits)


def write_json(path: Path, content: Any) -> None:
    """Write a JSON file, atomically."""
    write_whole(path, json.dumps(content, indent=1).encode())


def load_splits(folder: Path) -> dict[str, list[str]]:
    """The splits of one prepared data set: video ids by split name.

    Raises:
        SourceError: the file is missing or damaged.
    """
    try:
        content = json.loads(read_text(folder / SPLITS))
    except (OSError, ValueError) as error:
        raise SourceError(
            f"{folder / SPLITS} cannot be read: {error}. Run 'refdet-train prepare' again."
        ) from error
    splits: dict[str, list[str]] = content
    return splits


def prepared_sources(prepared: Path) -> list[str]:
    """The names of the prepared data sets in a folder."""
    return sorted(path.parent.name for path in prepared.glob(f"*/{INDEX}"))


def load_instances(
    prepared: Path, split: str | None = None, sources: Sequence[str] | None = None
) -> list[Instance]:
    """Instances of one split (all when None) of the named sources (all when None).

    Raises:
        SourceError: a source was not prepared, or no instance is left.
    """
    available = prepared_sources(prepared)
    wanted = available if sources is None else list(sources)
    missing = [name for name in wanted if name not in available]
    if missing or not wanted:
        raise SourceError(
            f"{prepared} holds no prepared {missing or 'data set'}; it has {available}. Run "
            "'refdet-train prepare' first."
        )
    found = [item for name in wanted for item in _load_source(prepared / name, split)]
    if not found:
        raise SourceError(
            f"The split '{split}' of {wanted} in {prepared} is empty: no instance is left."
        )
    return found


def _load_source(folder: Path, split: str | None) -> list[Instance]:
    table = pd.read_parquet(folder / INDEX)
    if split is not None:
        table = table[table["video_id"].isin(load_splits(folder).get(split, []))]
    return [
        _instance(folder, rows) for _, rows in table.groupby(["video_id", "object_id"], sort=False)
    ]


def _instance(folder: Path, rows: pd.DataFrame) -> Instance:
    frames: dict[int, FrameRef] = {}
    boxes: dict[int, BoxXYXY] = {}
    for row in rows.itertuples(index=False):
        video_frame = None if row.video_frame < 0 else int(row.video_frame)
        frames[int(row.frame)] = FrameRef(folder / row.picture, video_frame)
        if row.x1 == row.x1:  # not NaN
            boxes[int(row.frame)] = (row.x1, row.y1, row.x2, row.y2)
    first = rows.iloc[0]
    return Instance(
        first.object_id, first.video_id, first.source, first.family, first.kind, frames, boxes
    )
