"""The demo's footage and targets."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Sequence

from refdet_core.detector import DEFAULT_TEMPLATE_ID
from refdet_core.photo_arguments import TemplatePhoto
from refdet_core.sources import FrameSource, open_source
from refdet_ros.bags.targets import Target, target_from_boxes, target_from_photos
from refdet_ros.bags.truth import load_ground_truth
from refdet_ros.demo.footage import fetch_footage
from refdet_ros.video_to_bag import DEFAULT_FPS

ANNOTATIONS = Path(__file__).parent / "annotations.json"
ANNOTATED_PART = (150, 650)
"""The played frames of the clip, 50 s: both objects appear, stay in view, and leave."""


@dataclass(frozen=True)
class Scene:
    """Footage for the node and the targets in it.

    Attributes:
        source: the video or folder.
        targets: their ground truth counts frames from the start of the part.
        start_s: start of the part in seconds.
        seconds: length of the part.
        transport: the bag's image transport, ``raw`` or ``compressed``.
    """

    source: FrameSource
    targets: Sequence[Target]
    start_s: float
    seconds: float
    transport: str


def annotated_scene(cache: Path) -> Scene:
    """The demo's own footage, with reference photos cut out of it and our boxes.

    Raises:
        RefdetError: the footage cannot be fetched.
    """
    print(f"Footage: {cache} (the first time some 100 MB are downloaded) ...", flush=True)
    source = open_source(fetch_footage(cache))
    first, end = ANNOTATED_PART
    objects = load_ground_truth(ANNOTATIONS)
    wanted = {frame for entry in objects for frame in entry.references}
    pictures = {}
    for index, frame in enumerate(source):
        if index in wanted:
            pictures[index] = frame.bgr
        if len(pictures) == len(wanted):
            break
    targets = []
    for entry in objects:
        target = target_from_boxes(entry.truth, entry.references, pictures)
        shifted = entry.shifted(first)
        targets.append(
            replace(target, truth=shifted.truth, reference_frames=frozenset(shifted.references))
        )
    fps = source.fps or DEFAULT_FPS
    return Scene(source, targets, first / fps, (end - first) / fps, "raw")


def own_scene(
    video: Path, photos: Sequence[TemplatePhoto], seconds: float, same_camera: bool = False
) -> Scene:
    """The first seconds of the user's video, and photos of one object.

    Args:
        same_camera: see :class:`~refdet_core.types.Reference`.

    Raises:
        RefdetError: the video or a photo cannot be read.
    """
    # The video may be large; JPEG keeps its bag small.
    targets = [target_from_photos(photos, DEFAULT_TEMPLATE_ID, same_camera=same_camera)]
    return Scene(open_source(video), targets, 0.0, seconds, "compressed")
