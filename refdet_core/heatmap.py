"""Merges the search's score maps into one picture of the frame."""

from __future__ import annotations

from typing import Sequence, Tuple

import cv2
import numpy as np

from refdet_core.imaging import Crop


def merge_maps(
    crops: Sequence[Crop],
    scores: Sequence[np.ndarray],
    frame_size: Tuple[int, int],
    stride: float,
) -> np.ndarray:
    """Merge the crops' score maps; where crops overlap, the higher score counts.

    Args:
        crops: crops of the frame, of any sizes.
        scores: one ``(h, w)`` float32 map per crop.
        frame_size: ``(width, height)`` of the frame.
        stride: network pixels per cell.

    Returns:
        ``(h, w)`` float32, about one cell per network cell, covering exactly the frame.
    """
    width, height = frame_size
    finest = float(max((crop.scale[:2] / stride).max() for crop in crops))
    canvas = np.zeros(
        (max(1, round(height * finest)), max(1, round(width * finest))), dtype=np.float32
    )
    for crop, score in zip(crops, scores):
        # Cell centres to canvas pixels: cell i covers network pixels [i, i + 1) * stride.
        to_canvas_x = canvas.shape[1] / width * crop.width / score.shape[1]
        to_canvas_y = canvas.shape[0] / height * crop.height / score.shape[0]
        start_x, start_y = crop.x * canvas.shape[1] / width, crop.y * canvas.shape[0] / height
        matrix = np.array(
            [
                [to_canvas_x, 0, start_x + 0.5 * to_canvas_x - 0.5],
                [0, to_canvas_y, start_y + 0.5 * to_canvas_y - 0.5],
            ]
        )
        laid = cv2.warpAffine(score, matrix, canvas.shape[1::-1], flags=cv2.INTER_LINEAR)
        np.maximum(canvas, laid, out=canvas)
    return canvas


def colour(heatmap: np.ndarray, size: Tuple[int, int]) -> np.ndarray:
    """The heatmap in colours, ``(H, W, 3)`` uint8 BGR of ``size = (width, height)``."""
    grey = (np.clip(heatmap, 0, 1) * 255).astype(np.uint8)
    enlarged = cv2.resize(grey, size, interpolation=cv2.INTER_LINEAR)
    return np.asarray(cv2.applyColorMap(enlarged, cv2.COLORMAP_TURBO))


def overlay(frame_bgr: np.ndarray, heatmap: np.ndarray, strength: float = 0.5) -> np.ndarray:
    """The coloured heatmap blended over the frame, same shape as the frame."""
    return cv2.addWeighted(
        frame_bgr, 1 - strength, colour(heatmap, frame_bgr.shape[1::-1]), strength, 0
    )
