"""How the camera moved between two frames, from sparse optical flow of the background.

Pyramidal Lucas-Kanade (Bouguet 2001) tracks corners (Shi, Tomasi 1994) of the previous frame, and
RANSAC (Fischler, Bolles 1981) fits the rotation, zoom and shift that most of them share. BoT-SORT
(Aharon et al. 2022) compensates camera motion in the same way. Everything runs on a small grey
copy: its size does not change the cost of a corner, but only a small copy lets the flow reach as
far as a drone's camera turns in a tenth of a second.
"""

from __future__ import annotations

from typing import Any, Optional, Sequence, Tuple

import cv2
import numpy as np

from refdet_core.boxes import as_boxes, clip
from refdet_core.errors import RefdetError
from refdet_core.types import BoxXYXY

# Lengths are in pixels of the small grey copy.
_LONGER_SIDE = 320
_CORNERS = 60  # most of the cost is per corner
_CORNER_QUALITY = 0.01  # least share of the best corner's strength
_CORNER_DISTANCE = 16  # spreads them, so that one busy thing does not outvote the rest
_FLOW_WINDOW = (15, 15)
_FLOW_LEVELS = 3  # with this window they reach a quarter of the longer side
_FLOW_CRITERIA = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 10, 0.03)
_INLIER_DISTANCE = 1.0
_RANSAC_ITERATIONS = 500
_TARGET_MARGIN = 2  # a corner on a target's outline moves with the target

_LEAST_INLIERS = 6  # in unrelated frames up to 4 of 60 corners agree by chance
_LEAST_SPREAD = 0.25  # of the frame's width or height
_LARGEST_ZOOM = 1.5


class CameraMotion:
    """Tracks the background from each frame to the next.

    Corners are detected again in each frame. That takes a fifth of the time, and they neither drift
    nor run out.
    """

    def __init__(self) -> None:
        self._frame_size: Optional[Tuple[int, int]] = None
        self._previous_grey = np.empty((0, 0), np.uint8)

    def update(
        self, frame_bgr: np.ndarray, ignore_xyxy: Sequence[BoxXYXY] = ()
    ) -> Optional[np.ndarray]:
        """How the scene moved in the picture since the frame of the last call.

        Args:
            frame_bgr: ``(H, W, 3)`` uint8.
            ignore_xyxy: boxes of objects that move by themselves, in pixels of the *previous*
                frame: the targets as known before this frame is searched.

        Returns:
            ``(2, 3)`` float64 ``M`` in frame pixels, made of rotation, zoom and shift: what was at
            ``(x, y)`` is now at ``M @ (x, y, 1)``. None when the motion is unknown: in the first
            frame, after a change of the frame's size, when fewer than 6 corners agree, when all
            that agree lie within a quarter of the frame's width and height, or when the zoom
            exceeds 1.5.

        Raises:
            RefdetError: not a colour frame, or a box that is not finite.
        """
        frame_size = _size_of(frame_bgr)
        boxes_xyxy = as_boxes(ignore_xyxy)
        if not np.isfinite(boxes_xyxy).all():
            raise RefdetError(f"Boxes to ignore must be finite numbers, got {ignore_xyxy}.")
        grey = _small_grey(frame_bgr)
        previous_grey, self._previous_grey = self._previous_grey, grey
        previous_size, self._frame_size = self._frame_size, frame_size
        if previous_size != frame_size:
            return None
        scale = np.divide(frame_size, grey.shape[1::-1])
        before, after = _follow(previous_grey, grey, _background(boxes_xyxy, scale, grey.shape))
        # Box coordinates: the middle of the first pixel is at a half.
        return _common_motion((before + 0.5) * scale, (after + 0.5) * scale, frame_size)


