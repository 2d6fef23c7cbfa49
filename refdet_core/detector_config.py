"""The settings of a detector."""

from __future__ import annotations

from dataclasses import dataclass

from refdet_core.bundle import Bundle
from refdet_core.errors import ConfigError
from refdet_core.search.scales import AUTOMATIC_SCALE, MAX_SCALE, MIN_SCALE
from refdet_core.search.track_state import AutoConfig
from refdet_core.templates import POOLINGS


@dataclass(frozen=True)
class DetectorConfig(AutoConfig):
    """How to search and what to report, including the settings for tracking.

    Attributes:
        search: ``tiles`` and ``full_frame`` search each frame independently; ``track`` tracks a
            target in a window and searches the frame while it is lost; ``auto`` also checks the
            frame while it tracks.
        tile_width, tile_height: largest tile in network pixels.
        tile_overlap: minimum overlap of neighbouring tiles in network pixels.
        tile_scale: network pixels per frame pixel for every object, 0.25 to 4; 0: each object at
            the size the network finds best, see :mod:`refdet_core.search.scales`.
        max_tiles_per_frame: maximum number of tiles per frame, all scales together; the others
            follow in the next frames; 0: all.
        score_threshold: minimum probability of a detection found by a search of the whole frame;
            negative: the bundle's own threshold.
        max_detections: maximum number of detections per template and frame.
        refine_candidates: the best so many candidates of a search of the whole frame are looked at
            again by the tracking network, which draws tighter boxes; 0: none.
        nms_iou: boxes of one template that overlap more than this count as one object.
        reference_pooling: ``prototype`` (mean of the references) or ``best_view``.
    """

    search: str = "tiles"
    tile_width: int = 1280
    tile_height: int = 736
    tile_overlap: int = 128
    tile_scale: float = AUTOMATIC_SCALE
    max_tiles_per_frame: int = 0
    score_threshold: float = -1.0
    max_detections: int = 1
    refine_candidates: int = 3
    nms_iou: float = 0.3
    reference_pooling: str = "prototype"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.max_tiles_per_frame < 0:
            raise ConfigError(
                f"max_tiles_per_frame must be 0 (all) or more, got {self.max_tiles_per_frame}."
            )
        if self.score_threshold > 1:
            raise ConfigError(f"score_threshold must be at most 1, got {self.score_threshold}.")
        if self.max_detections < 1:
            raise ConfigError(f"max_detections must be at least 1, got {self.max_detections}.")
        if self.refine_candidates < 0:
            raise ConfigError(
                f"refine_candidates must be 0 (none) or more, got {self.refine_candidates}."
            )
        if not 0 <= self.nms_iou <= 1:
            raise ConfigError(f"nms_iou must be between 0 and 1, got {self.nms_iou}.")
        if min(self.tile_width, self.tile_height) < 64:
            raise ConfigError(
                f"A tile must be at least 64x64 px, got {self.tile_width}x{self.tile_height}."
            )
        if not 0 <= self.tile_overlap < min(self.tile_width, self.tile_height):
            raise ConfigError(
                "tile_overlap must be at least 0 and less than the tile's shorter side, got "
                f"{self.tile_overlap}."
            )
        if self.tile_scale != AUTOMATIC_SCALE and not MIN_SCALE <= self.tile_scale <= MAX_SCALE:
            raise ConfigError(
                f"tile_scale must be 0 (automatic) or between {MIN_SCALE:g} and {MAX_SCALE:g}, got "
                f"{self.tile_scale}."
            )
        if self.reference_pooling not in POOLINGS:
            raise ConfigError(
                "Unknown reference_pooling '{}'; valid are {}.".format(
                    self.reference_pooling, ", ".join(POOLINGS)
                )
            )

    def threshold(self, bundle: Bundle) -> float:
        """The score threshold: the configured one, else the bundle's."""
        return self.score_threshold if self.score_threshold >= 0 else bundle.score_threshold
