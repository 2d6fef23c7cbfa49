"""A frame whose contents are known, and a network that sees exactly them.

For tests of where to look, without a network: what it would show is scripted. A
:class:`Thing` cut by a crop's border looks smaller and less sure, as it does to a real network.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from refdet_core.backends.base import Backend, BackendInfo
from refdet_core.bundle import Bundle
from refdet_core.calibration import Calibration
from refdet_core.crop_rule import CropRule
from refdet_core.decoding import Candidates
from refdet_core.imaging import Crop
from refdet_core.search.base import SearchFrame
from refdet_core.types import BoxXYXY, RawMaps

BUNDLE = Bundle(
    folder=Path("nowhere"),
    name="fake",
    version="test",
    frame_size=(320, 320),
    frame_multiple=16,
    stride=8.0,
    template_crop=CropRule(32),
    kernel_names=("kernel",),
    kernel_shape=(1, 1, 1),
    calibration=Calibration(),
    score_threshold=0.5,
)
BACKGROUND = 0.02
"""Score of where there is nothing; a network's map always has a highest cell."""


@dataclass(frozen=True)
class Thing:
    """What the network takes for a template's object.

    Args:
        score: probability if the network sees it whole.
        name: of the template, or of one view of it.
        enlarged_score: probability in a crop that is enlarged; None: the same.
    """

    box_xyxy: BoxXYXY
    score: float = 0.9
    name: str = "car"
    enlarged_score: float | None = None

    @staticmethod
    def at(x: float, y: float, size: float = 40.0, score: float = 0.9, name: str = "car") -> Thing:
        """A square one around a centre."""
        half = size / 2
        return Thing((x - half, y - half, x + half, y + half), score, name)

    def seen_in(self, crop: Crop) -> Thing | None:
        """The part of it that the crop shows, less sure the smaller that part."""
        x1, y1, x2, y2 = self.box_xyxy
        left, top = max(x1, float(crop.x)), max(y1, float(crop.y))
        right, bottom = min(x2, float(crop.x + crop.width)), min(y2, float(crop.y + crop.height))
        if left >= right or top >= bottom:
            return None
        share = (right - left) * (bottom - top) / ((x2 - x1) * (y2 - y1))
        enlarged = crop.out_width > crop.width and self.enlarged_score is not None
        score = self.enlarged_score if enlarged else self.score
        return replace(self, box_xyxy=(left, top, right, bottom), score=score * share)


class FakeSearchFrame(SearchFrame):
    """A frame with these things in it.

    Args:
        things: what there is to see.
        background: score of the middle of a crop where there is nothing; None: no candidate.

    Attributes:
        inferences: the crops and template ids of each call of :meth:`infer`.
    """

    def __init__(
        self,
        things: Iterable[Thing] = (),
        time_s: float = 0.0,
        size: tuple[int, int] = (1280, 720),
        frame_bgr: np.ndarray | None = None,
        background: float | None = BACKGROUND,
    ) -> None:
        # one pixel, broadcast: an 8k frame takes no memory
        empty = np.broadcast_to(np.zeros(3, np.uint8), (size[1], size[0], 3))
        self.frame_bgr = empty if frame_bgr is None else frame_bgr
        self.time_s = time_s
        self.things = tuple(things)
        self.inferences: list[tuple[list[Crop], tuple[str, ...]]] = []
        self._background = background

    def infer(
        self, crops: Sequence[Crop], template_ids: Sequence[str]
    ) -> dict[str, list[Candidates]]:
        assert len({(crop.out_width, crop.out_height) for crop in crops}) == 1
        self.inferences.append((list(crops), tuple(template_ids)))
        return {name: [self._seen(crop, name) for crop in crops] for name in template_ids}

    @property
    def windows(self) -> list[Crop]:
        """The square crops that were looked at; tiles of the usual frames are not square."""
        return [crop for crops, _ in self.inferences for crop in crops if crop.width == crop.height]

    @property
    def tiles(self) -> list[Crop]:
        """The other crops that were looked at."""
        return [crop for crops, _ in self.inferences for crop in crops if crop.width != crop.height]

    def _seen(self, crop: Crop, name: str) -> Candidates:
        parts = [thing.seen_in(crop) for thing in self.things if thing.name == name]
        seen = [(part.score, part.box_xyxy) for part in parts if part is not None]
        if self._background is not None:
            x, y = crop.x + crop.width / 2, crop.y + crop.height / 2
            seen.append((self._background, (x - 12, y - 12, x + 12, y + 12)))
        seen.sort(reverse=True)
        scores = np.array([score for score, _ in seen], np.float32)
        boxes = np.array([box for _, box in seen], np.float32).reshape(-1, 4)
        return Candidates(boxes, scores, np.ones(len(seen), np.float32))


