"""A model bundle: a folder with two ONNX graphs and ``bundle.yaml``.

The graphs (see the architecture page of the README)::

    template_encoder.onnx  image (N,3,Ht,Wt) float32 RGB 0-255 -> kernel* (N,C,kh,kw)
    detector.onnx          frame (B,3,H,W), kernel* (V,C,kh,kw) -> score (B,V,h,w),
                           box (B,V,4,h,w) xyxy in network pixels, presence (B,V)

Normalisation and box decoding live inside the graphs, so every backend and head looks the
same from outside.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Dict, Optional, Tuple

import yaml

from refdet_core.calibration import Calibration
from refdet_core.errors import BundleError
from refdet_core.text_files import read_text

FORMAT_VERSION = 1
BUNDLES_FOLDER = Path(__file__).parent / "bundles"
DEFAULT_BUNDLE = BUNDLES_FOLDER / "default"
TEMPLATE_GRAPH = "template_encoder.onnx"
DETECTOR_GRAPH = "detector.onnx"
TORCH_WEIGHTS = "weights.pt"
DESCRIPTION = "bundle.yaml"


@dataclass(frozen=True)
class Bundle:
    """What ``bundle.yaml`` says, checked.

    Attributes:
        folder: where the files are.
        name, version: of the released model.
        frame_size: ``(width, height)`` the detector was trained at and uses by default.
        frame_multiple: any frame size whose sides are multiples of this works as well.
        stride: network pixels per heatmap cell.
        template_size: side in pixels of the template encoder's square input.
        template_context: SiamFC's context share around the object in that input.
        kernel_names: the template encoder's outputs, in order.
        kernel_shape: ``(C, kh, kw)`` of the first kernel.
        model: how the torch network is built (backbone, matcher, head ...).
        calibration: raw outputs to probability.
        score_threshold: the published threshold on that probability.
        sha256: of each file; checked by :func:`load_bundle` with ``verify=True``.
        training, scores: where the weights come from and how good they were measured to be.
    """

    folder: Path
    name: str
    version: str
    frame_size: Tuple[int, int]
    frame_multiple: int
    stride: float
    template_size: int
    template_context: float
    kernel_names: Tuple[str, ...]
    kernel_shape: Tuple[int, int, int]
    calibration: Calibration
    score_threshold: float
    model: Dict[str, Any] = field(default_factory=dict)
    sha256: Dict[str, str] = field(default_factory=dict)
    training: Dict[str, Any] = field(default_factory=dict)
    scores: Dict[str, Any] = field(default_factory=dict)

    @property
    def template_graph(self) -> Path:
        return self.folder / TEMPLATE_GRAPH

    @property
    def detector_graph(self) -> Path:
        return self.folder / DETECTOR_GRAPH

    @property
    def torch_weights(self) -> Path:
        return self.folder / TORCH_WEIGHTS


def load_bundle(folder: Optional[Path] = None, verify: bool = False) -> Bundle:
    """Read and check a bundle.

    Args:
        folder: the bundle's folder; None takes the released default.
        verify: also compare the files' sha256 with ``bundle.yaml``.

    Raises:
        BundleError: naming the file and what is wrong with it.
    """
    folder = Path(folder) if folder is not None else DEFAULT_BUNDLE
    description = folder / DESCRIPTION
    if not description.is_file():
        raise BundleError(
            f"'{folder}' is not a model bundle: it has no {DESCRIPTION}. Give the folder that "
            "'refdet-train export' wrote, or leave the option away for the released model."
        )
    try:
        content = yaml.safe_load(read_text(description))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise BundleError(f"{description} cannot be read as YAML: {error}") from error
    if not isinstance(content, dict):
        raise BundleError(f"{description} must hold a mapping, not {type(content).__name__}")
    version = content.pop("format", None)
    if version != FORMAT_VERSION:
        raise BundleError(
            f"{description} has bundle format {version}, this refdet reads format "
            f"{FORMAT_VERSION}; export the model again with this version."
        )
    bundle = _from_mapping(folder, content, description)
    for graph in (bundle.template_graph, bundle.detector_graph):
        if not graph.is_file():
            raise BundleError(f"The bundle '{folder}' lacks {graph.name}.")
    if verify:
        _verify(bundle)
    return bundle


def _from_mapping(folder: Path, content: Dict[str, Any], description: Path) -> Bundle:
    known = {item.name for item in fields(Bundle)} - {"folder"}
    unknown = sorted(set(content) - known)
    if unknown:
        raise BundleError(f"{description} has unknown keys {unknown}; known are {sorted(known)}.")
    try:
        content["calibration"] = Calibration(**content["calibration"])
        for name in ("frame_size", "kernel_names", "kernel_shape"):
            content[name] = tuple(content[name])
        return Bundle(folder=folder, **content)
    except (KeyError, TypeError) as error:
        raise BundleError(f"{description} is incomplete: {error}") from error


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
