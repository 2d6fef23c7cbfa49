"""How pairs are drawn, with the only definition of the defaults."""

from __future__ import annotations

from dataclasses import dataclass, fields

from refdet_core.errors import ConfigError
from refdet_core.imaging import BORDERS

MAX_REFERENCES = 5


@dataclass(frozen=True)
class WindowPairs:
    """Search views as a tracker sees them: a window cut around the object's last place.

    Attributes:
        context: smallest and largest of SiamFC's context share, drawn for each window.
        factor: side of the window divided by the side of the object with its context; 0: the object
            is as large as in the template (SiamFC: 255 / 127).
        shift_px: largest offset of the object from the window's middle on each axis, network
            pixels.
        scale: largest error of the window's side, as a share.
        template_shift_px, template_scale: the same of the template view.
        border: what fills windows outside the frame, see :data:`refdet_core.imaging.Border`.
    """

    context: tuple[float, float] = (0.5, 0.5)
    factor: float = 0.0
    shift_px: float = 64.0
    scale: float = 0.18
    template_shift_px: float = 4.0
    template_scale: float = 0.05
    border: str = "mean"

    def __post_init__(self) -> None:
        if not 0 <= self.context[0] <= self.context[1]:
            raise ConfigError(
                f"window.context is the least and the most share, got {list(self.context)}."
            )
        if not 0 <= self.scale < 1 or not 0 <= self.template_scale < 1:
            raise ConfigError(
                "window.scale and window.template_scale are shares below 1, got "
                f"{self.scale} and {self.template_scale}."
            )
        if self.border not in BORDERS:
            raise ConfigError(
                f"Unknown window.border '{self.border}'; valid are {', '.join(BORDERS)}."
            )


@dataclass(frozen=True)
class PairConfig:
    """How pairs are drawn.

    Attributes:
        img_size, template_size: network input sides.
        template_context: SiamFC's context share.
        references: minimum and maximum number of template views per pair, at most 5.
        max_gap: maximum number of frames between template and search view of one video; None: any.
        absent_share: share of pairs whose search view does not show the object.
        hard_share: share of these that shows a distractor instead.
        min_object_px, max_object_px: side (square root of the area) of the object in the search
            view, network pixels, drawn evenly in the logarithm.
        max_zoom: maximum network pixels per frame pixel.
        smallest_px: frames that show the object smaller than this are skipped; compression destroys
            it.
        synthetic_px: sides of pasted cut-outs, network pixels, drawn evenly in the logarithm.
        turn_share: share of search views turned a little, normally distributed with
            ``turn_degrees``.
        any_turn_share: share of search views turned by any angle. Boxes of large turns are loose
            and do not train the extents.
        tilt_share: share of search views in perspective.
        occluded_share: share of present objects that are partly hidden.
        window: cut search views as a tracker does, around the object at nearly one size, and
            neither turn nor blur templates; then the settings of sizes and scales above do not
            count. None: anywhere, at random sizes.
    """

    img_size: int = 256
    template_size: int = 128
    template_context: float = 0.5
    references: tuple[int, int] = (1, 5)
    max_gap: int | None = None
    absent_share: float = 0.3
    hard_share: float = 0.5
    min_object_px: float = 10.0
    max_object_px: float = 120.0
    max_zoom: float = 4.0
    smallest_px: float = 5.0
    synthetic_px: tuple[float, float] = (8.0, 110.0)
    turn_share: float = 0.25
    turn_degrees: float = 6.0
    any_turn_share: float = 0.25
    tilt_share: float = 0.1
    occluded_share: float = 0.1
    window: WindowPairs | None = None

    def __post_init__(self) -> None:
        for item in fields(self):
            value = getattr(self, item.name)
            if item.name.endswith("_share") and not 0 <= value <= 1:
                raise ConfigError(f"{item.name} is a share between 0 and 1, got {value}.")
        fewest, most = self.references
        if not 1 <= fewest <= most <= MAX_REFERENCES:
            raise ConfigError(
                "references are the fewest and the most template views of a pair, between 1 and "
                f"{MAX_REFERENCES}, got {list(self.references)}."
            )
        for name, (low, high) in {
            "min_object_px and max_object_px": (self.min_object_px, self.max_object_px),
            "synthetic_px": self.synthetic_px,
        }.items():
            if not 0 < low <= high <= self.img_size:
                raise ConfigError(
                    f"{name} must rise from above 0 to at most img_size {self.img_size}, got "
                    f"{low} and {high}."
                )
        if self.max_gap is not None and self.max_gap < 1:
            raise ConfigError(
                f"max_gap is at least one frame, or null for any; got {self.max_gap}."
            )
        if self.turn_share + self.any_turn_share > 1:
            raise ConfigError(
                "turn_share and any_turn_share are shares of the same search views; together "
                f"they are {self.turn_share + self.any_turn_share}, more than 1."
            )
