"""A checkpoint to a model bundle: two ONNX graphs, torch weights, bundle.yaml; parity checked."""

from __future__ import annotations

import warnings
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
import yaml
from torch import Tensor, nn

from refdet_core.backends.onnxruntime import OnnxRuntimeBackend
from refdet_core.bundle import (
    DESCRIPTION,
    DETECTOR_GRAPH,
    FORMAT_VERSION,
    TEMPLATE_GRAPH,
    TORCH_WEIGHTS,
    Bundle,
    file_sha256,
    load_bundle,
)
from refdet_core.calibration import Calibration
from refdet_core.errors import BundleError
from refdet_core.model.siamese import Siamese

OPSET = 13
"""TensorRT 8.4 reads opset 13 without decomposing anything; HardSwish (14) it does not know."""
PARITY_TOLERANCE = 2e-3


class _TemplateGraph(nn.Module):
    def __init__(self, model: Siamese) -> None:
        super().__init__()
        self.model = model

    def forward(self, image: Tensor) -> Tensor:
        return self.model.encode_template(image)


def export_bundle(
    model: Siamese,
    output: Path,
    name: str,
    version: str,
    template_context: float = 0.5,
    training: dict[str, Any] = {},  # noqa: B006 - never changed
) -> Bundle:
    """Write a bundle, check its parity with the torch model, and return it.

    Calibration and threshold are the identity until :func:`describe` sets fitted ones.

    Raises:
        BundleError: ONNX Runtime and torch disagree by more than :data:`PARITY_TOLERANCE`.
    """
    model = model.eval()
    output.mkdir(parents=True, exist_ok=True)
    config = model.config
    image = torch.rand(1, 3, config.template_size, config.template_size) * 255
    frame = torch.rand(1, 3, config.img_size, config.img_size) * 255
    with torch.no_grad():
        kernel = model.encode_template(image)
    _export(
        _TemplateGraph(model),
        (image,),
        output / TEMPLATE_GRAPH,
        ["image"],
        ["kernel"],
        {"image": {0: "N"}, "kernel": {0: "N"}},
    )
    frame_axes = {0: "B", 2: "H", 3: "W"}
    map_axes = {0: "B", 1: "V", 2: "h", 3: "w"}
    axes = {
        "frame": frame_axes,
        "kernel": {0: "V"},
        "score": map_axes,
        "box": {0: "B", 1: "V", 3: "h", 4: "w"},
        "presence": {0: "B", 1: "V"},
    }
    _export(
        model,
        (frame, kernel),
        output / DETECTOR_GRAPH,
        ["frame", "kernel"],
        ["score", "box", "presence"],
        axes,
    )
    torch.save(model.state_dict(), output / TORCH_WEIGHTS)
    bundle = Bundle(
        folder=output,
        name=name,
        version=version,
        frame_size=(config.img_size, config.img_size),
        frame_multiple=config.strides[-1],
        stride=config.stride,
        template_size=config.template_size,
        template_context=template_context,
        kernel_names=("kernel",),
        kernel_shape=(int(kernel.shape[1]), int(kernel.shape[2]), int(kernel.shape[3])),
        calibration=Calibration(),
        score_threshold=0.5,
        model=asdict(config),
        sha256={
            item: file_sha256(output / item)
            for item in (TEMPLATE_GRAPH, DETECTOR_GRAPH, TORCH_WEIGHTS)
        },
        training=training,
    )
    write_description(bundle)
    worst = parity(model, load_bundle(output))
    if worst > PARITY_TOLERANCE:
        raise BundleError(
            f"ONNX Runtime differs from torch by {worst:.2g} (allowed {PARITY_TOLERANCE:g})."
        )
    return bundle


def write_description(bundle: Bundle) -> None:
    """Write ``bundle.yaml`` (plain types only, so that any YAML reader can take it)."""
    content: dict[str, Any] = {"format": FORMAT_VERSION}
    for key, value in asdict(bundle).items():
        if key != "folder":
            content[key] = _plain(value)
    (bundle.folder / DESCRIPTION).write_text(
        yaml.safe_dump(content, sort_keys=False, allow_unicode=True), encoding="utf-8"
    )


def publish(
    bundle: Bundle, calibration: Calibration, score_threshold: float, scores: dict[str, Any]
) -> Bundle:
    """The bundle with fitted calibration, threshold and measured scores, written to its folder."""
    published = replace(
        bundle, calibration=calibration, score_threshold=score_threshold, scores=scores
    )
    write_description(published)
    return published


def parity(model: Siamese, bundle: Bundle) -> float:
    """Largest difference between torch and ONNX Runtime on random input, over scores, presence and
    boxes (in units of the stride), at a size and batch the export did not see."""
    generator = torch.Generator().manual_seed(0)
    size = model.config.template_size
    images = torch.rand(3, 3, size, size, generator=generator) * 255
    multiple = bundle.frame_multiple
    frames = torch.rand(2, 3, 5 * multiple, 8 * multiple, generator=generator) * 255
    with torch.no_grad():
        kernels = model.encode_template(images)
        expected = model(frames, kernels)
    with OnnxRuntimeBackend.open(bundle) as backend:
        features = backend.encode_templates(images.numpy())
        maps = backend.infer(frames.numpy(), features)
    differences = [
        np.abs(maps.score - expected[0].numpy()).max(),
        np.abs(maps.box - expected[1].numpy()).max() / bundle.stride,
        np.abs(maps.presence - expected[2].numpy()).max(),
    ]
    return float(max(differences))


def _export(
    module: nn.Module,
    inputs: tuple[Tensor, ...],
    path: Path,
    input_names: Any,
    output_names: Any,
    axes: dict[str, dict[int, str]],
) -> None:
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
    onnx.checker.check_model(str(path))


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value.item() if isinstance(value, np.generic) else value
