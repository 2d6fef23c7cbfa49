"""Where exactly an object is that a peak of a score map stands for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Callable, Dict

import cv2
import numpy as np

from refdet_core.calibration import logit

UPSAMPLING = 16
"""Places between two cells that SiamFC looks at (Bertinetto et al., ECCV-W 2016, section 4.1)."""
MASS_SHARE = 0.75
STRONGEST = 9
_RIM = 2  # cells around a peak's own neighbours that a cubic interpolation needs
_REACH = 12  # cells around a peak whose mass may be the object's: a window of 25 x 25


@dataclass(frozen=True)
class Peaks:
    """The peaks of a score map, and what the network says there.

    Attributes:
        score: ``(h, w)`` in [0, 1].
        box: ``(V, D, h, w)``, xyxy network pixels first.
        views, rows, columns: of each peak, ``(N,)``.
        stride: network pixels from cell to cell.
    """

    score: np.ndarray
    box: np.ndarray
    views: np.ndarray
    rows: np.ndarray
    columns: np.ndarray
    stride: float


Place = Callable[[Peaks], np.ndarray]
"""Returns the boxes of the peaks, ``(N, D)`` like :attr:`Peaks.box`."""


def at_cell(peaks: Peaks) -> np.ndarray:
    """The boxes that the network says at the peaks' cells."""
    return np.asarray(peaks.box[peaks.views, :, peaks.rows, peaks.columns])


def upsampled(peaks: Peaks) -> np.ndarray:
    """Those boxes, moved to where the score, interpolated bicubically, is highest: for networks
    that do not say where in a cell the object is (SiamFC)."""
    boxes, score = at_cell(peaks).copy(), peaks.score
    # Cells outside of what the network sees say 0, which would pull the curve down like a cliff.
    known = score[score > 0]
    floor = known.min() if len(known) else 0.0
    rim = 1 + _RIM
    padded = cv2.copyMakeBorder(
        logit(np.maximum(score, floor)), rim, rim, rim, rim, cv2.BORDER_REPLICATE
    )
    for number, (row, column) in enumerate(zip(peaks.rows, peaks.columns)):
        side = 2 * rim + 1
        patch = padded[row : row + side, column : column + side]
        fine = cv2.resize(patch, None, fx=UPSAMPLING, fy=UPSAMPLING, interpolation=cv2.INTER_CUBIC)
        inner = fine[_RIM * UPSAMPLING : -_RIM * UPSAMPLING, _RIM * UPSAMPLING : -_RIM * UPSAMPLING]
        best = np.array(np.unravel_index(int(inner.argmax()), inner.shape))
        down, right = (best + 0.5) / UPSAMPLING - 1.5
        boxes[number, :4] += np.array([right, down, right, down]) * peaks.stride
    return np.asarray(boxes)


def by_mass(peaks: Peaks) -> np.ndarray:
    """Boxes at the centre of mass of the strongest cells around a peak that hold three quarters of
    the scores there, as large as the nine strongest say on average, weighted by their scores: the
    cross-attention tracker's."""
    boxes = at_cell(peaks).copy()
    for number, (view, row, column) in enumerate(zip(peaks.views, peaks.rows, peaks.columns)):
        down = slice(max(0, row - _REACH), row + _REACH + 1)
        across = slice(max(0, column - _REACH), column + _REACH + 1)
        scores = peaks.score[down, across].ravel()
        around = peaks.box[view, :4, down, across].reshape(4, -1)
        order = np.argsort(-scores, kind="stable")
        mass = np.cumsum(scores[order])
        most = order[: int(np.searchsorted(mass, MASS_SHARE * mass[-1])) + 1]
        centre = np.average((around[:2] + around[2:])[:, most] / 2, axis=1, weights=scores[most])
        strongest = order[:STRONGEST]
        sides = np.average(
            (around[2:] - around[:2])[:, strongest], axis=1, weights=scores[strongest]
        )
        boxes[number, :4] = np.concatenate([centre - sides / 2, centre + sides / 2])
    return np.asarray(boxes)


AT_CELL = "cell"
PLACEMENTS: Dict[str, Place] = {AT_CELL: at_cell, "upsampled": upsampled, "mass": by_mass}
"""By the name in ``bundle.yaml``."""
