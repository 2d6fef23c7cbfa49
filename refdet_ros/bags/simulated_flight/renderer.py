"""Draws what the camera of the simulated flight sees."""

from __future__ import annotations

import cv2
import numpy as np

from refdet_ros.bags.simulated_flight.flight import Flight
from refdet_ros.locate.rotations import to_matrix


class Renderer:
    """Draws what the flight's camera sees.

    Args:
        target_bgr: picture of the target from above, its length to the right.
        ground_bgr: texture of the ground, repeated every ``texture_m`` metres.
    """

    def __init__(
        self, flight: Flight, target_bgr: np.ndarray, ground_bgr: np.ndarray, texture_m: float = 40
    ) -> None:
        self._flight = flight
        self._target = target_bgr
        self._ground = ground_bgr
        self._texture_m = texture_m
        rows, columns = np.mgrid[: flight.height, : flight.width]
        pixels = np.column_stack([columns.ravel(), rows.ravel()]).astype(float)
        self._rays = flight.camera.rays(pixels)

    def frame(self, time_s: float) -> np.ndarray:
        """``(H, W, 3)`` uint8 BGR."""
        flight = self._flight
        pose = flight.camera_pose(time_s)
        rays = self._rays @ to_matrix(pose.rotation).T
        with np.errstate(divide="ignore", invalid="ignore"):
            distances = np.where(rays[:, 2] < 0, -pose.translation[2] / rays[:, 2], np.inf)
            places = pose.translation[:2] + distances[:, None] * rays[:, :2]
        sky = ~np.isfinite(places).all(axis=1)
        places[sky] = 0
        shape = (flight.height, flight.width)
        scale = self._ground.shape[0] / self._texture_m
        picture = cv2.remap(
            self._ground,
            (places[:, 0] * scale).reshape(shape).astype(np.float32),
            (-places[:, 1] * scale).reshape(shape).astype(np.float32),
            cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_WRAP,
        )
        on_target = (places - flight.target(time_s)[:2]) @ flight.target_axes()
        share = on_target / np.array(flight.target_size) + 0.5
        height, width = self._target.shape[:2]
        drawn = cv2.remap(
            self._target,
            (share[:, 0] * width - 0.5).reshape(shape).astype(np.float32),
            ((1 - share[:, 1]) * height - 0.5).reshape(shape).astype(np.float32),
            cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_REPLICATE,
        )
        inside = ((share >= 0) & (share < 1)).all(axis=1).reshape(shape)
        picture[inside] = drawn[inside]
        picture[sky.reshape(shape)] = (235, 206, 170)
        return np.asarray(picture)


def textured_ground(side_px: int = 1024, seed: int = 4) -> np.ndarray:
    """A field with patches, and some dark bushes."""
    random = np.random.default_rng(seed)
    picture = np.full((side_px, side_px, 3), (60, 110, 105), np.float32)
    for cell in (256, 64, 16, 4):
        coarse = random.normal(size=(side_px // cell, side_px // cell, 3)).astype(np.float32)
        coarse = np.pad(coarse, ((0, 1), (0, 1), (0, 0)), mode="wrap")
        picture += 9 * cv2.resize(coarse, None, fx=cell, fy=cell)[:side_px, :side_px]
    for _ in range(60):
        x, y = (int(value) for value in random.integers(20, side_px - 20, 2))
        cv2.circle(picture, (x, y), int(random.integers(4, 16)), (30, 60, 40), -1)
    return np.clip(picture, 0, 255).astype(np.uint8)


def truck() -> np.ndarray:
    """A truck from above, its front to the right."""
    picture = np.full((120, 180, 3), (40, 40, 190), np.uint8)
    picture[10:110, 120:170] = (200, 200, 205)
    picture[20:100, 140:155] = (60, 45, 35)
    picture[10:110:20, 8:112] = (30, 30, 140)
    return picture
