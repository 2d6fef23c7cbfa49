"""The settings of one run, and its clock."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path

from refdet_core.bundle import Bundle, load_bundle

FRAME_SIZE = (1280, 720)
SEARCH_BUNDLES = ("base", "small")
BUNDLES = (*SEARCH_BUNDLES, "lighttrack", "fear")


@dataclass(frozen=True)
class Settings:
    """How to measure.

    Attributes:
        footage: folder that :mod:`benchmarks.gpu.footage` wrote; drawn scenes if it is not there.
        work: folder for engines and compiled files.
        budget_s: no case starts after this time.
        rounds: number of rounds for every timed case.
        bundles: names or folders; the first ones matter most.
        template_counts: numbers of templates whose speed is compared.
        dry_run: what needs a GPU is imported but not run.
    """

    footage: Path = Path("runs/gpu/footage")
    work: Path = Path("runs/gpu/work")
    budget_s: float = 450.0
    rounds: int = 30
    bundles: tuple[str, ...] = BUNDLES
    template_counts: tuple[int, ...] = (1, 5, 10, 20)
    dry_run: bool = False
    began: float = field(default_factory=time.monotonic)

    @property
    def left_s(self) -> float:
        """Seconds until no further case starts."""
        return self.budget_s - (time.monotonic() - self.began)

    def loaded(self, purpose: str = "") -> list[Bundle]:
        """The bundles; with a purpose, those that were made for it."""
        bundles = [load_bundle(Path(name)) for name in self.bundles]
        return [bundle for bundle in bundles if not purpose or purpose in bundle.purposes]
