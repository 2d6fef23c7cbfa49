"""The settings of one benchmark run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from refdet_core.backends.config import BackendConfig
from refdet_core.bundle import Bundle, load_bundle
from refdet_core.detector import Detector
from refdet_core.detector_config import DetectorConfig

FRAME_SIZE = (1280, 720)


@dataclass(frozen=True)
class Settings:
    """How to measure.

    Attributes:
        bundle_folder: the model; None: the released one.
        backend: backend of all sections that do not compare backends.
        threads: CPU threads; 0: one for each core.
        rounds: number of rounds for every case.
        budget_s: a comparison ends after this time, but not before three rounds.
        node_seconds: seconds of steady flow at each rate of the node.
        data: folder with videos and ``weights``; sections that need it are skipped without it.
        frame_size: ``(width, height)`` of the sections that do not compare sizes.
        largest_frame: frame sizes are compared up to this one.
        most_tiles: numbers of tiles are compared up to this one.
    """

    bundle_folder: Path | None = None
    backend: str = "onnxruntime"
    threads: int = 0
    rounds: int = 20
    budget_s: float = 30.0
    node_seconds: float = 7.0
    data: Path = Path("../shared/data")
    frame_size: tuple[int, int] = FRAME_SIZE
    largest_frame: tuple[int, int] = (3840, 2160)
    most_tiles: int = 40

    @property
    def bundle(self) -> Bundle:
        return load_bundle(self.bundle_folder)

    def open(self, config: DetectorConfig) -> Detector:
        """The detector as a user gets it, with all its networks."""
        return Detector.open(self.bundle_folder, self.backend, config, self.backend_config)

    @property
    def backend_config(self) -> BackendConfig:
        return BackendConfig(threads=self.threads)
