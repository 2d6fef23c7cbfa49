"""Search plans by name: where in a frame to look."""

from __future__ import annotations

from typing import TYPE_CHECKING, Callable, Dict

from refdet_core.bundle import Bundle
from refdet_core.errors import ConfigError
from refdet_core.search.base import SearchPlan
from refdet_core.search.full_frame import FullFrame
from refdet_core.search.tiles import Tiles

if TYPE_CHECKING:
    from refdet_core.detector import DetectorConfig

_PLANS: Dict[str, Callable[[Bundle, DetectorConfig], SearchPlan]] = {
    "full_frame": lambda bundle, config: FullFrame(bundle.frame_size),
    "tiles": lambda bundle, config: Tiles(
        (config.tile_width, config.tile_height),
        config.tile_overlap,
        bundle.frame_multiple,
        config.tile_scale,
    ),
}
_NOT_YET = ("track", "auto")
SEARCH_NAMES = tuple(_PLANS) + _NOT_YET


def make_search_plan(bundle: Bundle, config: DetectorConfig) -> SearchPlan:
    """Build the plan that ``config.search`` names.

    Raises:
        ConfigError: unknown name, or a plan that is not available yet.
    """
    if config.search in _NOT_YET:
        raise ConfigError(
            f"The search plan '{config.search}' is not available yet; use tiles or full_frame."
        )
    if config.search not in _PLANS:
        raise ConfigError(
            "Unknown search plan '{}'; valid are {}.".format(config.search, ", ".join(SEARCH_NAMES))
        )
    return _PLANS[config.search](bundle, config)
