"""Following in cross-validation: every object of a fold, through its longest run of frames."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from refdet_training.datasets.index import load_instances, load_splits, prepared_sources
from refdet_training.datasets.splits import fold_split
from refdet_training.datasets.whole_files import write_whole
from refdet_training.evaluation.tracking_numbers import summarise
from refdet_training.evaluation.tracking_protocol import Tracker, TrackingProtocol, run_tracking

NUMBERS = ("success_auc", "precision_20px", "st_iou")
"""Of :func:`~refdet_training.evaluation.tracking_numbers.summarise`."""


@dataclass(frozen=True)
class FollowedObject:
    """How one object was followed; None: there is no such number."""

    video_id: str
    object_id: str
    numbers: dict[str, float | None]


def follow_fold(
    tracker: Tracker, prepared: Path, fold: int, protocol: TrackingProtocol, label: str
) -> list[FollowedObject]:
    """Follow the fold's objects, each from the first frame that shows it."""
    name = fold_split(fold)
    held_out = [
        item for item in prepared_sources(prepared) if load_splits(prepared / item).get(name)
    ]
    tracks, _ = run_tracking(tracker, load_instances(prepared, name, held_out), protocol, label)
    return [
        FollowedObject(
            track.video_id,
            track.object_id,
            {number: summarise([track])[number] for number in NUMBERS},
        )
        for track in tracks
    ]


def table(methods: Mapping[str, Mapping[int, Sequence[FollowedObject]]]) -> str:
    """One row for each method: the mean over its objects, over those of each fold, and the spread
    of the folds' means."""
    folds = sorted({fold for by_fold in methods.values() for fold in by_fold})
    head = ["objects", *NUMBERS, *(f"success_auc, fold {fold}" for fold in folds), "folds"]
    lines = ["| followed | " + " | ".join(head) + " |", "|---" * (len(head) + 1) + "|"]
    for method, by_fold in methods.items():
        everything = [item for found in by_fold.values() for item in found]
        means = [_mean(by_fold.get(fold, ()), NUMBERS[0]) for fold in folds]
        known = [value for value in means if value is not None]
        row = [
            str(len(everything)),
            *(_shown(_mean(everything, number)) for number in NUMBERS),
            *map(_shown, means),
            f"{np.mean(known):.3f} ± {np.std(known):.3f}" if known else "–",
        ]
        lines.append(f"| {method} | " + " | ".join(row) + " |")
    return "\n".join(lines) + "\n"


def write_followed(path: Path, found: Sequence[FollowedObject]) -> None:
    """Keep what :func:`follow_fold` found."""
    write_whole(path, json.dumps([asdict(item) for item in found], indent=1).encode())


def read_followed(path: Path) -> list[FollowedObject]:
    """What :func:`write_followed` wrote."""
    return [FollowedObject(**row) for row in json.loads(path.read_text(encoding="utf-8"))]


def _mean(found: Sequence[FollowedObject], number: str) -> float | None:
    values = [item.numbers[number] for item in found]
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None


def _shown(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"
