"""Whether 8-bit arithmetic pays off on this processor, and its effect on the scores.

The detector graph is quantised by ``onnxruntime.quantization`` (static, QDQ, one scale for each
output channel), calibrated with frames of training videos and compared on frames of others.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from benchmarks.speed.graph_cost import open_session
from benchmarks.speed.machine import INT8_FLAGS, cpu_flags
from benchmarks.speed.scene import tiles_of
from benchmarks.speed.section import Section, skipped
from benchmarks.speed.settings import Settings
from benchmarks.speed.timing import interleaved
from refdet_core.backends import open_backend
from refdet_core.bundle import Bundle
from refdet_core.errors import RefdetError, SourceError
from refdet_core.templates import encode_references
from refdet_core.types import Reference

_TITLE = "8-bit integers (QDQ) against 32-bit floats on the CPU"
_SOURCES = ("aerial_sequences", "airborne_targets")
_VIDEOS = 8  # of each source, for calibration and for comparison
_KEPT_FLOAT = ("/matcher", "/head")  # scores and boxes are read off these
_QUANTISED = ("Conv", "Relu")


@dataclass(frozen=True)
class Sample:
    """A tile and an encoded reference of one video, as graph inputs."""

    inputs: dict[str, np.ndarray]


def measure(settings: Settings) -> Section:
    """Time, and the change of scores and peaks."""
    try:
        from onnxruntime.quantization import quantize_static  # noqa: F401
    except ImportError as error:
        return skipped(_TITLE, f"quantisation needs the package onnx ({error}).")
    bundle = settings.bundle
    try:
        calibration = list(_samples(settings, bundle, "train"))
        held_out = list(_samples(settings, bundle, "val"))
    except RefdetError as error:
        return skipped(_TITLE, f"calibration needs real frames: {error}")
    floats = open_session(bundle.detector_graph, settings.threads)
    with tempfile.TemporaryDirectory() as folder:
        graph = _quantised(bundle, calibration, Path(folder))
        integers = open_session(graph, settings.threads)
    largest = max(held_out, key=lambda sample: sample.inputs["frame"].size).inputs
    timings = interleaved(
        {
            "float": partial(floats.run, None, largest),
            "int8": partial(integers.run, None, largest),
        },
        settings.rounds,
        settings.budget_s,
    )
    changes = [_change(floats, integers, sample) for sample in held_out]
    of = len(changes)
    rows: list[list[Any]] = [
        ["float32", timings["float"].median_ms, 1.0, 1.0, 0.0, f"{of} of {of}"]
    ]
    ratio = timings["int8"].median_ms / timings["float"].median_ms
    cpu_ratio = timings["int8"].cpu_ms / timings["float"].cpu_ms
    score_change = float(np.median([change for change, _ in changes]))
    kept = sum(same for _, same in changes)
    rows.append(
        ["int8", timings["int8"].median_ms, ratio, cpu_ratio, score_change, f"{kept} of {of}"]
    )
    has = [flag for flag in INT8_FLAGS if flag in cpu_flags()]
    return Section(
        _TITLE,
        ("", "ms", "ratio", "ratio of CPU time", "median change of the best score", "same peak"),
        rows,
        (
            "This processor has {} for products of 8-bit integers.".format(
                "instructions (" + ", ".join(has) + ")" if has else "no instructions"
            ),
            "bfloat16 is not measured: ONNX Runtime's CPU convolutions do not have it.",
        ),
        numbers={"ratio": ratio, "cpu_ratio": cpu_ratio, "score_change": score_change},
    )


def _samples(settings: Settings, bundle: Bundle, split: str) -> Iterator[Sample]:
    """The first labelled frame's object as reference, a frame from the middle to search."""
    listing = settings.data / "splits.json"
    if not listing.is_file():
        raise SourceError(f"there is no {listing}; say where the videos are with --data.")
    splits = json.loads(listing.read_text(encoding="utf-8"))
    with open_backend("onnxruntime", bundle, settings.backend_config) as backend:
        for source in _SOURCES:
            folder = settings.data / source
            for video_id, boxes in _labelled(folder, splits[source][split][:_VIDEOS]):
                first, middle = boxes[0], boxes[len(boxes) // 2]
                reference = Reference(_frame(folder, video_id, first["frame"]), _box(first))
                frame_bgr = _frame(folder, video_id, middle["frame"])
                crop = tiles_of((frame_bgr.shape[1], frame_bgr.shape[0]), bundle)[0]
                kernels = encode_references(backend, bundle, [reference])[0]
                frames = np.array(backend.preprocess(frame_bgr, [crop]))
                yield Sample(dict(zip(bundle.kernel_names, kernels), frame=frames))


def _labelled(folder: Path, video_ids: Sequence[str]) -> Iterator[tuple[str, list[Any]]]:
    entries = json.loads((folder / "annotations.json").read_text(encoding="utf-8"))
    by_id = {entry["video_id"]: entry["annotations"][0]["bboxes"] for entry in entries}
    for video_id in video_ids:
        yield video_id, by_id[video_id]


def _frame(folder: Path, video_id: str, number: int) -> np.ndarray:
    video = cv2.VideoCapture(str(folder / f"{video_id}.mp4"))
    found, frame_bgr = False, None
    for _ in range(number + 1):
        found, frame_bgr = video.read()
    video.release()
    if not found or frame_bgr is None:
        raise SourceError(f"{folder / video_id}.mp4 has no frame {number}.")
    return np.asarray(frame_bgr)


def _box(entry: dict[str, float]) -> tuple[float, float, float, float]:
    return entry["x1"], entry["y1"], entry["x2"], entry["y2"]


def _quantised(bundle: Bundle, calibration: Sequence[Sample], folder: Path) -> Path:
    import onnx
    from onnxruntime.quantization import (
        CalibrationDataReader,
        QuantFormat,
        QuantType,
        quantize_static,
    )
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self._samples = iter(calibration)

        def get_next(self) -> dict[str, np.ndarray] | None:
            sample = next(self._samples, None)
            return None if sample is None else sample.inputs

    prepared, graph = folder / "prepared.onnx", folder / "int8.onnx"
    quant_pre_process(str(bundle.detector_graph), str(prepared), skip_symbolic_shape=True)
    nodes = onnx.load(str(prepared)).graph.node
    quantize_static(
        str(prepared),
        str(graph),
        Reader(),
        quant_format=QuantFormat.QDQ,
        op_types_to_quantize=list(_QUANTISED),
        nodes_to_exclude=[node.name for node in nodes if node.name.startswith(_KEPT_FLOAT)],
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        per_channel=True,
        # Without dedicated instructions, x86-64 adds two products in 16 bits.
        reduce_range=not set(INT8_FLAGS) & set(cpu_flags()),
    )
    return graph


def _change(floats: Any, integers: Any, sample: Sample) -> tuple[float, bool]:
    """The change of the best score, and whether its place stays within a cell."""
    (before,), (after,) = (session.run(["score"], sample.inputs) for session in (floats, integers))
    places = [np.unravel_index(score.argmax(), score.shape) for score in (before, after)]
    moved = max(abs(int(a) - int(b)) for a, b in zip(*places))
    return abs(float(after.max()) - float(before.max())), moved <= 1
