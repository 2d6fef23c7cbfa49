"""A model bundle: a folder with two ONNX graphs and ``bundle.yaml``.

The graphs (see docs/architecture.md)::

    template_encoder.onnx  image (N,3,Ht,Wt) float32 RGB 0-255 -> kernel* (N,C,kh,kw)
    detector.onnx          frame (B,3,H,W), kernel* (V,C,kh,kw) -> score (B,V,h,w),
                           box (B,V,4,h,w) xyxy in network pixels, presence (B,V)

Normalisation and box decoding live inside the graphs, so every backend and head looks the
same from outside.
"""

from __future__ import annotations

import difflib
import hashlib
from dataclasses import dataclass, field, fields
from functools import cached_property
from pathlib import Path
from typing import Any, Callable, Dict, List, Mapping, Optional, Tuple, Type, TypeVar

import yaml

from refdet_core.calibration import Calibration
from refdet_core.cohort import Cohort, load_cohort
from refdet_core.crop_rule import CropRule
from refdet_core.errors import BundleError
from refdet_core.placement import AT_CELL, PLACEMENTS
from refdet_core.refinement_rule import LookWeights, RefinementRule
from refdet_core.text_files import read_text
from refdet_core.tracking_rule import TrackingRule

FORMAT_VERSION = 2
SEARCH, TRACK, COMPARE = "search", "track", "compare"
PURPOSES = (SEARCH, TRACK, COMPARE)
MEASURED, AS_TEMPLATE = "measured", "as_template"
BOX_SIZES = (MEASURED, AS_TEMPLATE)
CAMERA_BANDS = ("red", "green", "blue")
BUNDLES_FOLDER = Path(__file__).parent / "bundles"
DEFAULT_BUNDLE = BUNDLES_FOLDER / "base"
TEMPLATE_GRAPH = "template_encoder.onnx"
DETECTOR_GRAPH = "detector.onnx"
TORCH_WEIGHTS = "weights.pt"
DESCRIPTION = "bundle.yaml"


