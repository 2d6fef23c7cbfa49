"""What the network shows at each scale: every frame once, kept on the disk for every comparison."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from refdet_core.backends import open_backend
from refdet_core.backends.config import BackendConfig
from refdet_core.boxes import area, clip
from refdet_core.bundle import Bundle
from refdet_core.decoding import Candidates
from refdet_core.detector import Detector
from refdet_core.detector_config import DetectorConfig
from refdet_core.frame_inference import NetworkSearchFrame
from refdet_core.imaging import Crop
from refdet_core.search.tiles import Tiles
from refdet_core.templates import make_bank
from refdet_training.datasets.instance import Instance
from refdet_training.evaluation.detection_protocol import (
    DetectionProtocol,
    cannot_show,
    own_queries,
    read_references,
)

SCALES = tuple(2 ** (step / 2) for step in range(-6, 3))
"""Network pixels per frame pixel: the steps of :func:`~refdet_core.search.scales.search_scales`."""

_WHOLE_PX = (8192, 8192)  # a frame is one tile at every scale
_KEPT = 6  # candidates


@dataclass(frozen=True)
class Look:
    """One frame at one scale.

    Attributes:
        video: the object whose frame it is, see :func:`name_of`.
        scale: network pixels per frame pixel.
        frame_size: ``(width, height)`` in pixels.
        answers: for each object that was looked for, its best candidates as
            ``(x1, y1, x2, y2, score)``.
    """

    video: str
    frame: int
    scale: float
    frame_size: tuple[int, int]
    answers: Mapping[str, Sequence[Sequence[float]]]


def name_of(item: Instance) -> str:
    """An object's name in a :class:`Look`."""
    return f"{item.video_id}/{item.object_id}"


def read_looks(file: Path) -> list[Look]:
    """The stored looks; none without the file."""
    if not file.is_file():
        return []
    return [Look(**json.loads(line)) for line in file.read_text(encoding="utf-8").splitlines()]


def open_detector(
    bundle: Bundle, instances: Sequence[Instance], protocol: DetectionProtocol
) -> Detector:
    """A detector on one thread, with every object's references as a template of its name."""
    backend = open_backend("onnxruntime", bundle, BackendConfig(threads=1))
    detector = Detector(bundle, backend, DetectorConfig())
    for item in instances:
        detector.set_template(read_references(item, protocol), name_of(item))
    return detector


def record(
    detector: Detector, instances: Sequence[Instance], protocol: DetectionProtocol, file: Path
) -> list[Look]:
    """Look at each object's later frames at every scale, for it and for objects of other places.

    Args:
        detector: of :func:`open_detector`.
        protocol: ``frames`` of each object, each also searched for ``absent`` other objects.
        file: stored looks are not repeated.
    """
    looks = read_looks(file)
    done = {(look.video, look.frame, round(look.scale, 3)) for look in looks}
    with file.open("a", encoding="utf-8") as kept:
        for item in tqdm(instances, desc="objects", unit="object"):
            for number in [query.frame for query in own_queries(item, protocol)]:
                missing = [
                    scale
                    for scale in SCALES
                    if (name_of(item), number, round(scale, 3)) not in done
                ]
                wanted = _wanted(item, instances, number, protocol.absent)
                for look in _look(detector, item, number, wanted, missing):
                    looks.append(look)
                    kept.write(json.dumps(asdict(look)) + "\n")
                    kept.flush()
    return looks


def whole_frame(frame_size: tuple[int, int], scale: float, bundle: Bundle) -> list[Crop]:
    """The frame in one tile."""
    return Tiles(_WHOLE_PX, 0, bundle.frame_multiple, scale).crops(frame_size)


def _wanted(item: Instance, instances: Sequence[Instance], number: int, absent: int) -> list[str]:
    """The object of the frame, and some that it cannot show; the same ones in every run."""
    others = [name_of(other) for other in instances if cannot_show(other, item)]
    order = np.random.RandomState(number).permutation(len(others))[:absent]
    return [name_of(item), *(others[i] for i in order)]


def _look(
    detector: Detector,
    item: Instance,
    number: int,
    wanted: Sequence[str],
    scales: Sequence[float],
) -> Iterator[Look]:
    if not scales:
        return
    frame_bgr = item.read(number)
    templates = {name: detector.bank.templates[name] for name in wanted}
    bank = make_bank(detector.backend, templates, 1, detector.config.reference_pooling)
    size = (frame_bgr.shape[1], frame_bgr.shape[0])
    for scale in scales:
        crops = whole_frame(size, scale, detector.bundle)
        seen = NetworkSearchFrame(detector.backend, detector.bundle, bank, frame_bgr, 0.0)
        answers = {name: _best(parts, size) for name, parts in seen.infer(crops, wanted).items()}
        yield Look(name_of(item), number, scale, size, answers)


def _best(parts: Sequence[Candidates], frame_size: tuple[int, int]) -> list[list[float]]:
    """The best candidates, cut at the frame's border."""
    seen = Candidates.joined(parts)
    boxes_xyxy = clip(seen.boxes_xyxy, *frame_size)
    seen = Candidates(boxes_xyxy, seen.scores, seen.presence).chosen(area(boxes_xyxy) > 0)
    seen = seen.suppressed(DetectorConfig.nms_iou)
    return [
        [*(round(float(side), 2) for side in box_xyxy), float(score)]
        for box_xyxy, score in zip(seen.boxes_xyxy[:_KEPT], seen.scores[:_KEPT], strict=True)
    ]
