"""The tracking protocol: one-pass evaluation (OPE) over contiguous labelled frames.

The tracker gets the true box once, in the first frame, and is never reset; every later answer
counts (Wu, Lim, Yang: "Online Object Tracking: A Benchmark", CVPR 2013). Frames without the object
are included: there the right answer is no box.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from tqdm import tqdm

from refdet_core.errors import BadReferenceError, ConfigError, SourceError
from refdet_core.types import BoxXYXY, Reference
from refdet_training.datasets.instance import FrameRef, Instance
from refdet_training.evaluation.detection_protocol import FrameDetector, Skipped


class Tracker(ABC):
    """A tracker under evaluation: gets an object once and tracks it from frame to frame."""

    @abstractmethod
    def start(self, frame_bgr: np.ndarray, box_xyxy: BoxXYXY) -> None:
        """Start with a new object, which replaces the previous one."""

    @abstractmethod
    def update(self, frame_bgr: np.ndarray) -> tuple[BoxXYXY | None, float | None]:
        """The object's box in the next frame (None: absent), and its score in [0, 1] (None:
        unknown).
        """


class TrackingByDetection(Tracker):
    """A detector that searches each frame independently, with the first frame's box as reference.

    Args:
        detector: finds the object.
        threshold: below this score nothing is reported.
    """

    def __init__(self, detector: FrameDetector, threshold: float) -> None:
        self._detector = detector
        self._threshold = threshold

    def start(self, frame_bgr: np.ndarray, box_xyxy: BoxXYXY) -> None:
        self._detector.set_references([Reference(frame_bgr, box_xyxy, same_camera=True)])

    def update(self, frame_bgr: np.ndarray) -> tuple[BoxXYXY | None, float | None]:
        box_xyxy, score = self._detector.detect(frame_bgr)
        return (box_xyxy if score >= self._threshold else None), score


@dataclass(frozen=True)
class TrackingProtocol:
    """The choice of sequences.

    Attributes:
        frames: at most this many of a sequence, its first one included; 0: all.
        min_frames: shorter sequences are skipped.
    """

    frames: int = 0
    min_frames: int = 10

    def __post_init__(self) -> None:
        if self.min_frames < 2:
            raise ConfigError(f"A sequence needs at least 2 frames, got {self.min_frames}.")
        if self.frames and self.frames < self.min_frames:
            raise ConfigError(
                f"Of a sequence at least {self.min_frames} frames are tracked, got {self.frames}; "
                "0 takes all."
            )


@dataclass(frozen=True)
class TrackedFrame:
    """One frame: the truth (None: the object is absent) and the tracker's answer."""

    number: int
    picture: FrameRef
    truth_xyxy: BoxXYXY | None
    box_xyxy: BoxXYXY | None
    score: float | None


@dataclass(frozen=True)
class Track:
    """One object tracked through one sequence.

    Attributes:
        source, video_id, object_id: names.
        frame_size: ``(width, height)`` in pixels.
        frames: the frames; in the first one the answer is the truth itself.
    """

    source: str
    video_id: str
    object_id: str
    frame_size: tuple[int, int]
    frames: tuple[TrackedFrame, ...]


def sequence(instance: Instance) -> list[int]:
    """The longest contiguous run of labelled frames that starts with the object in view.

    Frames are contiguous if their numbers differ by the video's usual step (data sets keep every
    n-th frame). Of equally long runs the earliest counts; empty if the object is never visible.
    """
    numbers = sorted(instance.frames)
    if not instance.present:
        return []
    gaps, counts = np.unique(np.diff(numbers), return_counts=True)
    step = int(gaps[counts.argmax()]) if len(gaps) else 1
    cuts = [0, *(np.nonzero(np.diff(numbers) > step)[0] + 1), len(numbers)]
    runs = [numbers[start:end] for start, end in pairwise(cuts)]
    started = [_from_first_seen(run, instance) for run in runs]
    return max(started, key=len)


def run_tracking(
    tracker: Tracker, instances: Sequence[Instance], protocol: TrackingProtocol, label: str = ""
) -> tuple[list[Track], list[Skipped]]:
    """Track every instance through its sequence, once.

    Returns:
        The tracks, and what could not be measured: short sequences, objects the tracker refuses to
        start with, sequences with a damaged frame.
    """
    tracks: list[Track] = []
    skipped: list[Skipped] = []
    for instance in tqdm(instances, desc=label, unit="sequence", leave=False):
        numbers = sequence(instance)
        if len(numbers) < protocol.min_frames:
            reason = (
                f"the longest run of contiguous frames has {len(numbers)}, the protocol asks for "
                f"{protocol.min_frames}"
            )
            skipped.append(Skipped.of(instance, reason))
            continue
        if protocol.frames:
            numbers = numbers[: protocol.frames]
        try:
            tracks.append(_follow(tracker, instance, numbers))
        except (BadReferenceError, SourceError) as error:
            skipped.append(Skipped.of(instance, str(error)))
    return tracks, skipped


def _follow(tracker: Tracker, instance: Instance, numbers: Sequence[int]) -> Track:
    first, *later = numbers
    frame_bgr = instance.read(first)
    start_xyxy = instance.boxes_xyxy[first]
    tracker.start(frame_bgr, start_xyxy)
    frames = [TrackedFrame(first, instance.frames[first], start_xyxy, start_xyxy, 1.0)]
    for number in later:
        box_xyxy, score = tracker.update(instance.read(number))
        truth_xyxy = instance.boxes_xyxy.get(number)
        frames.append(TrackedFrame(number, instance.frames[number], truth_xyxy, box_xyxy, score))
    height, width = frame_bgr.shape[:2]
    return Track(
        instance.source, instance.video_id, instance.object_id, (width, height), tuple(frames)
    )


def _from_first_seen(run: Sequence[int], instance: Instance) -> list[int]:
    seen = [index for index, number in enumerate(run) if number in instance.boxes_xyxy]
    return list(run[seen[0] :]) if seen else []
