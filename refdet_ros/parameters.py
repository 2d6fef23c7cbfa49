"""The node's parameters: its own, and all settings of the detector and the backend.

:class:`Settings` is the table. Its values are read once, replaced as a whole when a parameter
changes, and never fetched per frame.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass, field, fields, replace
from typing import Any, Dict, Iterable, List, Optional, Tuple, Type

from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor
from rclpy.exceptions import ParameterException
from rclpy.node import Node
from rclpy.parameter import Parameter

from refdet_core.attribute_docs import attribute_docs
from refdet_core.backends import BACKEND_NAMES
from refdet_core.backends.config import PRECISIONS, BackendConfig
from refdet_core.contrast import AUTO, check_contrast
from refdet_core.detector import DEFAULT_TEMPLATE_ID
from refdet_core.detector_config import DetectorConfig
from refdet_core.errors import BadReferenceError, ConfigError
from refdet_core.search.window import PERSISTENCE
from refdet_core.search_plans import SEARCH_NAMES
from refdet_core.template_id import check_template_id
from refdet_core.templates import POOLINGS
from refdet_core.tracking_bundles import AUTO as AUTO_TRACKING

IMAGE_TRANSPORTS = ("raw", "compressed")
IMAGE_QOS = ("sensor_data", "reliable", "system_default")

# `ros2 param describe` shows them and rclpy enforces them; the detector checks again itself.
_RANGES: Dict[str, Tuple[float, float]] = {
    "tile_width": (64, 16384),
    "tile_height": (64, 16384),
    "tile_overlap": (0, 16384),
    "tile_scale": (0, 4),
    "max_tiles_per_frame": (0, 10000),
    "score_threshold": (-1, 1),
    "max_detections": (1, 1000),
    "refine_candidates": (0, 100),
    "nms_iou": (0, 1),
    "track_context": (-1, 2),
    "track_search_ratio": (-1, 8),
    "track_window_px": (-1, 1024),
    "track_max_zoom": (-1, 8),
    "track_scales": (-1, 5),
    "track_scale_step": (-1, 2),
    "track_window_influence": (-1, 1),
    "track_penalty_k": (-1, 10),
    "track_size_lr": (-1, 1),
    "track_keep_score": (-1, 1),
    "track_keep_drop": (-1, 20),
    "track_update_s": (0, 3600),
    "track_verify_s": (0, 3600),
    "auto_start_score": (0, 1),
    "auto_confirm_score": (-1, 1),
    "auto_back_drop": (0, 20),
    "auto_confirm_frames": (1, 1000),
    "auto_confirm_of": (1, 1000),
    "auto_lost_s": (0, 3600),
    "auto_forget_s": (0, 3600),
    "auto_check_s": (0, 3600),
    "threads": (0, 1024),
    "engine_workspace_mb": (16, 65536),
    "engine_max_width": (64, 16384),
    "engine_max_height": (64, 16384),
    "engine_max_views": (1, 1000),
    "engine_max_tiles": (1, 1000),
    "engine_dla": (-1, 1),
}
_CHOICES = {
    "search": SEARCH_NAMES,
    "track_persistence": tuple(PERSISTENCE),
    "reference_pooling": POOLINGS,
    "precision": PRECISIONS,
}
# rclpy's own parameters, which a params file may contain as well.
_FOREIGN = ("use_sim_time", "start_type_description_service", "qos_overrides")


@dataclass(frozen=True)
class Option:
    """The description of a parameter besides its name, type and default.

    Attributes:
        running: may change at any time; otherwise only while the node is unconfigured.
        low, high: inclusive range of a number.
        choices: the valid values of a string.
        several: accepts a string array as well as a string.
    """

    default: Any
    description: str
    running: bool = False
    low: Optional[float] = None
    high: Optional[float] = None
    choices: Tuple[str, ...] = ()
    several: bool = False


def option(default: Any, description: str, **details: Any) -> Any:
    """A field of :class:`Settings`, in one line."""
    return field(default=default, metadata={"option": Option(default, description, **details)})


@dataclass(frozen=True)
class Settings(DetectorConfig, BackendConfig):
    """All parameters of the node ``detector`` and their defaults.

    The base classes define and describe those of the detector and the backend.
    """

    bundle: str = option(
        "auto",
        "Released model (base, small) or folder of a bundle; auto: base on a GPU, small on a CPU.",
    )
    tracking_bundle: str = option(
        AUTO_TRACKING,
        "Bundles of the networks that follow targets in their windows: names or folders joined by "
        "'+', auto (of those that come with refdet as many as this computer carries, beside "
        "refdet's own bundle), or none: the search network follows.",
    )
    backend: str = option("auto", "Backend that runs the network.", choices=BACKEND_NAMES)
    autostart: bool = option(
        True, "Configure and activate automatically, and retry until it works."
    )
    build_only: bool = option(
        False,
        "Open the model, which builds missing TensorRT engines, and end the process: "
        "with exit code 0, or 1 if that failed.",
    )
    enabled: bool = option(
        True, "Search incoming frames; false pauses and keeps the templates.", running=True
    )
    image_transport: str = option(
        "raw",
        "raw takes sensor_msgs/Image on 'image', compressed takes CompressedImage on "
        "'image/compressed'.",
        choices=IMAGE_TRANSPORTS,
    )
    image_qos: str = option(
        "sensor_data",
        "Quality of service of the image subscription; sensor_data (best effort) fits every "
        "publisher.",
        choices=IMAGE_QOS,
    )
    max_frame_age_s: float = option(
        0.0,
        "Drop frames whose stamp is older than this on the node's clock, seconds; 0 takes "
        "every frame.",
        running=True,
        low=0.0,
        high=3600.0,
    )
    contrast: str = option(
        AUTO,
        "How pictures of more than 8 bits (thermal, raw) become 8-bit, frames and photos alike: "
        "'auto' by the range in use, smoothed over time; 'full_range' by all values of their type; "
        "'LOW,HIGH' with these two values as black and white.",
        running=True,
    )
    template_path: Tuple[str, ...] = option(
        (),
        "Photo or photos of the object to look for from the start; several as an array or "
        "separated by ';'.",
        several=True,
    )
    template_roi: str = option(
        "",
        "Where the object is in template_path: X,Y,W,H in pixels; one for each photo, "
        "separated by ';'. "
        "Empty takes the whole photo.",
    )
    template_same_camera: bool = option(
        False,
        "Whether the photos in template_path are unscaled frames of this camera, or cut out of "
        "some: then the object is searched at the size it has there.",
    )
    template_id: str = option(DEFAULT_TEMPLATE_ID, "Name of the template made of template_path.")

    def __post_init__(self) -> None:
        DetectorConfig.__post_init__(self)
        BackendConfig.__post_init__(self)
        check_contrast(self.contrast)

    @property
    def detector(self) -> DetectorConfig:
        """The detector's settings."""
        return DetectorConfig(**self._values_of(DetectorConfig))

    @property
    def backend_config(self) -> BackendConfig:
        """The backend's settings."""
        return BackendConfig(**self._values_of(BackendConfig))

    def _values_of(self, config: Type[Any]) -> Dict[str, Any]:
        return {item.name: getattr(self, item.name) for item in fields(config)}


