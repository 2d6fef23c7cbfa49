"""Score and box maps to candidates: local peaks, one box each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional, Sequence

import cv2
import numpy as np

from refdet_core.boxes import nms
from refdet_core.placement import AT_CELL, PLACEMENTS, Peaks

PEAKS_PER_MAP = 16
_PEAK_WINDOW = np.ones((3, 3), dtype=np.uint8)


@dataclass(frozen=True)
class Candidates:
    """Possible objects, with the network's presence output for their crop and view.

    Shapes: ``boxes_xyxy (N, 4)``, ``scores (N,)`` in [0, 1], raw as they leave the network or
    calibrated, ``presence (N,)`` raw in [0, 1].
    """

    boxes_xyxy: np.ndarray
    scores: np.ndarray
    presence: np.ndarray

    def __len__(self) -> int:
        return len(self.scores)

    def chosen(self, which: np.ndarray) -> Candidates:
        """A selection by a mask ``(N,)`` or by indices, in their order."""
        return Candidates(self.boxes_xyxy[which], self.scores[which], self.presence[which])

    def suppressed(self, iou_threshold: float, levels: Optional[np.ndarray] = None) -> Candidates:
        """Non-maximum suppression: drop those that overlap a better one by more than this; best
        first.

        Args:
            levels: ``(N,)``, the scale of each candidate, see :func:`~refdet_core.boxes.nms`.
        """
        return self.chosen(nms(self.boxes_xyxy, self.scores, iou_threshold, levels))

    @staticmethod
    def joined(parts: Sequence[Candidates]) -> Candidates:
        """Concatenate one or more sets."""
        return Candidates(
            np.concatenate([part.boxes_xyxy for part in parts]),
            np.concatenate([part.scores for part in parts]),
            np.concatenate([part.presence for part in parts]),
        )


NOTHING = Candidates(np.zeros((0, 4)), np.zeros(0), np.zeros(0))


def best_view(
    score: np.ndarray,
    box: np.ndarray,
    presence: np.ndarray,
    placement: str = AT_CELL,
    stride: float = 0.0,
) -> Candidates:
    """Candidates of one crop for one template; at each cell the view with the highest score counts.

    Args:
        score: ``(V, h, w)``, the template's views.
        box: ``(V, 4, h, w)`` xyxy in network pixels.
        presence: ``(V,)``.
        placement: of :data:`refdet_core.placement.PLACEMENTS`.
        stride: network pixels from cell to cell.

    Returns:
        Up to :data:`PEAKS_PER_MAP` local maxima, best first, boxes in network pixels of the crop.
        The global maximum is always among them.
    """
    merged = score.max(axis=0)
    peaks = merged >= cv2.dilate(merged, _PEAK_WINDOW)
    rows, columns = np.nonzero(peaks)
    values = merged[rows, columns]
    order = np.argsort(-values, kind="stable")[:PEAKS_PER_MAP]
    rows, columns, values = rows[order], columns[order], values[order]
    winners = score[:, rows, columns].argmax(axis=0)
    boxes = PLACEMENTS[placement](Peaks(merged, box, winners, rows, columns, stride))
    return Candidates(boxes, values, presence[winners])
