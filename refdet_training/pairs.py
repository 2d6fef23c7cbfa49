"""Training pairs: a template view and a search view, with what is known about them."""

from __future__ import annotations

import zlib
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from refdet_core.errors import SourceError
from refdet_core.types import BoxXYXY
from refdet_training.augment import Rng, photometric, search_view, template_view
from refdet_training.videos import Instance


@dataclass(frozen=True)
class PairConfig:
    """How pairs are drawn. The one place of these defaults.

    Attributes:
        img_size, template_size: network input sides.
        template_context: SiamFC's context share.
        absent_share: share of frames cropped so that the object is not in view.
    """

    img_size: int = 256
    template_size: int = 128
    template_context: float = 0.5
    absent_share: float = 0.2


@dataclass(frozen=True)
class Pair:
    """One template view, one search view.

    Attributes:
        template_bgr, search_bgr: uint8 pictures.
        box_xyxy: the object in the search view, network pixels; meaningless when absent.
        present: whether enough of it is in view.
        template_family, search_families: a template is known to be absent from another pair's
            search view only if its family is not among that view's families.
    """

    template_bgr: np.ndarray
    search_bgr: np.ndarray
    box_xyxy: BoxXYXY
    present: bool
    template_family: str
    search_families: frozenset[str]


class PairSource(ABC):
    """Something pairs can be drawn from."""

    @abstractmethod
    def draw(self, config: PairConfig, rng: Rng) -> Pair:
        """One random pair."""


class VideoPairs(PairSource):
    """Two different frames of one instance; instances are drawn equally often."""

    def __init__(self, instances: Sequence[Instance], smallest_px: float = 5.0) -> None:
        self._instances = [item for item in instances if len(item.present) >= 2]
        self._smallest = smallest_px
        if not self._instances:
            raise SourceError("No instance is visible in two frames; nothing to pair.")

    def draw(self, config: PairConfig, rng: Rng) -> Pair:
        instance = self._instances[rng.integers(len(self._instances))]
        first, second = (instance.present[i] for i in rng.integers(len(instance.present), size=2))
        template_bgr, search_bgr = (
            cv2.imread(str(instance.frames[first])),
            cv2.imread(str(instance.frames[second])),
        )
        return _finish(
            template_bgr,
            instance.boxes_xyxy[first],
            search_bgr,
            instance.boxes_xyxy[second],
            instance.family,
            frozenset([instance.family]),
            config,
            rng,
        )


class PhotoPairs(PairSource):
    """Two augmented views of one labelled object in one aerial photo (YOLO txt boxes).

    Its neighbours of the same class are in the search view as look-alikes.
    """

    def __init__(self, folder: Path) -> None:
        self._photos: list[tuple[Path, np.ndarray]] = []
        for label in sorted(folder.glob("*.txt")):
            photo = label.with_suffix(".jpg")
            if photo.exists() and label.stat().st_size:
                rows = np.loadtxt(label, ndmin=2)
                if len(rows):
                    self._photos.append((photo, rows[:, 1:5]))
        if not self._photos:
            raise SourceError(f"{folder} holds no labelled photos (NAME.jpg with NAME.txt).")

    def draw(self, config: PairConfig, rng: Rng) -> Pair:
        path, rows = self._photos[rng.integers(len(self._photos))]
        photo = cv2.imread(str(path))
        height, width = photo.shape[:2]
        centre_x, centre_y, box_width, box_height = rows[rng.integers(len(rows))] * [
            width,
            height,
            width,
            height,
        ]
        box = (
            centre_x - box_width / 2,
            centre_y - box_height / 2,
            centre_x + box_width / 2,
            centre_y + box_height / 2,
        )
        family = "photos:" + "".join(c for c in path.stem if c.isalpha())
        return _finish(photo, box, photo, box, family, frozenset([family]), config, rng)


