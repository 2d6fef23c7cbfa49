"""How one target moves: a constant-velocity Kalman filter of its centre and size.

The filter is OpenCV's (``cv2.KalmanFilter``; Kalman 1960). An unseen target coasts; after a while
its velocity decays (an Ornstein-Uhlenbeck process), so that a lost target does not fly off.
"""

from __future__ import annotations

import math
from typing import Tuple

import cv2
import numpy as np

from refdet_core.errors import ConfigError, RefdetError
from refdet_core.types import BoxXYXY

_LEAST_CONFIDENCE = 0.05  # avoids a division by almost zero; such a box hardly counts
_LOG_SIZE_RANGE = (math.log(0.1), math.log(1e6))  # pixels; larger squares lose precision
_LONGEST_STEP_S = 60.0  # nothing is known after a minute unseen


class Motion:
    """The position and velocity of one target, with their uncertainty.

    The state is ``(centre x, centre y, velocity x, velocity y, log width, log height)`` in
    frame pixels and seconds. The logarithm keeps the size positive and makes its changes relative.
    Each frame takes three calls in this order: :meth:`move` with the camera's motion since the last
    frame, if known; :meth:`predict`; and :meth:`update` if the target was seen. With ``move`` the
    velocity is the target's own; without it, the velocity includes the camera's. All noise is
    relative to the target's size (the square root of its area), so that one setting fits near and
    far targets.

    Args:
        box_xyxy: the target in the first frame.
        start_speed: standard deviation of the unknown initial velocity, in sizes per second.
        acceleration: how much the velocity wanders within one second, in sizes per second
            (standard deviation).
        size_change: how much the size wanders within one second, as a share (standard deviation).
        position_noise: standard deviation of a measured centre at confidence 1, in sizes.
        size_noise: the same for a measured width or height, as a share.
        coast_s: an unseen target keeps its velocity for this long.
        decay_s: after that, time in which the velocity falls by a factor of e.
        velocity_px_s: of the centre in the first frame.

    Raises:
        ConfigError: a setting is not a positive number.
        RefdetError: the box is not finite or is empty.
    """

    def __init__(
        self,
        box_xyxy: BoxXYXY,
        *,
        start_speed: float = 3.0,
        acceleration: float = 3.0,
        size_change: float = 0.3,
        position_noise: float = 0.05,
        size_noise: float = 0.1,
        coast_s: float = 1.0,
        decay_s: float = 0.5,
        velocity_px_s: Tuple[float, float] = (0.0, 0.0),
    ) -> None:
        settings = {
            "start_speed": start_speed,
            "acceleration": acceleration,
            "size_change": size_change,
            "position_noise": position_noise,
            "size_noise": size_noise,
            "coast_s": coast_s,
            "decay_s": decay_s,
        }
        for name, value in settings.items():
            if not (math.isfinite(value) and value > 0):
                raise ConfigError(f"{name} must be a positive number, got {value}.")
        self._acceleration = acceleration
        self._size_change = size_change
        self._position_noise = position_noise
        self._size_noise = size_noise
        self._coast_s = coast_s
        self._decay_s = decay_s
        self._unseen_s = 0.0
        measured = _measurement(box_xyxy)
        size = math.exp((measured[2] + measured[3]) / 2)
        deviations = [position_noise * size] * 2 + [start_speed * size] * 2 + [size_noise] * 2
        self._filter = cv2.KalmanFilter(6, 4, 0, cv2.CV_64F)
        state = [*measured[:2], *velocity_px_s, *measured[2:]]
        self._filter.statePost = np.array([state], float).T
        self._filter.errorCovPost = np.diag(np.square(deviations))
        self._filter.measurementMatrix = np.eye(6)[[0, 1, 4, 5]]

    @property
    def box_xyxy(self) -> BoxXYXY:
        """The current estimate in frame pixels; it may lie outside the frame."""
        x, y, _, _, log_width, log_height = (float(v) for v in self._filter.statePost[:, 0])
        half_width, half_height = math.exp(log_width) / 2, math.exp(log_height) / 2
        return x - half_width, y - half_height, x + half_width, y + half_height

    @property
    def velocity_px_s(self) -> Tuple[float, float]:
        """The current estimate of the centre's velocity, pixels per second."""
        return float(self._filter.statePost[2, 0]), float(self._filter.statePost[3, 0])

    @property
    def position_std_px(self) -> float:
        """Standard deviation of the centre along one axis; grows while the target is unseen."""
        return math.sqrt(np.trace(self._filter.errorCovPost[:2, :2]) / 2)

    def predict(self, dt_s: float) -> BoxXYXY:
        """Advance by ``dt_s`` seconds; two short steps equal one long step.

        The velocity stays for ``coast_s`` after the last :meth:`update`, then it decays, so the
        target moves by no more than ``velocity * (coast_s + decay_s)``. The size stays.

        Raises:
            RefdetError: ``dt_s`` is negative or not finite.
        """
        if not (math.isfinite(dt_s) and dt_s >= 0):
            raise RefdetError(
                f"Expected dt_s of 0 or more seconds, got {dt_s}. "
                "If the clock was set back, start a new Motion."
            )
        dt_s = min(dt_s, _LONGEST_STEP_S)
        coasting = min(dt_s, max(0.0, self._coast_s - self._unseen_s))
        self._step(coasting, *_constant_velocity(coasting))
        if dt_s > coasting:
            self._step(dt_s - coasting, *_decaying_velocity(dt_s - coasting, self._decay_s))
        self._unseen_s += dt_s
        return self.box_xyxy

    def update(self, box_xyxy: BoxXYXY, confidence: float) -> BoxXYXY:
        """Correct the estimate with a box seen in this frame; returns the new estimate.

        Args:
            box_xyxy: in frame pixels.
            confidence: in [0, 1]; the measurement's standard deviation is divided by it.

        Raises:
            RefdetError: the box is not finite or is empty, or the confidence is out of range.
        """
        if not 0 <= confidence <= 1:
            raise RefdetError(f"Expected a confidence between 0 and 1, got {confidence}.")
        measured = _measurement(box_xyxy)
        doubt = 1 / max(confidence, _LEAST_CONFIDENCE)
        deviations = [self._position_noise * self._size_px()] * 2 + [self._size_noise] * 2
        self._filter.measurementNoiseCov = np.diag(np.square(deviations)) * doubt**2
        # OpenCV corrects the state of its own predict, which does not include a later move.
        self._filter.statePre = self._filter.statePost
        self._filter.errorCovPre = self._filter.errorCovPost
        self._filter.correct(measured[:, None])
        self._unseen_s = 0.0
        return self.box_xyxy

    def move(self, camera: np.ndarray) -> BoxXYXY:
        """Transform the estimate from the previous frame's pixels into this frame's.

        Args:
            camera: ``(2, 3)`` affine matrix as
                :meth:`refdet_core.search.camera_motion.CameraMotion.update` returns it. The
                centre follows it, the velocity turns and scales with it, the size scales with
                it; a box has no direction, so its sides do not turn.

        Raises:
            RefdetError: not a finite, invertible ``(2, 3)`` matrix.
        """
        matrix = np.asarray(camera, dtype=np.float64)
        if matrix.shape != (2, 3) or not np.isfinite(matrix).all():
            raise RefdetError(
                f"Expected a finite camera matrix of shape (2, 3), got shape {matrix.shape}"
                + (": " + str(matrix.tolist()) if matrix.size <= 9 else "")
                + "."
            )
        linear = matrix[:, :2]
        area_ratio = abs(float(np.linalg.det(linear)))
        if area_ratio < 1e-6:
            raise RefdetError(f"The camera matrix {matrix.tolist()} shrinks the frame to nothing.")
        jacobian = np.eye(6)
        jacobian[:2, :2] = jacobian[2:4, 2:4] = linear
        state = jacobian @ self._filter.statePost
        state[:2, 0] += matrix[:, 2]
        state[4:, 0] = np.clip(state[4:, 0] + math.log(area_ratio) / 2, *_LOG_SIZE_RANGE)
        self._filter.statePost = state
        self._filter.errorCovPost = jacobian @ self._filter.errorCovPost @ jacobian.T
        return self.box_xyxy

    def _size_px(self) -> float:
        """Square root of the box's area."""
        return math.exp(float(self._filter.statePost[4:, 0].mean()))

    def _step(self, dt_s: float, transition: np.ndarray, noise: np.ndarray) -> None:
        """One prediction; ``transition`` and ``noise`` ``(2, 2)`` are for (position, velocity)."""
        acceleration_px = self._acceleration * self._size_px()
        axes = np.eye(2)
        self._filter.transitionMatrix = _block_diagonal(transition, axes)
        self._filter.processNoiseCov = _block_diagonal(
            noise * acceleration_px**2, axes * self._size_change**2 * dt_s
        )
        self._filter.predict()


