"""Searches images for the class that a few exemplars show."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Callable, Dict, List, Sequence, Tuple

import numpy as np

from refdet_core.backends.base import Backend
from refdet_core.boxes import iou_matrix
from refdet_core.bundle import Bundle
from refdet_core.errors import BundleError, ConfigError
from refdet_core.satellite.exemplars import Exemplar
from refdet_core.satellite.raster import Raster
from refdet_core.satellite.windows import LEAST_VALID, Block, WindowPlan

AUTO, DENSE, CHIPS = "auto", "dense", "chips"
EVALUATIONS = (AUTO, DENSE, CHIPS)
_CHIPS_AT_ONCE = 64


@dataclass(frozen=True)
class SearchSettings:
    """How images are searched.

    Attributes:
        score_threshold: least probability of a window.
        nms_iou: of two windows that overlap by more, the worse one goes.
        evaluation: ``dense`` runs the network over whole blocks, ``chips`` on one window at a time;
            ``auto`` is dense where the bundle says that both give the same.
        window_px: side of a window, pixels of the image; 0: as large as the exemplars' chips.
    """

    score_threshold: float
    nms_iou: float = 0.3
    evaluation: str = AUTO
    window_px: float = 0.0

    def __post_init__(self) -> None:
        if self.evaluation not in EVALUATIONS:
            raise ConfigError(
                f"Unknown evaluation '{self.evaluation}'; valid are {', '.join(EVALUATIONS)}."
            )
        for name in ("score_threshold", "nms_iou"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"{name} must be within 0 and 1, got {getattr(self, name)}.")
        if self.window_px < 0:
            raise ConfigError(f"window_px must not be below 0, got {self.window_px:g}.")


@dataclass(frozen=True)
class Hits:
    """What was found in one image, best first.

    Shapes: ``boxes_xyxy (N, 4)`` pixels of the image, ``scores (N,)`` probabilities.
    """

    boxes_xyxy: np.ndarray
    scores: np.ndarray

    def __len__(self) -> int:
        return len(self.scores)

    @staticmethod
    def joined(parts: Sequence[Hits]) -> Hits:
        """One or more sets, one after the other."""
        return Hits(
            np.concatenate([part.boxes_xyxy for part in parts]),
            np.concatenate([part.scores for part in parts]),
        )


class ImageSearch:
    """A bundle's network and the prototype of each class: the mean of its exemplars' embeddings.

    Args:
        classes: the exemplars of each class. All are searched for at one scale.

    Raises:
        BundleError: the bundle's network does not embed windows.
        ConfigError: dense evaluation of a network that gives something else then.
    """

    def __init__(
        self,
        backend: Backend[Any],
        bundle: Bundle,
        classes: Sequence[Sequence[Exemplar]],
        settings: SearchSettings,
    ) -> None:
        check_embeds(bundle)
        if settings.evaluation == DENSE and not bundle.dense:
            raise ConfigError(
                f"The network of '{bundle.name}' pads its features, so a window in a large image "
                "does not look to it as it does alone; use --evaluation chips."
            )
        self._backend, self._bundle, self._settings = backend, bundle, settings
        self._dense = bundle.dense and settings.evaluation != CHIPS
        prototypes: List[Any] = []
        for exemplars in classes:
            views = [backend.encode_templates(exemplar.chip[None]) for exemplar in exemplars]
            prototypes.append(backend.average(backend.pack(views)))
        self._prototypes = backend.pack(prototypes)
        self._count = len(prototypes)
        sides = np.array([exemplar.side_px for each in classes for exemplar in each])
        side_px = settings.window_px or float(np.exp(np.log(sides).mean()))
        self.scale = bundle.template_size / side_px

    def plan(self, raster: Raster) -> WindowPlan:
        """The windows of an image."""
        window, stride = self._bundle.template_size, round(self._bundle.stride)
        return WindowPlan(raster.width, raster.height, self.scale, window, stride)

    def search(
        self, raster: Raster, progress: Callable[[int], Any] = lambda windows: None
    ) -> List[Hits]:
        """Search one image for every class.

        Args:
            progress: is told how many windows were looked at since it was told last.
        """
        plan = self.plan(raster)
        seen: List[List[Hits]] = [[] for _ in range(self._count)]
        for block in plan.blocks():
            size = block.width_px, block.height_px
            values, valid = raster.read(block.left, block.top, block.width, block.height, size)
            found = self.scores(values, block)
            shows = _valid_shares(valid, block, plan) >= LEAST_VALID
            boxes = plan.boxes(block)
            for own, scores in zip(seen, found):
                chosen = shows & (scores >= self._settings.score_threshold)
                own.append(Hits(boxes[chosen], scores[chosen]))
            progress(len(boxes))
        limits = np.array([raster.width, raster.height] * 2, dtype=float)
        results: List[Hits] = []
        for own in seen:
            kept = suppress(Hits.joined(own), self._settings.nms_iou)
            results.append(Hits(np.clip(kept.boxes_xyxy, 0, limits), kept.scores))
        return results

    def scores(self, values: np.ndarray, block: Block) -> np.ndarray:
        """Probabilities of each class in a block's windows, ``(classes, rows * columns)``.

        Args:
            values: what was read of the block, ``(bands, h, w)``.
        """
        if self._dense:
            return self._run(values[None])
        window, stride = self._bundle.template_size, round(self._bundle.stride)
        chips = np.stack(
            [
                values[:, y : y + window, x : x + window]
                for y in range(0, block.rows * stride, stride)
                for x in range(0, block.columns * stride, stride)
            ]
        )
        parts = range(0, len(chips), _CHIPS_AT_ONCE)
        return np.concatenate(
            [self._run(chips[start : start + _CHIPS_AT_ONCE]) for start in parts], axis=1
        )

    def _run(self, frames: np.ndarray) -> np.ndarray:
        """The same for the windows of some frames, frame by frame and row by row."""
        maps = self._backend.infer(np.ascontiguousarray(frames), self._prototypes)
        box = maps.box[0, 0]
        score = maps.score[:, :, box[2] > box[0]]  # a cell without a window has no box
        presence = np.broadcast_to(maps.presence[:, :, None], score.shape)
        found = np.asarray(self._bundle.calibration(score, presence))
        return np.asarray(found.transpose(1, 0, 2).reshape(self._count, -1))


def suppress(hits: Hits, iou: float) -> Hits:
    """Greedy non-maximum suppression of windows of one size, best first. Each is compared with its
    neighbours alone: a large image may have more windows than a matrix of all pairs has room for.
    """
    if not len(hits):
        return hits
    order = np.argsort(-hits.scores, kind="stable")
    boxes, scores = hits.boxes_xyxy[order], hits.scores[order]
    cells = np.floor(boxes[:, :2] / float((boxes[:, 2:] - boxes[:, :2]).max())).astype(int)
    taken: Dict[Tuple[int, int], List[int]] = {}
    kept: List[int] = []
    for index, (column, row) in enumerate(cells.tolist()):
        near = [
            other
            for x in (column - 1, column, column + 1)
            for y in (row - 1, row, row + 1)
            for other in taken.get((x, y), ())
        ]
        if near and iou_matrix(boxes[index : index + 1], boxes[near]).max() > iou:
            continue
        kept.append(index)
        taken.setdefault((column, row), []).append(index)
    return Hits(boxes[kept], scores[kept])


def check_embeds(bundle: Bundle) -> None:
    """Refuse a bundle whose network does not embed windows.

    Raises:
        BundleError: it does not.
    """
    if bundle.model.get("neck") != "embedding":
        raise BundleError(
            f"The network of '{bundle.name}' does not embed windows; search-images needs a bundle "
            "of the recipe satellite_triplet or one like it."
        )


def _valid_shares(valid: np.ndarray, block: Block, plan: WindowPlan) -> np.ndarray:
    """Share of each window that shows data, ``(rows * columns,)``."""
    if valid.all():
        return np.ones(block.rows * block.columns)
    sums = np.zeros((valid.shape[0] + 1, valid.shape[1] + 1))
    sums[1:, 1:] = valid.cumsum(axis=0).cumsum(axis=1)
    window, stride = plan.window, plan.stride
    y = np.arange(block.rows)[:, None] * stride
    x = np.arange(block.columns)[None, :] * stride
    inside = sums[y + window, x + window] - sums[y, x + window] - sums[y + window, x] + sums[y, x]
    return np.asarray(inside / window**2).ravel()