def _options_of(config: Type[Any], running: bool) -> Dict[str, Option]:
    """The settings of a dataclass as parameters."""
    said = attribute_docs(config)
    options = {}
    for item in fields(config):
        low, high = _RANGES.get(item.name, (None, None))
        choices = _CHOICES.get(item.name, ())
        options[item.name] = Option(item.default, said[item.name], running, low, high, choices)
    return options


OPTIONS: Dict[str, Option] = {
    **{i.name: i.metadata["option"] for i in fields(Settings) if "option" in i.metadata},
    **_options_of(DetectorConfig, running=True),
    **_options_of(BackendConfig, running=False),
}


def declare(node: Node) -> Settings:
    """Declare every parameter and return the initial values.

    Raises:
        ConfigError: a value from the command line, launch file or params file cannot be used.
    """
    return changed(Settings(), declare_options(node, OPTIONS))


def declare_options(node: Node, options: Dict[str, Option]) -> Dict[str, Any]:
    """Declare parameters, and return the values they start with by name.

    Raises:
        ConfigError: a value from the command line, launch file or params file cannot be used.
    """
    given: Dict[str, Any] = {}
    overrides = node._parameter_overrides
    for name, known in options.items():
        default = "" if known.several else known.default
        override = overrides.get(name)
        # Users write -p auto_lost_s:=1 for a float parameter.
        if isinstance(default, float) and override and override.type_ is Parameter.Type.INTEGER:
            overrides[name] = Parameter(name, value=float(override.value))
        try:
            given[name] = node.declare_parameter(name, default, _descriptor(name, known)).value
        except ParameterException as error:
            raise ConfigError(f"Parameter '{name}' cannot be used: {error}") from error
    return given


