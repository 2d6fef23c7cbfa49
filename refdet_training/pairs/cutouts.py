"""Cuts objects out of pictures, and pastes them."""

from __future__ import annotations

import math
import zlib
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np

from refdet_core.errors import SourceError
from refdet_core.types import BoxXYXY
from refdet_training.augment import Rng

PICTURES = ("*.jpg", "*.jpeg", "*.png", "*.webp")
_SIDE = 144  # the largest cut-out is pasted at 110 px
_CUT_SIDE = 96  # GrabCut's time grows with the area
_RIM = 0.06
_OPAQUE = 0.4


def list_pictures(folder: Path) -> list[Path]:
    """The pictures of a folder, by name.

    Raises:
        SourceError: there are none.
    """
    found = sorted(path for pattern in PICTURES for path in folder.glob(pattern))
    if not found:
        raise SourceError(f"{folder} holds no pictures ({', '.join(PICTURES)}).")
    return found


def list_objects(folder: Path) -> dict[str, list[Path]]:
    """The pictures of each object by its name: those of a subfolder show one object at several
    moments, a picture in the folder itself is the only one of its object.

    Raises:
        SourceError: there are none.
    """
    inner = sorted(path for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else []
    moments = {path.name: list_pictures(path) for path in inner}
    if moments and not any(path for pattern in PICTURES for path in folder.glob(pattern)):
        return moments
    return {**moments, **{path.name: [path] for path in list_pictures(folder)}}


@lru_cache(maxsize=2048)
def load_cutout(path: Path) -> np.ndarray:
    """``(H, W, 4)`` uint8 BGRA, cropped tightly around its object, read-only.

    The outline is the picture's alpha channel if it has one, else :func:`object_outline`. It is the
    same for every call, so that template and search view agree.

    Raises:
        SourceError: the picture cannot be read.
    """
    picture = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    if picture is None:
        raise SourceError(f"Cannot read the cut-out {path}; delete it or replace it.")
    if picture.dtype != np.uint8:
        picture = (picture / 257).astype(np.uint8)
    if picture.ndim == 2:
        picture = cv2.cvtColor(picture, cv2.COLOR_GRAY2BGR)
    scale = _SIDE / max(picture.shape[:2])
    if scale < 1:
        picture = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    if picture.shape[2] == 4 and picture[..., 3].min() < 128 <= picture[..., 3].max():
        outline = picture[..., 3]
    else:
        outline = object_outline(picture[..., :3], seed=zlib.crc32(path.name.encode()))
    return _cut_tightly(np.dstack([picture[..., :3], outline]))


def object_outline(picture_bgr: np.ndarray, seed: int = 0) -> np.ndarray:
    """Soft mask ``(H, W)`` uint8 of the object in the middle of a picture.

    GrabCut (Rother et al. 2004) from a rectangle slightly smaller than the picture; its largest
    component without holes. An ellipse if that covers almost nothing or almost everything.

    Args:
        seed: seed of the ellipse's sides.
    """
    height, width = picture_bgr.shape[:2]
    scale = min(1.0, _CUT_SIDE / max(height, width))
    small = cv2.resize(picture_bgr, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    mask = _largest_piece(_grab(small))
    if mask is None:
        mask = _ellipse(small.shape[0], small.shape[1], np.random.default_rng(seed))
    mask = cv2.resize(mask * 255, (width, height), interpolation=cv2.INTER_LINEAR)
    return np.asarray(cv2.GaussianBlur(mask, (0, 0), 1.2))


def recoloured(cutout_bgra: np.ndarray, rng: Rng) -> np.ndarray:
    """The same shape in clearly different colours: another hue, or a tint for grey objects."""
    hsv = cv2.cvtColor(cutout_bgra[..., :3], cv2.COLOR_BGR2HSV).astype(np.float32)
    hue, saturation, value = hsv[..., 0], hsv[..., 1], hsv[..., 2]
    alpha = cutout_bgra[..., 3].astype(np.float32) / 255
    if (saturation * value * alpha).sum() > 60 * 255 * alpha.sum():
        hue[:] = (hue + int(rng.integers(50, 130))) % 180
    else:  # black, grey and white have no visible hue
        hue[:] = rng.integers(180)
        saturation[:] = saturation / 2 + 150
        value[:] = value / 2 + 80
    other = cv2.cvtColor(hsv.clip(0, 255).astype(np.uint8), cv2.COLOR_HSV2BGR)
    return np.dstack([other, cutout_bgra[..., 3]])


def paste(
    scene_bgr: np.ndarray, cutout_bgra: np.ndarray, side: float, centre_xy: tuple[float, float]
) -> BoxXYXY:
    """Blend a cut-out into a scene, in place.

    Args:
        side: square root of the area of its box, scene pixels.
        centre_xy: centre of its box; the box may extend over the border.

    Returns:
        The tight box of the opaque area, including the part outside the scene.
    """
    cutout_bgra = _cut_tightly(cutout_bgra)
    height, width = cutout_bgra.shape[:2]
    scale = side / math.sqrt(height * width)
    size = max(2, round(width * scale)), max(2, round(height * scale))
    shrinks = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    piece = cv2.resize(cutout_bgra, size, interpolation=shrinks).astype(np.float32)
    left, top = round(centre_xy[0] - size[0] / 2), round(centre_xy[1] - size[1] / 2)
    rows = slice(max(0, top), max(0, min(scene_bgr.shape[0], top + size[1])))
    columns = slice(max(0, left), max(0, min(scene_bgr.shape[1], left + size[0])))
    region = scene_bgr[rows, columns]
    shown = piece[rows.start - top : rows.stop - top, columns.start - left : columns.stop - left]
    if region.size:
        alpha = shown[..., 3:] / 255
        region[:] = (region * (1 - alpha) + shown[..., :3] * alpha).round().astype(np.uint8)
    x1, y1, x2, y2 = _opaque_box(piece[..., 3])
    return float(left + x1), float(top + y1), float(left + x2), float(top + y2)


def _grab(picture_bgr: np.ndarray) -> np.ndarray:
    height, width = picture_bgr.shape[:2]
    mask = np.zeros((height, width), np.uint8)
    rim_x, rim_y = max(1, round(width * _RIM)), max(1, round(height * _RIM))
    if width <= 2 * rim_x + 2 or height <= 2 * rim_y + 2:
        return mask
    rectangle = (rim_x, rim_y, width - 2 * rim_x, height - 2 * rim_y)
    models = np.zeros((1, 65)), np.zeros((1, 65))
    cv2.setRNGSeed(0)  # GrabCut starts with a random k-means
    cv2.grabCut(picture_bgr, mask, rectangle, *models, 3, cv2.GC_INIT_WITH_RECT)
    return np.isin(mask, (cv2.GC_FGD, cv2.GC_PR_FGD)).astype(np.uint8)


def _largest_piece(mask: np.ndarray) -> np.ndarray | None:
    """The largest connected component with holes filled; None if it is not usable."""
    opened = cv2.morphologyEx(mask, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
    outlines, _ = cv2.findContours(opened, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    if not outlines:
        return None
    largest = max(outlines, key=cv2.contourArea)
    piece = cv2.drawContours(np.zeros_like(mask), [largest], -1, 1, cv2.FILLED)
    share = piece.mean()
    return np.asarray(piece) if 0.06 <= share <= 0.65 else None


def _ellipse(height: int, width: int, rng: Rng) -> np.ndarray:
    axes = int(width * rng.uniform(0.2, 0.4)), int(height * rng.uniform(0.2, 0.4))
    mask = np.zeros((height, width), np.uint8)
    return np.asarray(cv2.ellipse(mask, (width // 2, height // 2), axes, 0, 0, 360, 1, -1))


def _opaque_box(alpha: np.ndarray) -> tuple[int, int, int, int]:
    """The columns and rows of the opaque area; everything if nothing is opaque."""
    solid = alpha > _OPAQUE * 255
    if not solid.any():
        return 0, 0, alpha.shape[1], alpha.shape[0]
    rows, columns = np.flatnonzero(solid.any(axis=1)), np.flatnonzero(solid.any(axis=0))
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def _cut_tightly(cutout_bgra: np.ndarray) -> np.ndarray:
    x1, y1, x2, y2 = _opaque_box(cutout_bgra[..., 3])
    return cutout_bgra[y1:y2, x1:x2]
