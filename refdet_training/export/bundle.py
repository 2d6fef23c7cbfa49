"""Writes a trained network as a model bundle: two ONNX graphs, torch weights, bundle.yaml."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
import yaml
from torch import Tensor, nn

from refdet_core.bundle import (
    AS_TEMPLATE,
    CAMERA_BANDS,
    DESCRIPTION,
    DETECTOR_GRAPH,
    FORMAT_VERSION,
    MEASURED,
    TEMPLATE_GRAPH,
    TORCH_WEIGHTS,
    Bundle,
    file_sha256,
)
from refdet_core.calibration import Calibration
from refdet_core.cohort import COHORT_FILE, load_cohort
from refdet_core.crop_rule import CropRule
from refdet_core.errors import BundleError
from refdet_core.model.config import EMBEDDING
from refdet_core.model.joined import Network, describe_network
from refdet_core.placement import AT_CELL
from refdet_core.refinement_rule import RefinementRule
from refdet_core.tracking_rule import TrackingRule
from refdet_training.export.dense import DENSE_TOLERANCE, dense_difference
from refdet_training.export.operators import check_bundle, refusal
from refdet_training.export.parity import PARITY_TOLERANCE, parity

OPSET = 13
"""The newest operator set without HardSwish, which TensorRT 8.4 handles inconsistently."""


class _TemplateGraph(nn.Module):
    def __init__(self, model: Network) -> None:
        super().__init__()
        self.model = model

    def forward(self, image: Tensor) -> Tensor:
        return self.model.encode_template(image)


def export_bundle(
    model: Network,
    output: Path,
    name: str,
    version: str,
    template_crop: CropRule | None = None,
    tracking: TrackingRule | None = None,
    placement: str | None = None,
    training: Mapping[str, Any] | None = None,
    allow_unsupported: bool = False,
) -> Bundle:
    """Write a bundle, check it, and return it. The same weights give the same graphs, bit for bit.

    Nothing in ``output`` changes before all checks have passed. Calibration and threshold are the
    identity until :func:`publish` sets fitted ones.

    Args:
        model: the network; put into eval mode.
        output: the bundle's folder; a bundle that is there is replaced.
        name, version: of the released model.
        template_crop: how templates were cut in training; None: SiamFC's crop.
        tracking: how it follows a target in a window; None: as refdet's own networks do.
        placement: of :data:`refdet_core.placement.PLACEMENTS`; None: ``upsampled`` where the
            network does not measure boxes, else ``cell``.
        training: the origin of the weights, for ``bundle.yaml``; plain data and paths. Absolute
            paths are reduced to their last part.
        allow_unsupported: also export graphs that TensorRT 8.4 would not take.

    Raises:
        BundleError: TensorRT 8.4 does not take the graphs (all reasons are listed), or ONNX Runtime
            and torch disagree by more than :data:`~refdet_training.export.parity.PARITY_TOLERANCE`.
    """
    model = model.eval()
    output.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{output.name}.", dir=output.parent) as workshop:
        folder = Path(workshop)
        kernel_shape = _write_graphs(model, folder)
        torch.save(model.state_dict(), folder / TORCH_WEIGHTS)
        template_crop = template_crop or CropRule(model.config.template_size)
        bundle = _describe(model, folder, name, version, template_crop, kernel_shape, training)
        if tracking is not None:
            bundle = replace(bundle, tracking=tracking, best_object_px=_object_px(tracking.window))
        elif bundle.box_size == AS_TEMPLATE:
            bundle = replace(bundle, best_object_px=_object_px(template_crop))
        bundle = replace(
            bundle,
            placement=placement or ("upsampled" if model.config.head == "score" else AT_CELL),
        )
        write_description(bundle)
        findings = check_bundle(bundle)
        if findings and not allow_unsupported:
            raise BundleError(refusal(findings))
        worst = parity(model, bundle)
        if not worst <= PARITY_TOLERANCE:  # also refuses NaN
            raise BundleError(
                f"ONNX Runtime differs from torch by {worst:.2g} (allowed {PARITY_TOLERANCE:g}); "
                "the exported graphs do not compute what was trained."
            )
        return move_bundle(bundle, output, TEMPLATE_GRAPH, DETECTOR_GRAPH, TORCH_WEIGHTS)


def move_bundle(bundle: Bundle, output: Path, *files: str) -> Bundle:
    """The bundle with these files and its description moved to a folder on the same disk."""
    output.mkdir(exist_ok=True)
    # The description is moved last, so that a half-written folder is not a bundle with wrong
    # hashes.
    (output / DESCRIPTION).unlink(missing_ok=True)
    for item in (*files, DESCRIPTION):
        (bundle.folder / item).replace(output / item)
    return replace(bundle, folder=output)


def publish(
    bundle: Bundle, calibration: Calibration, score_threshold: float, scores: dict[str, Any]
) -> Bundle:
    """The bundle with fitted calibration, threshold and measured scores, written to its folder."""
    published = replace(
        bundle, calibration=calibration, score_threshold=score_threshold, scores=scores
    )
    write_description(published)
    return published


def with_refinement(bundle: Bundle, rule: RefinementRule | None, folder: Path) -> Bundle:
    """The bundle with this rule of the second look, or none; its cohort is copied from ``folder``.

    Raises:
        BundleError: the cohort cannot be read.
    """
    if rule is not None and rule.cohort:
        load_cohort(folder / rule.cohort).save(bundle.folder / COHORT_FILE)
        rule = replace(rule, cohort=COHORT_FILE)
        hashes = {**bundle.sha256, COHORT_FILE: file_sha256(bundle.folder / COHORT_FILE)}
        bundle = replace(bundle, sha256=hashes)
    return replace(bundle, refinement=rule)


def write_description(bundle: Bundle) -> None:
    """Write ``bundle.yaml`` (plain types only, so that any YAML reader can take it)."""
    content: dict[str, Any] = {"format": FORMAT_VERSION}
    for key, value in asdict(bundle).items():
        if key != "folder":
            content[key] = _plain(value)
    (bundle.folder / DESCRIPTION).write_text(
        yaml.safe_dump(content, sort_keys=False, allow_unicode=True), encoding="utf-8"
    )


def _write_graphs(model: Network, folder: Path) -> tuple[int, int, int]:
    """Both ONNX files; returns the kernel's ``(C, kh, kw)``."""
    config = model.config
    image = torch.zeros(1, config.input_bands, config.template_size, config.template_size)
    frame = torch.zeros(1, config.input_bands, config.img_size, config.img_size)
    with torch.no_grad():
        kernel = model.encode_template(image)
    export_graph(
        _TemplateGraph(model),
        (image,),
        folder / TEMPLATE_GRAPH,
        ["image"],
        ["kernel"],
        {"image": {0: "N"}, "kernel": {0: "N"}},
    )
    export_graph(
        model,
        (frame, kernel),
        folder / DETECTOR_GRAPH,
        ["frame", "kernel"],
        ["score", "box", "presence"],
        {
            "frame": {0: "B", 2: "H", 3: "W"},
            "kernel": {0: "V"},
            "score": {0: "B", 1: "V", 2: "h", 3: "w"},
            "box": {0: "B", 1: "V", 3: "h", 4: "w"},
            "presence": {0: "B", 1: "V"},
        },
    )
    return int(kernel.shape[1]), int(kernel.shape[2]), int(kernel.shape[3])