class FakeBackend(Backend[Any]):
    """Score and box maps of things; a template's features are the names of what it shows.

    Args:
        things: what there is to see, in frame pixels.
        box_error: added to every box ``(4,)``, in shares of its width and height.
        presence: what the network says of each view's presence.
    """

    def __init__(
        self,
        things: Iterable[Thing] = (),
        box_error: Sequence[float] = (0, 0, 0, 0),
        presence: float = 1.0,
    ) -> None:
        self.things = tuple(things)
        self.inferred: list[tuple[int, tuple[str, ...]]] = []
        self._box_error = np.asarray(box_error, dtype=np.float64)
        self._presence = presence
        self._crops: list[Crop] = []

    @classmethod
    def open(cls, bundle: Bundle) -> Any:
        return cls()

    @property
    def info(self) -> BackendInfo:
        return BackendInfo("fake", "0", "none", "exact")

    def encode_templates(self, images: np.ndarray) -> tuple[str, ...]:
        return ("car",) * len(images)

    def average(self, features: tuple[str, ...]) -> tuple[str, ...]:
        return features[:1]

    def pack(self, features: Sequence[tuple[str, ...]]) -> tuple[str, ...]:
        return tuple(name for each in features for name in each)

    def as_array(self, features: tuple[str, ...]) -> np.ndarray:
        return np.ones((len(features), 2, 3, 3), np.float32)

    def preprocess(self, frame_bgr: np.ndarray, crops: Sequence[Crop]) -> np.ndarray:
        self._crops = list(crops)
        shape = (len(crops), 3, crops[0].out_height, crops[0].out_width)
        return np.broadcast_to(np.float32(0), shape)

    def infer(self, frames: np.ndarray, features: tuple[str, ...]) -> RawMaps:
        batch, height, width = len(frames), frames.shape[2] // 8, frames.shape[3] // 8
        views = len(features)
        self.inferred.append((batch, features))
        score = np.full((batch, views, height, width), BACKGROUND, np.float32)
        rows, columns = np.mgrid[0:height, 0:width].astype(np.float32) * 8 + 4
        cell_boxes = np.stack([columns - 8, rows - 8, columns + 8, rows + 8])
        box = np.tile(cell_boxes, (batch, views, 1, 1, 1))
        for b, crop in enumerate(self._crops):
            for v, name in enumerate(features):
                for thing in self.things:
                    if thing.name == name:
                        self._draw(thing, crop, score[b, v], box[b, v])
        presence = np.full((batch, views), self._presence, np.float32)
        return RawMaps(score, box, presence)

    def _draw(self, thing: Thing, crop: Crop, score: np.ndarray, box: np.ndarray) -> None:
        """A bump of scores around the thing's centre, every cell of it with the same box."""
        part = thing.seen_in(crop)
        if part is None:
            return
        x1, y1, x2, y2 = crop.to_network(np.array([part.box_xyxy]))[0]
        error = self._box_error * [x2 - x1, y2 - y1, x2 - x1, y2 - y1]
        height, width = score.shape
        column = min(max(int((x1 + x2) / 2 / 8), 0), width - 1)
        row = min(max(int((y1 + y2) / 2 / 8), 0), height - 1)
        for r in range(max(0, row - 2), min(height, row + 3)):
            for c in range(max(0, column - 2), min(width, column + 3)):
                height_here = part.score * np.exp(-((r - row) ** 2 + (c - column) ** 2) / 2)
                if height_here > score[r, c]:
                    score[r, c] = height_here
                    box[:, r, c] = np.array([x1, y1, x2, y2]) + error
