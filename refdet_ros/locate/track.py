"""Positions of one target over time, smoothed, with its velocity."""

from __future__ import annotations

from typing import Optional

import numpy as np

from refdet_ros.locate.locator import Position

GATE = 16.27
"""Squared Mahalanobis distance of a position that does not belong to the track: chi-square with
three degrees of freedom, 99.9 %."""
_UNEXPECTED_BEFORE_RESTART = 5


class PositionTrack:
    """A Kalman filter with constant velocity (Bar-Shalom et al. 2001, section 6.2).

    The filter takes each position with its whole covariance, as if errors were new in every frame.
    Those of pose and ground height are not, and do not average out: they are added again to what
    :attr:`covariance` says.

    Args:
        acceleration: standard deviation of the target's, metres per second squared.
        max_speed: standard deviation of the velocity before it is known, metres per second.
        gap_s: without positions for longer, a new track begins.
    """

    def __init__(self, acceleration: float, max_speed: float, gap_s: float) -> None:
        self._acceleration = acceleration
        self._max_speed = max_speed
        self._gap_s = gap_s
        self.track_id = ""
        self._stamp_ns: Optional[int] = None
        self._state = np.zeros(6)
        self._covariance = np.eye(6)
        self._bias = np.zeros((3, 3))
        self._unexpected = 0

    @property
    def position(self) -> np.ndarray:
        """``(3,)`` metres in the fixed frame, at the last update."""
        return self._state[:3]

    @property
    def velocity(self) -> np.ndarray:
        """``(3,)`` metres per second."""
        return self._state[3:]

    @property
    def covariance(self) -> np.ndarray:
        """``(3, 3)`` of the position, what does not average out included."""
        return np.asarray(self._covariance[:3, :3] + self._bias)

    @property
    def velocity_covariance(self) -> np.ndarray:
        """``(3, 3)`` of the velocity."""
        return self._covariance[3:, 3:]

    def update(self, position: Position, stamp_ns: int, track_id: str = "") -> None:
        """Take the position of one frame.

        A new track begins with another ``track_id``, after a gap, when time goes back, and when
        several positions in a row are far from where the track would be.
        """
        elapsed_s = 0.0 if self._stamp_ns is None else (stamp_ns - self._stamp_ns) * 1e-9
        if self._stamp_ns is None or track_id != self.track_id or not 0 <= elapsed_s <= self._gap_s:
            self._begin(position, stamp_ns, track_id)
            return
        predicted, spread = self._predict(elapsed_s)
        innovation = position.point - predicted[:3]
        # A millimetre keeps it regular where a deviation is given as 0.
        uncertainty = spread[:3, :3] + position.covariance + 1e-6 * np.eye(3)
        gain = np.linalg.solve(uncertainty, spread[:3]).T
        if float(innovation @ np.linalg.solve(uncertainty, innovation)) > GATE:
            self._unexpected += 1
            if self._unexpected >= _UNEXPECTED_BEFORE_RESTART:
                self._begin(position, stamp_ns, track_id)
            # The outlier is not used, but the prediction is kept.
            else:
                self._state, self._covariance = predicted, spread
                self._stamp_ns, self._bias = stamp_ns, position.bias
            return
        self._unexpected = 0
        keep = np.eye(6)
        keep[:, :3] -= gain
        self._state = predicted + gain @ innovation
        # Joseph's form stays symmetric and positive.
        self._covariance = keep @ spread @ keep.T + gain @ position.covariance @ gain.T
        self._stamp_ns, self._bias = stamp_ns, position.bias

    def _begin(self, position: Position, stamp_ns: int, track_id: str) -> None:
        self._state = np.concatenate([position.point, np.zeros(3)])
        self._covariance = np.zeros((6, 6))
        self._covariance[:3, :3] = position.covariance
        self._covariance[3:, 3:] = np.eye(3) * self._max_speed**2
        # The first covariance holds the bias already.
        self._bias = np.zeros((3, 3))
        self._stamp_ns, self.track_id, self._unexpected = stamp_ns, track_id, 0

    def _predict(self, elapsed_s: float) -> tuple[np.ndarray, np.ndarray]:
        """State and covariance after some seconds with a random acceleration."""
        move = np.eye(6)
        move[:3, 3:] = np.eye(3) * elapsed_s
        push = np.vstack([np.eye(3) * elapsed_s**2 / 2, np.eye(3) * elapsed_s])
        noise = push @ push.T * self._acceleration**2
        return move @ self._state, move @ self._covariance @ move.T + noise