def _measurement(box_xyxy: BoxXYXY) -> np.ndarray:
    """``(4,)`` float64: centre x, centre y, log width, log height."""
    box = np.asarray(box_xyxy, dtype=np.float64)
    if box.shape != (4,) or not np.isfinite(box).all() or not (box[2:] > box[:2]).all():
        raise RefdetError(
            "Expected a box of four finite numbers x1, y1, x2, y2 with x2 > x1 and y2 > y1, "
            f"got {box_xyxy}."
        )
    log_size = np.clip(np.log(box[2:] - box[:2]), *_LOG_SIZE_RANGE)
    return np.concatenate([(box[:2] + box[2:]) / 2, log_size])


def _constant_velocity(dt_s: float) -> Tuple[np.ndarray, np.ndarray]:
    """Transition and noise of (position, velocity) under white acceleration of density 1.

    Bar-Shalom, Li, Kirubarajan: Estimation with Applications to Tracking and Navigation, 6.2.2.
    """
    transition = np.array([[1, dt_s], [0, 1]])
    return transition, np.array([[dt_s**3 / 3, dt_s**2 / 2], [dt_s**2 / 2, dt_s]])


def _decaying_velocity(dt_s: float, decay_s: float) -> Tuple[np.ndarray, np.ndarray]:
    """The same for a velocity that decays with the time constant ``decay_s``.

    Integrals of the Ornstein-Uhlenbeck process (Uhlenbeck, Ornstein 1930); the same book uses them
    for Singer's model, 8.2.2.
    """
    kept = math.exp(-dt_s / decay_s)
    lost = 1 - kept
    transition = np.array([[1, decay_s * lost], [0, kept]])
    position = decay_s**2 * (dt_s - decay_s * (2 * lost - (1 - kept**2) / 2))
    mixed = decay_s**2 * lost**2 / 2
    return transition, np.array([[position, mixed], [mixed, decay_s * (1 - kept**2) / 2]])


def _block_diagonal(motion: np.ndarray, size: np.ndarray) -> np.ndarray:
    """``(6, 6)`` from ``(2, 2)`` of (position, velocity), alike for x and y, and of the size."""
    matrix = np.zeros((6, 6))
    for axis in (0, 1):
        matrix[axis:4:2, axis:4:2] = motion
    matrix[4:, 4:] = size
    return matrix