class CutoutPairs(PairSource):
    """A cut-out pasted on an aerial background against the photo it was cut from.

    The cut-out is an ellipse or rounded box around the photo's centre, feathered, turned,
    recoloured and shrunk to 8-110 px; the template sees it large, as a close-up would.
    Others are pasted beside it as distractors.
    """

    def __init__(self, cutouts: Path, backgrounds: Sequence[Path]) -> None:
        self._cutouts = sorted(cutouts.glob("*.jpg"))
        self._backgrounds = list(backgrounds)
        if not self._cutouts or not self._backgrounds:
            raise SourceError(f"Synthetic pairs need pictures in {cutouts} and backgrounds.")
        self._cache: dict[Path, np.ndarray] = {}

    def draw(self, config: PairConfig, rng: Rng) -> Pair:
        size = config.img_size
        path = self._cutouts[rng.integers(len(self._cutouts))]
        picture, mask = self._cutout(path, rng)
        scene = self._background(size, rng)
        side = float(np.exp(rng.uniform(np.log(8), np.log(110))))
        for _ in range(int(rng.integers(0, 4))):
            other = self._cutouts[rng.integers(len(self._cutouts))]
            if other != path:
                self._paste(
                    scene, *self._cutout(other, rng), side * np.exp(rng.normal(0, 0.4)), rng
                )
        box: BoxXYXY = (0.0, 0.0, 1.0, 1.0)
        present = bool(rng.random() >= config.absent_share)
        if present:
            turned, turned_mask = self._turn(picture, mask, rng)
            box = self._paste(scene, turned, turned_mask, side, rng)
        template_scene = self._background(256, rng)
        template_box = self._paste(template_scene, picture, mask, float(rng.uniform(60, 120)), rng)
        return Pair(
            template_view(
                template_scene, template_box, config.template_size, config.template_context, rng
            ),
            photometric(scene, rng),
            box,
            present,
            f"cutout:{path.name}",
            frozenset([f"cutout:{path.name}"]),
        )

    def _load(self, path: Path) -> np.ndarray:
        if path not in self._cache:
            picture = cv2.imread(str(path))
            scale = 160 / max(picture.shape[:2])
            self._cache[path] = cv2.resize(
                picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA
            )
        return self._cache[path]

    def _cutout(self, path: Path, rng: Rng) -> tuple[np.ndarray, np.ndarray]:
        picture = self._load(path)
        height, width = picture.shape[:2]
        # The mask depends on the picture alone, so that template and search agree on the object.
        shape = np.random.default_rng(zlib.crc32(path.name.encode()))
        piece_width, piece_height = (
            int(width * shape.uniform(0.4, 0.8)),
            int(height * shape.uniform(0.4, 0.8)),
        )
        left, top = (width - piece_width) // 2, (height - piece_height) // 2
        piece = picture[top : top + piece_height, left : left + piece_width]
        mask = np.zeros(piece.shape[:2], np.float32)
        if shape.random() < 0.7:
            centre = (piece_width // 2, piece_height // 2)
            cv2.ellipse(
                mask, centre, (piece_width // 2 - 3, piece_height // 2 - 3), 0, 0, 360, 1.0, -1
            )
        else:
            cv2.rectangle(mask, (3, 3), (piece_width - 4, piece_height - 4), 1.0, -1)
        return piece, cv2.GaussianBlur(mask, (0, 0), 1.5)

    def _turn(
        self, picture: np.ndarray, mask: np.ndarray, rng: Rng
    ) -> tuple[np.ndarray, np.ndarray]:
        height, width = picture.shape[:2]
        joined = np.dstack([picture.astype(np.float32), mask * 255]).astype(np.uint8)
        space = int(0.2 * max(height, width))
        joined = cv2.copyMakeBorder(
            joined, space, space, space, space, cv2.BORDER_CONSTANT, value=(0, 0, 0, 0)
        )
        joined = perspective_rgba(joined, rng)
        return joined[..., :3], joined[..., 3].astype(np.float32) / 255

    def _background(self, size: int, rng: Rng) -> np.ndarray:
        path = self._backgrounds[rng.integers(len(self._backgrounds))]
        picture = cv2.imread(str(path), cv2.IMREAD_COLOR)
        span = int(size * np.exp(rng.uniform(-0.5, 0.4)))
        height, width = picture.shape[:2]
        span = min(span, height, width)
        top, left = int(rng.integers(height - span + 1)), int(rng.integers(width - span + 1))
        return cv2.resize(
            picture[top : top + span, left : left + span],
            (size, size),
            interpolation=cv2.INTER_AREA,
        )

    def _paste(
        self, scene: np.ndarray, picture: np.ndarray, mask: np.ndarray, side: float, rng: Rng
    ) -> BoxXYXY:
        """Blend a cut-out into the scene in place at a random spot; returns its tight box."""
        rows, columns = np.nonzero(mask > 0.3)
        top, bottom, left, right = rows.min(), rows.max() + 1, columns.min(), columns.max() + 1
        picture, mask = picture[top:bottom, left:right], mask[top:bottom, left:right]
        scale = side / np.sqrt((bottom - top) * (right - left))
        size = scene.shape[0]
        width = int(np.clip(round((right - left) * scale), 4, size - 2))
        height = int(np.clip(round((bottom - top) * scale), 4, size - 2))
        small = cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA).astype(
            np.float32
        )
        alpha = cv2.resize(mask, (width, height), interpolation=cv2.INTER_AREA)[..., None]
        x, y = int(rng.integers(size - width + 1)), int(rng.integers(size - height + 1))
        region = scene[y : y + height, x : x + width]
        region[:] = np.clip(region * (1 - alpha) + small * alpha, 0, 255).astype(np.uint8)
        return float(x), float(y), float(x + width), float(y + height)


def perspective_rgba(picture: np.ndarray, rng: Rng) -> np.ndarray:
    """Turn and tilt a BGRA picture; what comes in from outside is transparent."""
    height, width = picture.shape[:2]
    corners = np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float32)
    shift = rng.uniform(-0.1, 0.1, size=(4, 2)) * (width, height)
    matrix = cv2.getPerspectiveTransform(corners, (corners + shift).astype(np.float32))
    turn = np.vstack(
        [cv2.getRotationMatrix2D((width / 2, height / 2), rng.normal(0, 20), 1.0), [0, 0, 1]]
    )
    return cv2.warpPerspective(picture, turn @ matrix, (width, height))


