"""The problems of a data set: counted and listed, not fatal, never silent."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

KINDS = {
    "frame_missing": "labelled frames without an image",
    "frame_unreadable": "damaged frames",
    "frame_size": "frames whose size differs from their labels",
    "video_unreadable": "videos that do not open",
    "video_ends_early": "videos that end before their labels do",
    "seek_inexact": "videos stored as JPEG because seeking does not find their frames",
    "box_clipped": "boxes partly outside the frame, clipped",
    "box_outside": "boxes outside the frame, dropped",
    "box_empty": "boxes without area, dropped",
    "box_not_a_number": "boxes with NaN or infinity, dropped",
    "label_malformed": "labels that cannot be understood",
    "label_skipped": "labels that are not of one object (crowd, ignored region, other detections)",
    "label_missing": "frames, pictures or videos without labels",
    "object_without_box": "objects without any usable box, left out",
    "duplicate_video": "videos whose name was taken already, left out",
}


@dataclass(frozen=True)
class Problem:
    """One problem.

    Attributes:
        kind: key of :data:`KINDS`.
        where: the file.
        frame: 0-based frame number; None: the whole file.
        detail: details, may be empty.
    """

    kind: str
    where: str
    frame: int | None = None
    detail: str = ""


class Problems:
    """Counts all problems and keeps the first ``examples_per_kind`` per kind."""

    def __init__(self, examples_per_kind: int = 20) -> None:
        self._limit = examples_per_kind
        self._counts: Counter[str] = Counter()
        self._examples: dict[str, list[Problem]] = {kind: [] for kind in KINDS}

    def add(self, kind: str, where: Path | str, frame: int | None = None, detail: str = "") -> None:
        """Count one problem."""
        self.extend([Problem(kind, str(where), frame, detail)])

    def extend(self, problems: Iterable[Problem]) -> None:
        """Add problems from an earlier run or another stage."""
        for problem in problems:
            examples = self._examples[problem.kind]
            self._counts[problem.kind] += 1
            if len(examples) < self._limit:
                examples.append(problem)

    def __len__(self) -> int:
        return sum(self._counts.values())

    def count(self, kind: str) -> int:
        """The number of problems of one kind."""
        return self._counts[kind]

    def summary(self) -> str:
        """All kinds in one line; empty without problems."""
        return "; ".join(f"{self._counts[kind]} {KINDS[kind]}" for kind in self._present())

    def as_json(self) -> dict[str, Any]:
        """Counts and examples by kind, for the manifest."""
        return {
            kind: {
                "meaning": KINDS[kind],
                "count": self._counts[kind],
                "examples": [vars(item) for item in self._examples[kind]],
            }
            for kind in self._present()
        }

    def _present(self) -> list[str]:
        return [kind for kind in KINDS if self._counts[kind]]
