"""The time of each stage, from the camera's message to the published result."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import cv2
import numpy as np

from benchmarks.speed.graph_cost import detector_inputs, profile
from benchmarks.speed.messages import Messages
from benchmarks.speed.scene import TILES, set_templates, textured_frame, tiles_of
from benchmarks.speed.section import Chart, Section
from benchmarks.speed.settings import Settings
from benchmarks.speed.timing import interleaved
from refdet_core.bundle import Bundle
from refdet_core.detector import Detector
from refdet_core.errors import BackendError
from refdet_core.templates import encode_references
from refdet_core.types import Reference

JPEG_QUALITY = 90
PARTS = {
    "backbone": "network: backbone",
    "neck": "network: neck",
    "matcher": "network: correlation",
    "head": "network: head",
}
"""Modules of the network as this table calls them."""
REST = "network: rest"


def measure(settings: Settings) -> Section:
    """Milliseconds of every stage, and of encoding a template."""
    frame_bgr = textured_frame(settings.frame_size)
    notes = []
    with Detector.open(
        settings.bundle_folder, settings.backend, TILES, settings.backend_config
    ) as detector:
        (box_xyxy,) = set_templates(detector, frame_bgr, 1)
        reference = Reference(frame_bgr, box_xyxy)
        jpeg = cv2.imencode(".jpg", frame_bgr, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])[1]
        result = detector.detect(frame_bgr)
        within: list[dict[str, float]] = []
        cases: dict[str, Any] = {
            "detect": lambda: within.append(detector.detect(frame_bgr).timings_ms),
            "decode JPEG": lambda: cv2.imdecode(jpeg, cv2.IMREAD_COLOR),
            "encode template": lambda: encode_references(
                detector.backend, detector.bundle, [reference]
            ),
        }
        try:
            messages = Messages(frame_bgr)
        except BackendError as error:
            notes.append(f"Without decoding raw messages and publishing: {error}")
        else:
            cases["decode raw"] = lambda: messages.decode("raw")
            cases["publish"] = lambda: messages.encode(result, settings.frame_size)
        timings = interleaved(cases, settings.rounds, settings.budget_s, warm_up=2)
        stage = {name: float(np.median([t[name] for t in within])) for name in within[0]}
        network = split(settings, detector.bundle, stage.pop("network"), detector.backend.info.name)
    if len(network) == 1:
        notes.append(
            "The network is not split: that takes ONNX Runtime's profiler and named modules."
        )
    columns = {
        "decode raw message": _median(timings, "decode raw"),
        "preprocess": stage["preprocess"],
        **network,
        "peaks and boxes": stage["decode"],
        "merge tiles, suppress": stage["search"],
        "build and serialise result": _median(timings, "publish"),
    }
    known = {name: ms for name, ms in columns.items() if ms is not None}
    whole = sum(known.values())
    rows: list[list[Any]] = [
        [name, ms, None if ms is None else ms / whole] for name, ms in columns.items()
    ]
    rows.append(["sum", whole, 1.0])
    rows.append(["instead of raw: decode JPEG", timings["decode JPEG"].median_ms, None])
    rows.append(["once a reference: encode it", timings["encode template"].median_ms, None])
    width, height = settings.frame_size
    return Section(
        f"Stages of a {width}x{height} frame, one template, searched in tiles",
        ("stage", "ms", "share"),
        rows,
        notes,
        Chart("waterfall", "ms", {"": list(known.items())}),
    )


def split(settings: Settings, bundle: Bundle, network_ms: float, backend: str) -> dict[str, float]:
    """The network's time split by ONNX Runtime's profiler."""
    if backend != "onnxruntime":
        return {"network": network_ms}
    inputs = detector_inputs(bundle, _network_size(settings, bundle), 1)
    shares: dict[str, float] = {}
    for operator in profile(bundle.detector_graph, inputs, settings.rounds, settings.threads):
        name = PARTS.get(operator.module, REST)
        shares[name] = shares.get(name, 0.0) + operator.ms
    whole = sum(shares.values())
    return {name: network_ms * ms / whole for name, ms in shares.items()}


def _network_size(settings: Settings, bundle: Bundle) -> tuple[int, int]:
    """The result of the search ``tiles`` for the frame."""
    crop = tiles_of(settings.frame_size, bundle)[0]
    return crop.out_width, crop.out_height


def _median(timings: Mapping[str, Any], name: str) -> float | None:
    return timings[name].median_ms if name in timings else None