def _size_of(frame_bgr: np.ndarray) -> Tuple[int, int]:
    """``(width, height)`` of a valid frame."""
    is_array = isinstance(frame_bgr, np.ndarray)
    if not is_array or frame_bgr.ndim != 3 or frame_bgr.dtype != np.uint8:
        came = f"{frame_bgr.dtype} {frame_bgr.shape}" if is_array else type(frame_bgr).__name__
        raise RefdetError(f"Expected a frame as a (H, W, 3) uint8 array, got {came}.")
    height, width, channels = frame_bgr.shape
    if channels != 3 or height == 0 or width == 0:
        raise RefdetError(f"Expected a frame of shape (H, W, 3), got {frame_bgr.shape}.")
    return width, height


def _small_grey(frame_bgr: np.ndarray) -> np.ndarray:
    """The frame in grey, its longer side at most 320 px, averaged so that nothing flickers."""
    height, width = frame_bgr.shape[:2]
    shrink = min(1.0, _LONGER_SIDE / max(width, height))
    size = max(1, round(width * shrink)), max(1, round(height * shrink))
    if shrink < 0.5:
        # Halfway linearly: at 1280x720 the same averages in a quarter of INTER_AREA's time.
        frame_bgr = cv2.resize(frame_bgr, (size[0] * 2, size[1] * 2))
    if shrink < 1:
        frame_bgr = cv2.resize(frame_bgr, size, interpolation=cv2.INTER_AREA)
    return cv2.cvtColor(frame_bgr, cv2.COLOR_BGR2GRAY)


def _background(
    boxes_xyxy: np.ndarray, scale: np.ndarray, grey_shape: Tuple[int, ...]
) -> np.ndarray:
    """Mask of the small grey copy: 255 where corners are allowed, 0 in the boxes."""
    mask = np.full(grey_shape, 255, np.uint8)
    margin = np.array([-1, -1, 1, 1]) * _TARGET_MARGIN
    small = clip(boxes_xyxy / np.tile(scale, 2) + margin, grey_shape[1], grey_shape[0])
    for x1, y1, x2, y2 in small:
        mask[int(y1) : int(np.ceil(y2)), int(x1) : int(np.ceil(x2))] = 0
    return mask


def _follow(
    previous_grey: np.ndarray, grey: np.ndarray, mask: np.ndarray
) -> Tuple[np.ndarray, np.ndarray]:
    """Corners ``(N, 2)`` of the previous picture and where they are now."""
    corners: Any = cv2.goodFeaturesToTrack(  # None without corners; the type stub omits that
        previous_grey, _CORNERS, _CORNER_QUALITY, _CORNER_DISTANCE, mask=mask
    )
    if corners is None:
        return np.empty((0, 2), np.float32), np.empty((0, 2), np.float32)
    moved, found, _ = cv2.calcOpticalFlowPyrLK(
        previous_grey,
        grey,
        corners,
        np.empty_like(corners),
        winSize=_FLOW_WINDOW,
        maxLevel=_FLOW_LEVELS,
        criteria=_FLOW_CRITERIA,
    )
    followed = found.ravel() == 1
    return corners[followed, 0], moved[followed, 0]


def _common_motion(
    before: np.ndarray, after: np.ndarray, frame_size: Tuple[int, int]
) -> Optional[np.ndarray]:
    """The similarity transform that most points ``(N, 2)`` share, in frame pixels, or None."""
    if len(before) < _LEAST_INLIERS:
        return None
    estimate: Tuple[Any, Any] = cv2.estimateAffinePartial2D(
        before,
        after,
        method=cv2.RANSAC,
        ransacReprojThreshold=_INLIER_DISTANCE * max(1.0, max(frame_size) / _LONGER_SIDE),
        maxIters=_RANSAC_ITERATIONS,
    )
    matrix, inliers = estimate
    if matrix is None:
        return None
    agreeing = before[inliers.ravel() == 1]
    if len(agreeing) < _LEAST_INLIERS:
        return None
    spread = np.ptp(agreeing, axis=0) / frame_size
    zoom = float(np.hypot(matrix[0, 0], matrix[1, 0]))
    if spread.max() < _LEAST_SPREAD or not 1 / _LARGEST_ZOOM <= zoom <= _LARGEST_ZOOM:
        return None
    return np.asarray(matrix)