def export_graph(
    module: nn.Module,
    inputs: tuple[Tensor, ...],
    path: Path,
    input_names: list[str],
    output_names: list[str],
    axes: dict[str, dict[int, str]],
) -> None:
    """Write a module as an ONNX file with the project's operator set.

    Args:
        axes: by input and output, the names of the sides that may vary.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module.eval(),
            inputs,
            str(path),
            input_names=input_names,
            output_names=output_names,
            dynamic_axes=axes,
            opset_version=OPSET,
            dynamo=False,
        )
    graph = onnx.load(str(path))
    _connect_constants(graph.graph)
    onnx.save(graph, str(path))
    onnx.checker.check_model(str(path))


def _connect_constants(graph: Any) -> None:
    """Undo torch's merging of equal weights, which hides all but one behind an Identity node.

    TensorRT 8.4 does not look through Identity and then misses a convolution's weights or bias.
    """
    stored = {item.name for item in graph.initializer}
    hidden = {
        node.output[0]: node.input[0]
        for node in graph.node
        if node.op_type == "Identity" and node.input[0] in stored
    }
    for node in graph.node:
        node.input[:] = [hidden.get(name, name) for name in node.input]
    results = {item.name for item in graph.output}
    for node in list(graph.node):
        if node.op_type == "Identity" and hidden.keys() - results >= set(node.output):
            graph.node.remove(node)


def _describe(
    model: Network,
    folder: Path,
    name: str,
    version: str,
    template_crop: CropRule,
    kernel_shape: tuple[int, int, int],
    training: Mapping[str, Any] | None,
) -> Bundle:
    config = model.config
    multiple = config.frame_multiple
    side = -(-config.img_size // multiple) * multiple  # 255 without padding is 256 with a spare one
    files = (TEMPLATE_GRAPH, DETECTOR_GRAPH, TORCH_WEIGHTS)
    return Bundle(
        folder=folder,
        name=name,
        version=version,
        frame_size=(side, side),
        frame_multiple=multiple,
        least_side=(1 + sum(model.grid.missing)) * multiple,
        stride=config.stride,
        template_crop=template_crop,
        kernel_names=("kernel",),
        kernel_shape=kernel_shape,
        calibration=Calibration(),
        score_threshold=0.5,
        box_size=AS_TEMPLATE if config.head == "score" else MEASURED,
        bands=tuple(config.bands) or CAMERA_BANDS,
        dense=config.neck == EMBEDDING and dense_difference(model) <= DENSE_TOLERANCE,
        model=describe_network(model),
        sha256={item: file_sha256(folder / item) for item in files},
        training=_without_folders(dict(training or {})),
    )


def _object_px(window: CropRule) -> float:
    """Side of a square object in a crop cut around it, network pixels: what it learned from."""
    return window.size / (window.factor * (1 + 2 * window.context))


def _without_folders(value: Any) -> Any:
    """Paths of the training machine must not be published."""
    if isinstance(value, Mapping):
        return {key: _without_folders(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_without_folders(item) for item in value]
    if isinstance(value, (str, Path)):
        return Path(value).name if Path(value).is_absolute() else str(value)
    return value


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value.item() if isinstance(value, np.generic) else value
