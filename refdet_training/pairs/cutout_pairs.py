"""Synthetic pairs: cut-outs pasted on aerial backgrounds."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor
from torchvision.transforms import v2

from refdet_core.errors import ConfigError, SourceError
from refdet_core.types import BoxXYXY
from refdet_training.augment import Rng, as_image, visible_share
from refdet_training.pairs.config import PairConfig
from refdet_training.pairs.crops import PRESENT_SHARE
from refdet_training.pairs.cutouts import list_objects, load_cutout, paste, recoloured
from refdet_training.pairs.pair import Pair, PairSource
from refdet_training.pairs.views import TEMPLATE_MARGIN, SearchView, finish, template_view

_POSE = v2.Compose(
    [
        v2.RandomRotation(35, interpolation=v2.InterpolationMode.BILINEAR, expand=True),
        v2.RandomPerspective(0.3, p=0.5),
    ]
)
_SIBLINGS = 3
_BESIDE_SHARE = 0.4  # share of present pairs with a distractor in view
_CUT_SHARE = 0.1  # share of present objects that extend over the border


class CutoutPairs(PairSource):
    """A cut-out on an aerial background against close-ups of it on other ground, at other moments
    where its folder has several.

    Others lie around it. Look-alikes are the same cut-out in other colours, or a sibling: one of
    its neighbours in the order of the file names (related classes, where files are named by
    ImageNet's class numbers). They lie beside the object, and take its place in ``hard_share`` of
    the absent pairs. Where colour tells the two apart, augmentation keeps colours.

    Args:
        cutouts: folder of pictures with one object each (JPEG, or PNG or WebP with an alpha
            channel), or of one folder for each object with pictures of several moments.
        backgrounds: pictures seen from above.
    """

    def __init__(self, cutouts: Path, backgrounds: Sequence[Path]) -> None:
        objects = list_objects(cutouts)
        self._names, self._objects = list(objects), list(objects.values())
        self._backgrounds = list(backgrounds)
        if not self._backgrounds:
            raise SourceError(
                f"Synthetic pairs of {cutouts} need backgrounds: pictures seen from above."
            )

    def draw(self, config: PairConfig, rng: Rng) -> Pair:
        if config.window is not None:
            raise ConfigError("Synthetic pairs have no windows; set the share of cutouts to 0.")
        chosen = int(rng.integers(len(self._objects)))
        moments = self._objects[chosen]
        searched = int(rng.integers(len(moments)))
        cutout = load_cutout(moments[searched])
        ground = _read_background(self._backgrounds[rng.integers(len(self._backgrounds))])
        scene = _piece(ground, config.img_size, rng)
        side = float(np.exp(rng.uniform(*np.log(config.synthetic_px))))
        present = bool(rng.random() >= config.absent_share)
        shown = [chosen]
        for _ in range(int(rng.integers(0, 4))):
            other = int(rng.integers(len(self._objects)))
            if other != chosen:
                shown.append(other)
                self._lay(scene, self._cutout(other, rng), _near(side, config, rng), rng)
        by_colour = False
        if rng.random() < (_BESIDE_SHARE if present else config.hard_share):
            other, alike, by_colour = self._distractor(chosen, rng)
            shown.append(other)
            self._lay(scene, alike, _near(side, config, rng) if present else side, rng)
        box = self._lay(scene, cutout, side, rng, _CUT_SHARE) if present else None
        fewest, most = config.references
        others = [path for number, path in enumerate(moments) if number != searched] or moments
        templates = [
            _close_up(
                load_cutout(others[rng.integers(len(others))]), ground, config, rng, by_colour
            )
            for _ in range(int(rng.integers(fewest, most + 1)))
        ]
        view = SearchView(as_image(scene), box, tight=True)
        stack, image, box = finish(templates, view, config, rng, keep_colours=by_colour)
        return Pair(
            (stack,),
            image,
            box or (0.0, 0.0, 0.0, 0.0),
            box is not None,
            self._family(chosen),
            frozenset(self._family(number) for number in shown),
        )

    def _distractor(self, chosen: int, rng: Rng) -> tuple[int, np.ndarray, bool]:
        """Its number, the cut-out, and whether only colour distinguishes it from the chosen one."""
        step = int(rng.integers(1, _SIBLINGS + 1)) * (1 if rng.random() < 0.5 else -1)
        sibling = (chosen + step) % len(self._objects)
        if sibling == chosen or rng.random() < 0.5:
            return chosen, recoloured(self._cutout(chosen, rng), rng), True
        return sibling, self._cutout(sibling, rng), False

    def _cutout(self, number: int, rng: Rng) -> np.ndarray:
        """An object at one of its moments."""
        moments = self._objects[number]
        return load_cutout(moments[rng.integers(len(moments))])

    def _lay(
        self,
        scene: np.ndarray,
        cutout: np.ndarray,
        side: float,
        rng: Rng,
        cut_share: float = 0.0,
    ) -> BoxXYXY:
        """Paste in a random pose at a random place."""
        posed = _pose(cutout, side)
        size = scene.shape[0]
        if rng.random() < cut_share:
            before = scene.copy()
            along, across = rng.uniform(0, size), rng.choice([0.0, float(size)])
            centre = (along, across) if rng.random() < 0.5 else (across, along)
            box = paste(scene, posed, side, centre)
            if visible_share(box, size, size) >= PRESENT_SHARE:
                return box
            scene[:] = before
        ratio = np.sqrt(posed.shape[1] / posed.shape[0])
        centre_x, centre_y = (
            float(rng.uniform(min(half, size / 2), max(size - half, size / 2)))
            for half in (side * ratio / 2, side / ratio / 2)
        )
        return paste(scene, posed, side, (centre_x, centre_y))

    def _family(self, number: int) -> str:
        return f"cutout:{self._names[number]}"


@lru_cache(maxsize=4)
def _read_background(path: Path) -> np.ndarray:
    picture = cv2.imread(str(path))
    if picture is None:
        raise SourceError(f"Cannot read the background {path}; delete it or replace it.")
    return np.asarray(picture)


def _piece(ground_bgr: np.ndarray, size: int, rng: Rng) -> np.ndarray:
    """A random square of a background at a random scale, ``(size, size, 3)``, as a copy."""
    height, width = ground_bgr.shape[:2]
    span = min(int(size * np.exp(rng.uniform(-0.5, 0.4))), height, width)
    top, left = int(rng.integers(height - span + 1)), int(rng.integers(width - span + 1))
    square = ground_bgr[top : top + span, left : left + span]
    shrinks = cv2.INTER_AREA if span > size else cv2.INTER_LINEAR
    return np.array(cv2.resize(square, (size, size), interpolation=shrinks))


def _pose(cutout_bgra: np.ndarray, side: float) -> np.ndarray:
    """Rotate and tilt; new areas are transparent."""
    scale = 1.5 * side / np.sqrt(cutout_bgra.shape[0] * cutout_bgra.shape[1])
    if scale < 1:  # only as much detail as pasting needs
        cutout_bgra = cv2.resize(
            cutout_bgra, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA
        )
    posed = _POSE(torch.from_numpy(cutout_bgra).permute(2, 0, 1))
    return np.ascontiguousarray(posed.permute(1, 2, 0).numpy())


def _near(side: float, config: PairConfig, rng: Rng) -> float:
    return float(np.clip(side * np.exp(rng.normal(0, 0.4)), *config.synthetic_px))


def _close_up(
    cutout_bgra: np.ndarray,
    ground_bgr: np.ndarray,
    config: PairConfig,
    rng: Rng,
    keep_colours: bool,
) -> Tensor:
    """A template view of the cut-out on some background, large, as in a user's photo."""
    size = round(TEMPLATE_MARGIN * config.template_size)
    scene = _piece(ground_bgr, size, rng)
    box = paste(scene, cutout_bgra, config.template_size * rng.uniform(0.35, 0.6), (size / 2,) * 2)
    return template_view(scene, box, config, rng, keep_colours)
