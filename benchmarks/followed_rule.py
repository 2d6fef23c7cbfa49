"""Fits when a followed target counts as still there: ``refinement.followed`` of a search bundle.

    python -m benchmarks.followed_rule --data ../shared/data --out-of-fold DIR

Every target is followed from its true first box and never given up, until the video goes on with
frames of another place. What the search network says there, and how alike the box is to the
references and to recent views, tells whether the box is still on the target. ``DIR/foldN`` holds
bundles that have not seen the places of fold N; each fold's frames are then judged by weights that
were fitted on the other folds.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from sklearn.linear_model import LogisticRegression
from tqdm import tqdm

from benchmarks.tracking.footage import Choice, Footage, load_footage
from benchmarks.tracking.refdet import RefdetTrack
from benchmarks.tracking.sequences import (
    REMOVED,
    TRACKING,
    BenchmarkSequence,
    ScenarioSettings,
    build_sequences,
)
from refdet_core.detector import DEFAULT_TEMPLATE_ID
from refdet_core.detector_config import DetectorConfig
from refdet_core.errors import RefdetError, SourceError
from refdet_core.frame_inference import NetworkSearchFrame
from refdet_core.metrics import box_iou
from refdet_core.refinement_rule import LookWeights
from refdet_core.search.refinement import followed_evidence, reference_views, view_of
from refdet_core.search.verification import candidates_at, no_views
from refdet_core.tracking_bundles import BEST
from refdet_training.datasets.splits import read_splits
from refdet_training.evaluation.second_looks import look_weights

_EVERY_S = 0.2  # between two looks
_ON_TARGET, _OFF_TARGET, _VIEW = 0.3, 0.05, 0.5  # IoU; boxes in between teach nothing
_ABSENT_SHARE = 0.7  # of the weight of wrong boxes; the rest is on something else in the same video


@dataclass(frozen=True)
class Look:
    """One look at the box of a followed target.

    Attributes:
        fold: of its place.
        kind: ``right``, ``absent`` or ``drifted``; empty: in between.
        evidence: see :func:`refdet_core.refinement_rule.evidence`, ``(5,)``.
    """

    fold: str
    kind: str
    evidence: np.ndarray


def looks_at(method: RefdetTrack, sequence: BenchmarkSequence, fold: str) -> list[Look]:
    """Follow one target to the end and look at it now and then."""
    detector = method.detector
    views = no_views()
    found: list[Look] = []
    method.start(sequence.read(0), sequence.start_xyxy)
    looked_s = 0.0
    for index in range(1, len(sequence.frames)):
        frame_bgr, time_s = sequence.read(index), sequence.time_s(index)
        box_xyxy = method.update(frame_bgr, time_s).box_xyxy
        if box_xyxy is None or time_s - looked_s < _EVERY_S - 1e-6:
            continue
        looked_s = time_s
        frame = NetworkSearchFrame(
            detector.backend, detector.bundle, detector.bank, frame_bgr, time_s, detector.others
        )
        if frame.refiner is None:
            raise SourceError(f"{detector.bundle.folder} has no refinement; publish it with one.")
        here = candidates_at(frame, DEFAULT_TEMPLATE_ID, box_xyxy, detector.config)
        view = view_of(frame.refiner, box_xyxy)
        known = reference_views(frame.refiner, DEFAULT_TEMPLATE_ID).with_views(views)
        row = followed_evidence(float(here.scores.max(initial=0.0)), view, known)[0]
        truth = sequence.frames[index].truth_xyxy
        overlap = box_iou(box_xyxy, truth) if truth is not None else 0.0
        if overlap >= _VIEW:
            views.append(view)
        found.append(Look(fold, _kind(sequence.frames[index].elsewhere, overlap), row))
    return found


def _kind(elsewhere: bool, overlap: float) -> str:
    if elsewhere:
        return "absent"
    return "right" if overlap >= _ON_TARGET else "drifted" if overlap < _OFF_TARGET else ""


def fitted(looks: Sequence[Look]) -> LookWeights:
    """Logistic regression; right boxes weigh as much as wrong ones."""
    used = [look for look in looks if look.kind]
    rows = np.array([look.evidence for look in used])
    right = np.array([look.kind == "right" for look in used])
    counts = {kind: sum(look.kind == kind for look in used) for kind in ("absent", "drifted")}
    shares = {"absent": _ABSENT_SHARE, "drifted": 1 - _ABSENT_SHARE}
    weights = np.array(
        [
            1 / right.sum() if look.kind == "right" else shares[look.kind] / counts[look.kind]
            for look in used
        ]
    )
    spread = np.maximum(rows.std(axis=0), 1e-3)
    weights *= len(weights) / weights.sum()
    model = LogisticRegression(C=1.0).fit(rows / spread, right, sample_weight=weights)
    return look_weights(model.coef_[0] / spread, float(model.intercept_[0]))


def report(looks: Sequence[Look]) -> str:
    """How many boxes of each kind count as the target, by weights of the other folds."""
    counted: dict[str, list[bool]] = {"right": [], "absent": [], "drifted": []}
    for fold in sorted({look.fold for look in looks}):
        weights = fitted([look for look in looks if look.fold != fold])
        for look in looks:
            if look.fold == fold and look.kind:
                counted[look.kind].append(bool(weights(look.evidence) >= 0.5))
    lines = ["| box | looks | counted as the target |", "|---|---|---|"]
    lines += [f"| {kind} | {len(n)} | {np.mean(n):.3f} |" for kind, n in counted.items() if n]
    return "\n".join(lines)


def measure(options: argparse.Namespace) -> list[Look]:
    """Look at every target of every fold.

    Raises:
        RefdetError: there is no data, or a bundle cannot be used.
    """
    cv2.setNumThreads(1)
    source = "aerial_sequences"
    footages: list[Footage] = []
    for split in ("train", "val"):
        footages += load_footage(Choice(options.data, (source,), split))[0]
    settings = ScenarioSettings(removed_after=50, removed_frames=40)
    config = DetectorConfig(track_persistence="stubborn")
    looks: list[Look] = []
    for fold, videos in read_splits(options.data / "places.json", (source,)).items():
        own = [footage for footage in footages if footage.video_id in videos]
        method = RefdetTrack(options.out_of_fold / fold, config, BEST)
        try:
            for sequence in tqdm(
                build_sequences(own, footages, (TRACKING, REMOVED), settings), desc=fold
            ):
                looks += looks_at(method, sequence, fold)
        finally:
            method.close()
    return looks


def main() -> None:
    """Measure, print the table and the weights."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.followed_rule",
        description="Fits when a followed target counts as still there.",
    )
    parser.add_argument("--data", type=Path, required=True, help="folder of the data sets")
    parser.add_argument(
        "--out-of-fold", type=Path, required=True, metavar="DIR",
        help="DIR/foldN: a bundle that has not seen the places of fold N",
    )  # fmt: skip
    options = parser.parse_args()
    try:
        looks = measure(options)
    except RefdetError as error:
        raise SystemExit(f"error: {error}") from error
    print(report(looks))
    print(fitted(looks))


if __name__ == "__main__":
    main()