def _finish(
    template_bgr: np.ndarray,
    template_box: BoxXYXY,
    search_bgr: np.ndarray,
    search_box: BoxXYXY,
    family: str,
    families: frozenset[str],
    config: PairConfig,
    rng: Rng,
) -> Pair:
    away = bool(rng.random() < config.absent_share)
    search, box = search_view(search_bgr, search_box, config.img_size, rng, away)
    template = template_view(
        template_bgr, template_box, config.template_size, config.template_context, rng
    )
    if rng.random() < 0.5:
        search, template = (
            np.ascontiguousarray(search[:, ::-1]),
            np.ascontiguousarray(template[:, ::-1]),
        )
        box = (config.img_size - box[2], box[1], config.img_size - box[0], box[3])
    return Pair(
        template,
        photometric(search, rng),
        box,
        _mostly_inside(box, config.img_size),
        family,
        families,
    )


def _mostly_inside(box_xyxy: BoxXYXY, size: int) -> bool:
    x1, y1, x2, y2 = box_xyxy
    inside = max(0.0, min(x2, size) - max(x1, 0)) * max(0.0, min(y2, size) - max(y1, 0))
    return inside >= 0.5 * (x2 - x1) * (y2 - y1)


class PairDataset(Dataset):
    """Pairs drawn from several sources with given shares, reproducible by seed and index.

    Args:
        sources: ``(source, share)``.
        length: pairs in one epoch.
    """

    def __init__(
        self,
        sources: Sequence[tuple[PairSource, float]],
        config: PairConfig,
        length: int,
        seed: int,
    ) -> None:
        self._sources = [source for source, _ in sources]
        shares = np.array([share for _, share in sources], dtype=np.float64)
        self._shares = shares / shares.sum()
        self._config, self._length, self._seed = config, length, seed

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, index: int) -> Pair:
        rng = np.random.default_rng((self._seed, index))
        return self._sources[rng.choice(len(self._sources), p=self._shares)].draw(self._config, rng)


@dataclass(frozen=True)
class PairBatch:
    """B pairs as tensors: images ``(B, 3, s, s)`` uint8 RGB, ``boxes_xyxy (B, 4)``,
    ``present (B,)`` bool, ``ignore (B, B)`` bool over (frame, template)."""

    templates: Tensor
    searches: Tensor
    boxes_xyxy: Tensor
    present: Tensor
    ignore: Tensor


def collate(pairs: Sequence[Pair]) -> PairBatch:
    """Stack pairs and work out which cross pairs are unknown."""
    ignore = [[other.template_family in pair.search_families for other in pairs] for pair in pairs]
    return PairBatch(
        _stack([pair.template_bgr for pair in pairs]),
        _stack([pair.search_bgr for pair in pairs]),
        torch.tensor([pair.box_xyxy for pair in pairs], dtype=torch.float32),
        torch.tensor([pair.present for pair in pairs]),
        torch.tensor(ignore),
    )


def _stack(pictures_bgr: Sequence[np.ndarray]) -> Tensor:
    rgb = np.ascontiguousarray(np.stack(pictures_bgr)[..., ::-1].transpose(0, 3, 1, 2))
    return torch.from_numpy(rgb)
