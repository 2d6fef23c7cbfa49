"""A published tracker's bundle: graphs, description, licence, model card."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import numpy as np
import onnx
import onnxruntime

from refdet_core.backends.onnxruntime import OnnxRuntimeBackend
from refdet_core.bundle import (
    DETECTOR_GRAPH,
    TEMPLATE_GRAPH,
    TRACK,
    Bundle,
    file_sha256,
)
from refdet_core.calibration import Calibration
from refdet_core.errors import BundleError
from refdet_training.export.bundle import move_bundle, write_description
from refdet_training.export.operators import check_bundle, refusal
from refdet_training.export.parity import PARITY_TOLERANCE
from refdet_training.published import graphs
from refdet_training.published.trackers import STRIDE, PublishedTracker

LICENCE, MODEL_CARD = "LICENSE", "MODEL_CARD.md"
_LICENCE_FOLDERS = (".", "../LICENSES")


def import_tracker(name: str, tracker: PublishedTracker, weights: Path, output: Path) -> Bundle:
    """Write a tracker's bundle, check it, and return it.

    Args:
        name: of the bundle.
        tracker: its description.
        weights: folder with its two ONNX files and, there or in ``../LICENSES``, its licence.
        output: the bundle's folder; an existing bundle there is replaced.

    Raises:
        BundleError: a file is absent or damaged, the graphs do not compute what was published, or
            TensorRT 8.4 would not take them.
    """
    licence = _licence(tracker, weights)
    output.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{output.name}.", dir=output.parent) as workshop:
        folder = Path(workshop)
        onnx.save(graphs.template_encoder(tracker, weights), str(folder / TEMPLATE_GRAPH))
        onnx.save(graphs.detector(tracker, weights), str(folder / DETECTOR_GRAPH))
        shutil.copyfile(licence, folder / LICENCE)
        (folder / MODEL_CARD).write_text(_model_card(name, tracker), encoding="utf-8")
        bundle = _describe(name, tracker, folder)
        write_description(bundle)
        findings = check_bundle(bundle)
        if findings:
            raise BundleError(refusal(findings))
        worst = _difference(tracker, weights, bundle)
        if not worst <= PARITY_TOLERANCE:  # NaN must not pass
            raise BundleError(
                f"The bundle's graphs differ from the published ones by {worst:.2g} (allowed "
                f"{PARITY_TOLERANCE:g}); are these the files that the documentation names?"
            )
        return move_bundle(bundle, output, TEMPLATE_GRAPH, DETECTOR_GRAPH, LICENCE, MODEL_CARD)


def _describe(name: str, tracker: PublishedTracker, folder: Path) -> Bundle:
    encoder = onnx.load(str(folder / DETECTOR_GRAPH)).graph
    kernel = next(item for item in encoder.input if item.name == "kernel")
    channels, height, width = (
        item.dim_value for item in list(kernel.type.tensor_type.shape.dim)[1:]
    )
    side = tracker.tracking.window.size
    return Bundle(
        folder=folder,
        name=name,
        version="1",
        frame_size=(side, side),
        frame_multiple=STRIDE,
        stride=float(STRIDE),
        template_crop=tracker.template_crop,
        kernel_names=("kernel",),
        kernel_shape=(channels, height, width),
        calibration=Calibration(),
        score_threshold=0.5,
        tracking=tracker.tracking,
        purposes=(TRACK,),
        sha256={item: file_sha256(folder / item) for item in (TEMPLATE_GRAPH, DETECTOR_GRAPH)},
        training={"source": tracker.source, "licence": tracker.licence},
    )


def _licence(tracker: PublishedTracker, weights: Path) -> Path:
    for folder in _LICENCE_FOLDERS:
        path = weights / folder / tracker.licence_file
        if path.is_file():
            return path
    raise BundleError(
        f"{tracker.title} may only be passed on with its licence: put {tracker.licence_file} "
        f"beside the weights in '{weights}', or into LICENSES beside that folder."
    )


def _difference(tracker: PublishedTracker, weights: Path, bundle: Bundle) -> float:
    """Largest difference between the published graphs and the bundle's on noise, over scores and
    boxes (in cells)."""
    random = np.random.RandomState(0)
    side, window = bundle.template_size, tracker.tracking.window.size
    image, frame = (
        random.randint(0, 256, (1, 3, size, size)).astype(np.float32) for size in (side, window)
    )
    backbone = _session(weights / tracker.backbone)
    head = _session(weights / tracker.head)
    given = backbone.get_inputs()[0].name
    features = [
        backbone.run(None, {given: _normalised(pixels, tracker)})[0] for pixels in (image, frame)
    ]
    inputs = dict(zip((tracker.template, tracker.search), features, strict=True))
    logits, distances = head.run([tracker.score, tracker.distances], inputs)
    logit = logits[:, 1:] - logits[:, :1] if logits.shape[1] == 2 else logits
    points = np.arange(logits.shape[-1]) * STRIDE + tracker.first_point
    x, y = np.meshgrid(points, points)
    left, top, right, bottom = distances[0]
    expected = np.stack([x - left, y - top, x + right, y + bottom])
    with OnnxRuntimeBackend.open(bundle) as backend:
        maps = backend.infer(frame, backend.encode_templates(image))
    differences = [
        np.abs(maps.score[0] - 1 / (1 + np.exp(-logit[0]))).max(),
        np.abs(maps.box[0, 0] - expected).max() / STRIDE,
    ]
    return float(max(differences))


def _normalised(pixels: np.ndarray, tracker: PublishedTracker) -> np.ndarray:
    ordered = pixels[:, ::-1] if tracker.takes_bgr else pixels
    return np.ascontiguousarray((ordered - tracker.shift) * tracker.scale)


def _session(path: Path) -> onnxruntime.InferenceSession:
    """A published graph, taking any size where its file names one."""
    model = onnx.load(str(path))
    for value in (*model.graph.input, *model.graph.output):
        for size in list(value.type.tensor_type.shape.dim)[2:]:
            size.Clear()
    del model.graph.value_info[:]
    return onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )


def _model_card(name: str, tracker: PublishedTracker) -> str:
    rule = tracker.tracking
    rows = {
        "for": "following one target in a window (`tracking_bundle`); it has never seen a window "
        "without the target, so it cannot say that the target has gone",
        "input": f"template {tracker.template_crop.size} px, window {rule.window.size} px, stride "
        f"{STRIDE}",
        "window influence, penalty, rate": f"{rule.window_influence}, {rule.penalty_k}, "
        f"{rule.size_lr}",
        "licence": f"{tracker.licence}, see `{LICENCE}`; **commercial use is allowed** under its "
        "terms",
        "scores": 'not calibrated: 0.8 is not "right eight times in ten"',
    }
    table = "\n".join(f"| {key} | {value} |" for key, value in rows.items())
    return f"""# {name}: {tracker.title} as a refdet bundle

The published network of {tracker.source}, with its own crops and
settings. refdet trained and tuned nothing: the graphs compute what the published ones do, for
several crops and templates at once, with normalisation and box decoding inside.

| | |
|---|---|
{table}

How well it follows, beside the others: `docs/tracking.md` of refdet.
"""