def changed(settings: Settings, values: Dict[str, Any]) -> Settings:
    """The settings with some values replaced.

    Raises:
        ConfigError: a value is not valid, or values do not fit together.
    """
    clean: Dict[str, Any] = {
        name: _several(name, value) if OPTIONS[name].several else value
        for name, value in values.items()
    }
    for name, value in clean.items():
        choices = OPTIONS[name].choices
        if choices and value not in choices:
            raise ConfigError(
                "{} cannot be '{}'; valid are {}.".format(name, value, ", ".join(choices))
            )
    result = replace(settings, **clean)
    try:
        check_template_id(result.template_id)
    except BadReferenceError as error:
        raise ConfigError(f"template_id cannot be used: {error}") from error
    return result


def check_changeable(settings: Settings, new: Settings, remedy: str) -> None:
    """Refuse changes that are possible only while the node is unconfigured.

    Args:
        remedy: how to change such a parameter, as the end of a sentence.

    Raises:
        ConfigError: naming the parameter and the remedy.
    """
    for name, known in OPTIONS.items():
        if not known.running and getattr(settings, name) != getattr(new, name):
            raise ConfigError(f"{name} can only change while the node is unconfigured: {remedy}")


def own_values(parameters: Iterable[Parameter]) -> Dict[str, Any]:
    """Name and value of the parameters in the table."""
    return {
        parameter.name: parameter.value for parameter in parameters if parameter.name in OPTIONS
    }


def unknown_names(given: Iterable[str]) -> List[str]:
    """A warning for each given name that does not exist (usually a typo)."""
    warnings = []
    for name in given:
        if name in OPTIONS or name.split(".")[0] in _FOREIGN:
            continue
        near = difflib.get_close_matches(name, OPTIONS, n=1)
        hint = f" Did you mean '{near[0]}'?" if near else ""
        warnings.append(f"There is no parameter '{name}', it is ignored.{hint}")
    return warnings


def _descriptor(name: str, known: Option) -> ParameterDescriptor:
    descriptor = ParameterDescriptor(
        name=name,
        description=known.description + ("" if known.running else " Only while unconfigured."),
        # Accepts a string or an array of strings; rclpy cannot declare two types.
        dynamic_typing=known.several,
    )
    if known.choices:
        descriptor.additional_constraints = "one of: " + ", ".join(known.choices)
    if known.low is not None and known.high is not None:
        if isinstance(known.default, float):
            descriptor.floating_point_range = [
                FloatingPointRange(from_value=float(known.low), to_value=float(known.high))
            ]
        else:
            descriptor.integer_range = [
                IntegerRange(from_value=int(known.low), to_value=int(known.high), step=1)
            ]
    return descriptor


def _several(name: str, value: Any) -> Tuple[str, ...]:
    """A string (parts separated by ';') or a sequence of strings as a tuple without empty parts."""
    parts: Any = value.split(";") if isinstance(value, str) else () if value is None else value
    if not (hasattr(parts, "__iter__") and all(isinstance(part, str) for part in parts)):
        raise ConfigError(f"{name} must be a string or an array of strings, got {value!r}.")
    return tuple(part.strip() for part in parts if part.strip())
