"""The compared methods: each gets an object and then locates it frame by frame."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from refdet_core.types import BoxXYXY, Reference
from refdet_training.evaluation.tracking_protocol import Tracker


@dataclass(frozen=True)
class Answer:
    """A method's answer for one frame.

    Attributes:
        box_xyxy: the object's box; None: absent.
        score: its score in [0, 1]; None: unknown.
        state: "searching", "tracking", "lost", or empty if the method has no states.
        ms: wall-clock milliseconds of the answer.
    """

    box_xyxy: BoxXYXY | None
    score: float | None = None
    state: str = ""
    ms: float = 0.0


class TrackingMethod(ABC):
    """One line of the table.

    Attributes:
        name: its name in the table.

        given: what it gets of the object, in words.
    """

    name: str
    given: str

    @abstractmethod
    def update(self, frame_bgr: np.ndarray, time_s: float) -> Answer:
        """Locate the object in the frame ``time_s`` seconds after the first one."""

    def close(self) -> None:  # noqa: B027 - most methods hold nothing that must be released
        """Release the method's resources."""


class BoxMethod(TrackingMethod):
    """Gets the object's box in the first frame; answers from the second one on."""

    given = "first box"

    @abstractmethod
    def start(self, frame_bgr: np.ndarray, box_xyxy: BoxXYXY) -> None:
        """Take a new object, forget the one before."""


class PhotoMethod(TrackingMethod):
    """Gets photos of the object, never its box; answers from the first frame on."""

    given = "photos"

    @abstractmethod
    def start(self, photos: Sequence[Reference]) -> None:
        """Take a new object, forget the one before."""


class TrackerMethod(BoxMethod):
    """A tracker of the evaluation's protocol.

    Args:
        name: in the table.
        tracker: it.
        close: releases what it holds.
    """

    def __init__(
        self, name: str, tracker: Tracker, close: Callable[[], None] | None = None
    ) -> None:
        self.name = name
        self._tracker = tracker
        self._close = close

    def start(self, frame_bgr: np.ndarray, box_xyxy: BoxXYXY) -> None:
        self._tracker.start(frame_bgr, box_xyxy)

    def update(self, frame_bgr: np.ndarray, time_s: float) -> Answer:
        return Answer(*self._tracker.update(frame_bgr))

    def close(self) -> None:
        if self._close is not None:
            self._close()
