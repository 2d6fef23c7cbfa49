"""The answers of a detector to a replayed bag, and the offline replay."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Mapping, Sequence

from tqdm import tqdm

from refdet_core.contrast import Contrast
from refdet_core.detector import Detector
from refdet_core.metrics import percentile
from refdet_core.types import BoxXYXY, Detection
from refdet_ros.bags.frames import frames
from refdet_ros.bags.parts import BagTopic
from refdet_ros.bags.reading import Bag
from refdet_ros.bags.targets import Target


@dataclass(frozen=True)
class Answer:
    """The detections of one frame, best first.

    Attributes:
        latency_ms: stamp to detections received (live), or time in the detector (offline).
        presence: by template, the probability of the best candidate, reported or not; empty where
            the detector did not say.
    """

    detections: tuple[Detection, ...]
    latency_ms: float
    presence: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Replay:
    """A replayed bag.

    Attributes:
        mode: ``live`` or ``offline``.
        sent: number of frames shown to the detector.
        answers: by frame number; a frame without an answer was dropped.
        wall_s: seconds from the first frame sent to the last answer.
        camera_hz: rate of the sent frames; None offline.
        worst_late_s: largest delay of the player itself; 0 offline.
    """

    mode: str
    sent: int
    answers: Mapping[int, Answer] = field(default_factory=dict)
    wall_s: float = 0.0
    camera_hz: float | None = None
    worst_late_s: float = 0.0

    @property
    def dropped(self) -> int:
        """Frames without an answer."""
        return self.sent - len(self.answers)

    @property
    def answer_hz(self) -> float | None:
        """Answers per second."""
        return len(self.answers) / self.wall_s if self.answers and self.wall_s > 0 else None

    def latency_ms(self, share: float) -> float | None:
        """A percentile of the latencies; None without answers."""
        return percentile([answer.latency_ms for answer in self.answers.values()], share)

    def presence(self, template_id: str) -> dict[int, float]:
        """The probability of one template's best candidate by frame, where the detector said it;
        otherwise the score of its detection, if there is one.
        """
        scores = {number: item.score for number, item in self.best(template_id).items()}
        said = {
            number: answer.presence[template_id]
            for number, answer in self.answers.items()
            if template_id in answer.presence
        }
        return {**scores, **said}

    def best(self, template_id: str) -> dict[int, Detection]:
        """The best detection of one template by frame."""
        found: dict[int, Detection] = {}
        for number, answer in self.answers.items():
            own = [item for item in answer.detections if item.template_id == template_id]
            if own:
                found[number] = max(own, key=lambda item: item.score)
        return found

    def best_boxes(self, template_id: str) -> dict[int, BoxXYXY]:
        """The best box of one template by frame, xyxy pixels."""
        return {number: item.bbox_xyxy for number, item in self.best(template_id).items()}


def replay_offline(
    bag: Bag,
    topic: BagTopic,
    detector: Detector,
    targets: Sequence[Target],
    progress: bool = False,
    contrast: Contrast | None = None,
) -> Replay:
    """Run a detector on every frame of a bag, without ROS.

    Args:
        contrast: makes frames of more than 8 bits uint8; None follows the range in use.

    Raises:
        RefdetError: a reference cannot be used or a frame cannot be decoded.
    """
    detector.clear_template()
    for target in targets:
        detector.set_template(target.references, target.template_id)
    answers: dict[int, Answer] = {}
    first_ns: int | None = None
    started = time.perf_counter()
    for number, time_ns, frame_bgr in tqdm(
        frames(bag, topic, contrast),
        total=topic.count,
        desc="replay",
        unit="frame",
        disable=None if progress else True,
    ):
        first_ns = time_ns if first_ns is None else first_ns
        before = time.perf_counter()
        result = detector.detect(frame_bgr, time_s=(time_ns - first_ns) * 1e-9)
        latency_ms = (time.perf_counter() - before) * 1e3
        answers[number] = Answer(result.detections, latency_ms, dict(result.presence))
    return Replay("offline", len(answers), answers, time.perf_counter() - started)
