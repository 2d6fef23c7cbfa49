"""A pair: template views of one object and a search view, with their labels."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from refdet_core.types import BoxXYXY
from refdet_training.augment import Rng
from refdet_training.pairs.config import PairConfig


@dataclass(frozen=True)
class Pair:
    """One to five template views of one object, and one search view.

    Attributes:
        templates: ``(R, 3, s, s)`` uint8 RGB; with ``stems``, for each template scale.
        search: ``(3, S, S)`` uint8 RGB.
        box_xyxy: the whole object in the search view, network pixels; it may end outside. Zeros
            when absent.
        present: whether at least half of it is in view; otherwise nothing of it is.
        template_family, search_families: a template is known to be absent from another pair's
            search view only if its family is not among that view's families.
        box_weight: weight of the box for learning extents; 0: none.
        stems: whether templates and search are not images but the float32 features ``(C, h, w)``
            of the backbone's stem.
    """

    templates: tuple[Tensor, ...]
    search: Tensor
    box_xyxy: BoxXYXY
    present: bool
    template_family: str
    search_families: frozenset[str]
    box_weight: float = 1.0
    stems: bool = False


class PairSource(ABC):
    """A source of pairs."""

    @abstractmethod
    def draw(self, config: PairConfig, rng: Rng) -> Pair:
        """One random pair; augmentation also uses torch's global generator."""


@dataclass(frozen=True)
class PairBatch:
    """B pairs with T template views as tensors.

    Shapes:
        templates ``(T, 3, s, s)`` uint8 RGB, for each scale; owners ``(T,)`` long, ascending: the
        pair of each view; searches ``(B, 3, S, S)`` uint8 RGB; boxes_xyxy ``(B, 4)`` float32,
        network pixels; present ``(B,)`` bool; ignore ``(B, B)`` bool over (frame, template):
        whether that object is in that frame is unknown, never so for a pair's own; box_weight
        ``(B,)`` float32. With ``stems`` templates and searches are features, see :class:`Pair`.
    """

    templates: Tensor
    owners: Tensor
    searches: Tensor
    boxes_xyxy: Tensor
    present: Tensor
    ignore: Tensor
    box_weight: Tensor
    stems: bool = False

    def to(self, device: torch.device | str, non_blocking: bool = False) -> PairBatch:
        """The same batch on another device."""
        templates = tuple(item.to(device, non_blocking=non_blocking) for item in self.templates)
        moved = {
            item.name: getattr(self, item.name).to(device, non_blocking=non_blocking)
            for item in fields(self)
            if item.name not in ("templates", "stems")
        }
        return PairBatch(templates=templates, stems=self.stems, **moved)


def collate(pairs: Sequence[Pair]) -> PairBatch:
    """Stack pairs and determine which cross pairs are unknown."""
    ignore = [
        [other is not pair and other.template_family in pair.search_families for other in pairs]
        for pair in pairs
    ]
    views = torch.tensor([len(pair.templates[0]) for pair in pairs])
    return PairBatch(
        templates=tuple(
            torch.cat(parts) for parts in zip(*(pair.templates for pair in pairs), strict=True)
        ),
        owners=torch.repeat_interleave(torch.arange(len(pairs)), views),
        searches=torch.stack([pair.search for pair in pairs]),
        boxes_xyxy=torch.tensor([pair.box_xyxy for pair in pairs], dtype=torch.float32),
        present=torch.tensor([pair.present for pair in pairs]),
        ignore=torch.tensor(ignore),
        box_weight=torch.tensor([pair.box_weight for pair in pairs], dtype=torch.float32),
        stems=pairs[0].stems,
    )
