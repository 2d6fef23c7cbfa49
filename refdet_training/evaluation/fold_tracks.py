"""Following in cross-validation: every object of a fold, through its longest run of frames."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import numpy as np

from refdet_core.detector_config import DetectorConfig
from refdet_core.refinement_rule import SEPARATOR
from refdet_core.tracking_bundles import BEST
from refdet_training.datasets.index import load_instances, load_splits, prepared_sources
from refdet_training.datasets.splits import fold_split
from refdet_training.datasets.whole_files import write_whole
from refdet_training.evaluation.following import (
    AUTOMATIC,
    TRACK,
    FollowingDetector,
    trackers_alone,
)
from refdet_training.evaluation.tracking_numbers import summarise
from refdet_training.evaluation.tracking_protocol import Tracker, TrackingProtocol, run_tracking

OpenTracker = Callable[[], FollowingDetector]
NUMBERS = ("success_auc", "precision_20px", "st_iou")
"""Of :func:`~refdet_training.evaluation.tracking_numbers.summarise`."""


@dataclass(frozen=True)
class FollowedObject:
    """How one object was followed; None: there is no such number."""

    video_id: str
    object_id: str
    numbers: dict[str, float | None]


def followers(
    searching: Mapping[str, Mapping[int, Path]],
    folds: Sequence[int],
    fps: float,
    config: DetectorConfig,
) -> dict[str, dict[int, OpenTracker]]:
    """What is measured: the searches ``track`` and ``auto`` with each search network and the
    published trackers, and these trackers alone.

    Args:
        searching: search network by name and fold.
        fps: of the videos, frames a second.
        config: of the searches.
    """
    found: dict[str, dict[int, OpenTracker]] = {}
    for name, by_fold in searching.items():
        for search in (TRACK, AUTOMATIC):
            found[f"{name} {search}"] = {
                fold: partial(FollowingDetector, bundle, search, fps, config, BEST)
                for fold, bundle in by_fold.items()
            }
    for names in (*BEST.split(SEPARATOR), BEST):
        alone, stubborn, together = trackers_alone(names)
        opened = partial(FollowingDetector, alone, TRACK, fps, stubborn, together)
        found[names] = dict.fromkeys(folds, opened)
    return found


def follow_all(
    methods: Mapping[str, Mapping[int, OpenTracker]], prepared: Path, output: Path
) -> dict[str, dict[int, list[FollowedObject]]]:
    """Follow every fold's objects with every method. What ``output`` holds already is kept."""
    followed: dict[str, dict[int, list[FollowedObject]]] = {}
    for name, by_fold in methods.items():
        followed[name] = {}
        for fold, opened in by_fold.items():
            file = "tracks_" + name.replace(" ", "_") + ".json"
            kept = output / fold_split(fold) / file
            if not kept.is_file():
                tracker = opened()
                try:
                    found = _follow_fold(tracker, prepared, fold, f"{name}, fold {fold}")
                finally:
                    tracker.close()
                write_whole(kept, json.dumps([asdict(item) for item in found], indent=1).encode())
            rows = json.loads(kept.read_text(encoding="utf-8"))
            followed[name][fold] = [FollowedObject(**row) for row in rows]
    return followed


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


def _follow_fold(tracker: Tracker, prepared: Path, fold: int, label: str) -> list[FollowedObject]:
    """Follow the fold's objects, each from the first frame that shows it."""
    name = fold_split(fold)
    held_out = [
        source for source in prepared_sources(prepared) if load_splits(prepared / source).get(name)
    ]
    instances = load_instances(prepared, name, held_out)
    tracks, _ = run_tracking(tracker, instances, TrackingProtocol(), label)
    return [
        FollowedObject(
            track.video_id, track.object_id, {number: numbers[number] for number in NUMBERS}
        )
        for track, numbers in ((track, summarise([track])) for track in tracks)
    ]


def _mean(found: Sequence[FollowedObject], number: str) -> float | None:
    values = [item.numbers[number] for item in found]
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None


def _shown(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"
