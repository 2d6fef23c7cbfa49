"""The search plans by name."""

from __future__ import annotations

from dataclasses import replace
from typing import Callable, Dict

from refdet_core.bundle import Bundle
from refdet_core.detector_config import DetectorConfig
from refdet_core.errors import ConfigError
from refdet_core.search.base import SearchPlan
from refdet_core.search.full_frame_search import FullFrameSearch
from refdet_core.search.single_tile import SingleTile
from refdet_core.search.tile_pyramid import TilePyramid
from refdet_core.search.tiling import TilingChoice
from refdet_core.search.track_state import LONGEST_S
from refdet_core.search.tracking_plan import TrackingPlan

# A check of the whole frame while TRACKING looks at one tile of each frame, so that no frame waits.
_CHECK_TILE_PX, _CHECK_OVERLAP_PX = 448, 96


def _full_frame_search(
    choose_tilings: TilingChoice, bundle: Bundle, config: DetectorConfig
) -> FullFrameSearch:
    return FullFrameSearch(
        choose_tilings,
        config.nms_iou,
        config.threshold(bundle),
        config.max_detections,
        config.max_tiles_per_frame,
        config.refine_candidates,
    )


def _full_frame_plan(bundle: Bundle, config: DetectorConfig) -> SearchPlan:
    tiling = SingleTile(bundle.frame_size)
    return _full_frame_search(lambda frame_size, expected: (tiling,), bundle, config)


def _tiles_plan(bundle: Bundle, config: DetectorConfig) -> FullFrameSearch:
    pyramid = TilePyramid(
        (config.tile_width, config.tile_height),
        config.tile_overlap,
        bundle.frame_multiple,
        config.tile_scale,
        bundle.best_object_px,
        bundle.frame_side(1),
    )
    return _full_frame_search(pyramid, bundle, config)


def _track_plan(bundle: Bundle, config: DetectorConfig) -> SearchPlan:
    # The box that started it is trusted: no search of the whole frame questions it.
    return _auto_plan(bundle, replace(config, auto_check_s=0.0, auto_forget_s=LONGEST_S))


def _auto_plan(bundle: Bundle, config: DetectorConfig) -> SearchPlan:
    settings = config
    if config.auto_confirm_score < 0:
        settings = replace(config, auto_confirm_score=config.threshold(bundle))
    check = replace(
        config,
        tile_width=min(config.tile_width, _CHECK_TILE_PX),
        tile_height=min(config.tile_height, _CHECK_TILE_PX),
        tile_overlap=min(config.tile_overlap, _CHECK_OVERLAP_PX),
        max_tiles_per_frame=1,
        refine_candidates=0,  # suspects are examined in their windows
    )
    return TrackingPlan(_tiles_plan(bundle, config), _tiles_plan(bundle, check), settings)


_PLANS: Dict[str, Callable[[Bundle, DetectorConfig], SearchPlan]] = {
    "full_frame": _full_frame_plan,
    "tiles": _tiles_plan,
    "track": _track_plan,
    "auto": _auto_plan,
}
SEARCH_NAMES = tuple(_PLANS)
TRACKING_SEARCHES = ("track", "auto")
"""The searches that track a target and can start from a box."""


def make_search_plan(bundle: Bundle, config: DetectorConfig) -> SearchPlan:
    """Build the plan that ``config.search`` names.

    Raises:
        ConfigError: unknown name.
    """
    if config.search not in _PLANS:
        raise ConfigError(
            "Unknown search '{}'; valid are {}.".format(config.search, ", ".join(SEARCH_NAMES))
        )
    return _PLANS[config.search](bundle, config)
