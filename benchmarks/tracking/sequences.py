"""The sequences of the benchmark: original ones, and ones with the object removed and returned.

A removed object is simulated by frames of another video of another scene, scaled to the same size,
as if the drone had flown on. The cut is hard.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import cycle, islice

import cv2
import numpy as np

from benchmarks.tracking.footage import Footage
from refdet_core.errors import ConfigError
from refdet_core.types import BoxXYXY, Reference
from refdet_training.datasets.instance import FrameRef
from refdet_training.evaluation.detection_protocol import DetectionProtocol, read_references

TRACKING, REMOVED, BACK = "tracking", "removed", "back"
SCENARIOS = (TRACKING, REMOVED, BACK)


@dataclass(frozen=True)
class ScenarioSettings:
    """The lengths of the scenarios.

    Attributes:
        removed_after: frames with the object before it is removed (fewer in shorter sequences).
        removed_frames: frames of another video after that.
        lead_in: frames of the sequence before an absence that ends.
        absences_s: lengths of these absences in seconds, taken in turn.
        cases: maximum number of absences that end per object, evenly spread.
        found_within_s: seconds within which the object must be found again.
    """

    removed_after: int = 100
    removed_frames: int = 60
    lead_in: int = 60
    absences_s: tuple[float, ...] = (2.0, 3.0, 5.0)
    cases: int = 3
    found_within_s: float = 1.0

    def __post_init__(self) -> None:
        counts = (self.removed_after, self.removed_frames, self.lead_in, self.cases)
        if min(counts) < 1 or min(self.absences_s, default=0) <= 0 or self.found_within_s <= 0:
            raise ConfigError(f"All lengths of a scenario must be positive, got {self}.")


@dataclass(frozen=True)
class SequenceFrame:
    """One frame of a sequence.

    Attributes:
        picture: the location of its pixels.
        truth_xyxy: the object's box; None: absent.
        elsewhere: whether the frame is of another video and must be scaled to the sequence's size.
    """

    picture: FrameRef
    truth_xyxy: BoxXYXY | None
    elsewhere: bool = False


@dataclass(frozen=True)
class BenchmarkSequence:
    """The frames of one run. The first one shows the object.

    Attributes:
        scenario: one of :data:`SCENARIOS`.
        case: number among the object's sequences of this scenario.
        footage: the object's footage.
        frames: the frames.
        returns_at: index of the first frame with the object after the absence; None: it does not
            return, or was never absent.
    """

    scenario: str
    case: int
    footage: Footage
    frames: tuple[SequenceFrame, ...]
    returns_at: int | None = None

    @property
    def start_xyxy(self) -> BoxXYXY:
        """The true box in the first frame."""
        box_xyxy = self.frames[0].truth_xyxy
        assert box_xyxy is not None, "a sequence starts with the object in view"
        return box_xyxy

    def time_s(self, index: int) -> float:
        """Seconds of video from the first frame to this one."""
        return index / self.footage.fps

    def read(self, index: int) -> np.ndarray:
        """A frame, ``(H, W, 3)`` uint8 BGR; :class:`SourceError` if damaged."""
        frame = self.frames[index]
        frame_bgr = frame.picture.read()
        if frame.elsewhere and frame_bgr.shape[1::-1] != self.footage.frame_size:
            frame_bgr = cv2.resize(frame_bgr, self.footage.frame_size)
        return frame_bgr

    def photos(self) -> list[Reference]:
        """Photos of the object, as the detection protocol takes them, but of unknown scale."""
        return read_references(self.footage.instance, DetectionProtocol(same_camera=False))


def build_sequences(
    footages: Sequence[Footage],
    pool: Sequence[Footage],
    scenarios: Sequence[str],
    settings: ScenarioSettings,
) -> list[BenchmarkSequence]:
    """All sequences of the named scenarios.

    Args:
        footages: footage of the objects to track.
        pool: source of the frames of other videos; includes ``footages``. Without a video of
            another scene, an object has only its own sequence.
        scenarios: of :data:`SCENARIOS`.
        settings: lengths.
    """
    found: list[BenchmarkSequence] = []
    for footage in footages:
        others = _turned(elsewhere(footage, pool), pool.index(footage))
        if TRACKING in scenarios:
            found.append(BenchmarkSequence(TRACKING, 0, footage, own_frames(footage)))
        if REMOVED in scenarios and others:
            found.append(removed(footage, others, settings))
        if BACK in scenarios and others:
            found.extend(back(footage, others, settings))
    return found


def elsewhere(footage: Footage, footages: Sequence[Footage]) -> list[Footage]:
    """One footage of each video that cannot show the object: same source, another scene; of the
    same frame size if there is one, so that it may come from the same camera.
    """
    others = {
        item.video_id: item
        for item in footages
        if item.source == footage.source and item.instance.family != footage.instance.family
    }
    alike = [item for item in others.values() if item.frame_size == footage.frame_size]
    return alike or list(others.values())


def own_frames(footage: Footage) -> tuple[SequenceFrame, ...]:
    """The sequence as it is."""
    item = footage.instance
    return tuple(SequenceFrame(item.frames[n], item.boxes_xyxy.get(n)) for n in footage.numbers)


def removed(
    footage: Footage, others: Sequence[Footage], settings: ScenarioSettings
) -> BenchmarkSequence:
    """The sequence's beginning, then only frames of other videos."""
    before = own_frames(footage)[: settings.removed_after]
    return BenchmarkSequence(
        REMOVED, 0, footage, before + _absence(others, settings.removed_frames)
    )


def back(
    footage: Footage, others: Sequence[Footage], settings: ScenarioSettings
) -> list[BenchmarkSequence]:
    """Lead-in, absence, and the sequence from where it was left, at several places.

    The object is in view when the sequence starts, in the last frame before the absence and in
    all frames in which it may be found again.
    """
    frames = own_frames(footage)
    after = int(settings.found_within_s * footage.fps) + 1
    present = np.array([frame.truth_xyxy is not None for frame in frames])
    cuts = [
        cut
        for cut in range(settings.lead_in, len(frames) - after + 1)
        if present[cut - settings.lead_in] and present[cut - 1 : cut + after].all()
    ]
    found = []
    for case, cut in enumerate(_spread(cuts, settings.cases, settings.lead_in)):
        absence_s = settings.absences_s[case % len(settings.absences_s)]
        absence = _absence(_turned(others, case), int(np.ceil(absence_s * footage.fps)))
        lead_in, rest = frames[cut - settings.lead_in : cut], frames[cut : cut + after]
        returns_at = len(lead_in) + len(absence)
        found.append(BenchmarkSequence(BACK, case, footage, lead_in + absence + rest, returns_at))
    return found


def _turned(others: Sequence[Footage], by: int) -> list[Footage]:
    """The list rotated, so that not all absences show the same video."""
    first = by % len(others) if others else 0
    return [*others[first:], *others[:first]]


def _absence(others: Sequence[Footage], count: int) -> tuple[SequenceFrame, ...]:
    """``count`` frames of the first other video; of the next ones if it is too short."""
    frames = (item.instance.frames[number] for item in cycle(others) for number in item.numbers)
    return tuple(SequenceFrame(frame, None, elsewhere=True) for frame in islice(frames, count))


def _spread(cuts: Sequence[int], count: int, apart: int) -> list[int]:
    """At most ``count`` of the cuts, evenly spread and about ``apart`` frames apart."""
    if not cuts:
        return []
    count = min(count, 1 + (cuts[-1] - cuts[0]) // apart)
    return [cuts[int(i)] for i in np.linspace(0, len(cuts) - 1, count)]