@dataclass(frozen=True)
class Bundle:
    """The checked content of ``bundle.yaml``.

    Attributes:
        folder: the bundle's folder.
        name, version: of the released model.
        frame_size: the detector's training and default input, ``(width, height)``.
        frame_multiple: frame sizes whose sides are multiples of this work as well ...
        least_side: ... from this side on: layers without padding need one for their first cell.
        stride: network pixels per heatmap cell.
        template_crop: how to cut the template encoder's square input out of a reference photo.
        tracking: the search window around a tracked target, and the post-processing in it.
        purposes: what the network was made for: to ``search`` a whole frame, which includes
            reporting that the object is not there, to ``track`` in a window, or to ``compare``: its
            template features tell how alike two pictures are, and its detector finds nothing.
        box_size: whether the network measures boxes. If not, boxes keep the object's size and shape
            in the template, and only several window sizes can tell its size (SiamFC).
        placement: which point of the frame a peak of the score map stands for, see
            :data:`refdet_core.placement.PLACEMENTS`.
        kernel_names: the template encoder's outputs, in order.
        kernel_shape: ``(C, kh, kw)`` of the first kernel.
        best_object_px: size at which the network finds objects best: square root of the box's
            area, network pixels.
        bands: what the network's input channels are, in their order. A camera gives
            :data:`CAMERA_BANDS`.
        dense: whether a window of the template's size gets the same score in a large frame as
            alone; only for networks that embed windows.
        model: how the torch network is built (backbone, matcher, head ...).
        calibration: raw outputs to probability.
        score_threshold: the published threshold on that probability.
        refinement: how a tracking network's second look changes candidates; None: no second look.
        sha256: of each file; checked by :func:`load_bundle` with ``verify=True``.
        training, scores: the origin of the weights and their measured quality.
    """

    folder: Path
    name: str
    version: str
    frame_size: Tuple[int, int]
    frame_multiple: int
    stride: float
    template_crop: CropRule
    kernel_names: Tuple[str, ...]
    kernel_shape: Tuple[int, int, int]
    calibration: Calibration
    score_threshold: float
    tracking: TrackingRule = field(default_factory=TrackingRule)
    purposes: Tuple[str, ...] = (SEARCH, TRACK)
    best_object_px: float = 48.0
    least_side: int = 1
    box_size: str = MEASURED
    placement: str = AT_CELL
    refinement: Optional[RefinementRule] = None
    bands: Tuple[str, ...] = CAMERA_BANDS
    dense: bool = False
    model: Dict[str, Any] = field(default_factory=dict)
    sha256: Dict[str, str] = field(default_factory=dict)
    training: Dict[str, Any] = field(default_factory=dict)
    scores: Dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        unknown = [name for name in self.purposes if name not in PURPOSES]
        if unknown or not self.purposes:
            raise BundleError(
                f"A bundle's purposes must be of {list(PURPOSES)}, got {list(self.purposes)}."
            )

        if self.box_size not in BOX_SIZES:
            raise BundleError(
                f"A bundle's box_size must be of {list(BOX_SIZES)}, got '{self.box_size}'."
            )
        if self.placement not in PLACEMENTS:
            raise BundleError(
                f"A bundle's placement must be of {list(PLACEMENTS)}, got '{self.placement}'."
            )

    @property
    def template_size(self) -> int:
        """Side in pixels of the template encoder's square input."""
        return self.template_crop.size

    def frame_side(self, px: int) -> int:
        """Smallest side of a frame that the network takes and that has at least ``px`` pixels."""
        return -(-max(px, self.least_side) // self.frame_multiple) * self.frame_multiple

    @cached_property
    def cohort(self) -> Optional[Cohort]:
        """What the second look compares cosines with; None: its rule does without.

        Raises:
            BundleError: the file cannot be read.
        """
        name = "" if self.refinement is None else self.refinement.cohort
        return load_cohort(self.folder / name) if name else None

    @property
    def template_graph(self) -> Path:
        return self.folder / TEMPLATE_GRAPH

    @property
    def detector_graph(self) -> Path:
        return self.folder / DETECTOR_GRAPH

    @property
    def torch_weights(self) -> Path:
        return self.folder / TORCH_WEIGHTS


def bundle_folder(name: Optional[Path]) -> Path:
    """Folder of a bundle that comes with refdet, by its name, or of one of your own.

    Args:
        name: ``base``, ``small``, … or a folder; None takes the released default.
    """
    if name is None:
        return DEFAULT_BUNDLE
    folder = Path(name).expanduser()
    released = BUNDLES_FOLDER / folder
    if not folder.is_dir() and len(folder.parts) == 1 and (released / DESCRIPTION).is_file():
        return released
    return folder


def check_camera(bundle: Bundle) -> None:
    """Refuse a bundle that needs other bands than a camera's colours.

    Raises:
        BundleError: it does.
    """
    if bundle.bands != CAMERA_BANDS:
        raise BundleError(
            f"The network of '{bundle.name}' takes the bands {', '.join(bundle.bands)}, a camera "
            f"gives {', '.join(CAMERA_BANDS)}; search images with 'refdet search-images', or train "
            "the recipe with model.network.bands: [red, green, blue]."
        )


def released_names(purpose: str = "") -> List[str]:
    """Names of the bundles that come with refdet; with ``purpose``, of those made for it (damaged
    ones are left out)."""
    names = sorted(path.parent.name for path in BUNDLES_FOLDER.glob(f"*/{DESCRIPTION}"))
    return [name for name in names if not purpose or _serves(name, purpose)]


def _serves(name: str, purpose: str) -> bool:
    try:
        return purpose in load_bundle(BUNDLES_FOLDER / name).purposes
    except BundleError:
        return False


def load_bundle(folder: Optional[Path] = None, verify: bool = False) -> Bundle:
    """Read and check a bundle.

    Args:
        folder: see :func:`bundle_folder`.
        verify: also compare the files' sha256 with ``bundle.yaml``.

    Raises:
        BundleError: a file is missing or invalid; the message names it.
    """
    folder = bundle_folder(folder)
    description = folder / DESCRIPTION
    if not description.is_file():
        near = difflib.get_close_matches(folder.name, released_names(), n=1)
        raise BundleError(
            f"'{folder}' is not a model bundle: it has no {DESCRIPTION}. "
            + (f"Did you mean '{near[0]}'? " if near and not folder.exists() else "")
            + "Give the folder that 'refdet-train export' wrote or, to search, one of the names "
            f"{released_names(SEARCH)}, or leave the option away for the released model."
        )
    try:
        content = yaml.safe_load(read_text(description))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise BundleError(f"{description} cannot be read as YAML: {error}") from error
    if not isinstance(content, dict):
        raise BundleError(f"{description} must hold a mapping, not {type(content).__name__}")
    version = content.pop("format", None)
    if version not in _UPGRADES:
        raise BundleError(
            f"{description} has bundle format {version}, this refdet reads the formats "
            f"{list(_UPGRADES)}; export the model again with this version."
        )
    bundle = _from_mapping(folder, _UPGRADES[version](content), description)
    for file in (bundle.template_graph, bundle.detector_graph):
        if not file.is_file():
            raise BundleError(f"The bundle '{folder}' lacks {file.name}.")
    bundle.cohort  # noqa: B018 - whether it can be read
    if verify:
        _verify(bundle)
    return bundle


def _upgrade_format_1(content: Dict[str, Any]) -> Dict[str, Any]:
    """Format 1 had a square template crop with a grey border, and one window for all networks."""
    size, context = content.pop("template_size", None), content.pop("template_context", None)
    if size is not None and context is not None:
        content["template_crop"] = {"size": size, "context": context}
    return content


_UPGRADES: Dict[Any, Callable[[Dict[str, Any]], Dict[str, Any]]] = {
    1: _upgrade_format_1,
    FORMAT_VERSION: lambda content: content,
}

Part = TypeVar("Part")


def _from_mapping(folder: Path, content: Dict[str, Any], description: Path) -> Bundle:
    known = {item.name for item in fields(Bundle)} - {"folder"}
    unknown = sorted(set(content) - known)
    if unknown:
        raise BundleError(f"{description} has unknown keys {unknown}; known are {sorted(known)}.")
    try:
        content["calibration"] = Calibration(**content["calibration"])
        content["template_crop"] = _part(CropRule, content["template_crop"])
        if "tracking" in content:
            tracking = dict(content["tracking"])
            if "window" in tracking:
                tracking["window"] = _part(CropRule, tracking["window"])
            content["tracking"] = _part(TrackingRule, tracking)
        if content.get("refinement") is not None:
            content["refinement"] = refinement_rule(content["refinement"])
        for name in ("frame_size", "kernel_names", "kernel_shape", "purposes", "bands"):
            if name in content:
                content[name] = tuple(content[name])
        return Bundle(folder=folder, **content)
    except (KeyError, TypeError) as error:
        raise BundleError(f"{description} is incomplete: {error}") from error
    except BundleError as error:
        raise BundleError(f"{description}: {error}") from error


def refinement_rule(content: Mapping[str, Any]) -> RefinementRule:
    """The rule that ``dataclasses.asdict`` made this mapping of.

    Raises:
        BundleError: it has something else in it.
    """
    weights = {
        name: _part(LookWeights, content[name])
        for name in ("same_camera", "other_photos", "followed")
        if content.get(name) is not None
    }
    return _part(RefinementRule, {**content, **weights})


def _part(kind: Type[Part], content: Dict[str, Any]) -> Part:
    """A mapping as the dataclass it describes."""
    known = {item.name for item in fields(kind)}  # type: ignore[arg-type]
    unknown = sorted(set(content) - known)
    if unknown:
        raise BundleError(f"a {kind.__name__} has no {unknown}; its settings are {sorted(known)}.")
    lists = {name: tuple(value) for name, value in content.items() if isinstance(value, list)}
    return kind(**{**content, **lists})


def _verify(bundle: Bundle) -> None:
    for name, expected in bundle.sha256.items():
        try:
            found = file_sha256(bundle.folder / name)
        except OSError as error:
            raise BundleError(
                f"{name} of bundle '{bundle.folder}' cannot be read: {error.strerror}."
            ) from error
        if found != expected:
            raise BundleError(
                f"{name} of bundle '{bundle.folder}' has sha256 {found[:12]}..., bundle.yaml says "
                f"{expected[:12]}...; the file is damaged or was exchanged."
            )


def file_sha256(path: Path) -> str:
    """Hex sha256 of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()
