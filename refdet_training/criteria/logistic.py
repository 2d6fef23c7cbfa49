"""Labels and loss of SiamFC: 1 near the object, 0 elsewhere (Bertinetto et al. 2016, 2.2)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from refdet_core.errors import ConfigError
from refdet_core.model.grid import Grid
from refdet_core.model.siamese import Siamese
from refdet_training.criteria.base import Criterion, Parts
from refdet_training.pairs import PairBatch

IGNORED = -1.0


@dataclass(frozen=True)
class LogisticConfig:
    """The labels of SiamFC.

    Attributes:
        positive_px: cells at most this far from the object's centre are positive (Manhattan
            distance).
        negative_px: cells farther away than this are negative; the rest are ignored.
    """

    positive_px: float = 16.0
    negative_px: float = 16.0

    def __post_init__(self) -> None:
        if not 0 < self.positive_px <= self.negative_px:
            raise ConfigError(
                "negative_px must not be below positive_px, which is above 0; got "
                f"{self.negative_px} and {self.positive_px}."
            )


def logistic_labels(
    boxes_xyxy: Tensor, present: Tensor, like: Tensor, grid: Grid, config: LogisticConfig
) -> Tensor:
    """1, 0 or :data:`IGNORED` for every cell.

    Shapes: ``boxes_xyxy (B, 4)`` network pixels, ``present (B,)``, ``like (..., h, w)`` to
    ``(B, h, w)``. Without the object all cells are 0.
    """
    x, y = grid.centres(like)
    centres = (boxes_xyxy[:, :2] + boxes_xyxy[:, 2:]) / 2
    distance = (x - centres[:, 0, None, None]).abs() + (y - centres[:, 1, None, None]).abs()
    labels = torch.full_like(distance, IGNORED)
    labels[distance > config.negative_px] = 0.0
    labels[distance <= config.positive_px] = 1.0
    return torch.where(present[:, None, None], labels, torch.zeros_like(labels))


def balanced_logistic_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Mean binary cross-entropy of the maps; in each, positives and negatives count half.

    If a map has cells of one kind only, these count in full.

    Shape: ``(B, h, w)`` twice to ``()``.
    """
    loss = F.binary_cross_entropy_with_logits(logits, labels.clamp(min=0), reduction="none")
    means, kinds = torch.zeros_like(loss[:, 0, 0]), torch.zeros_like(loss[:, 0, 0])
    for value in (0.0, 1.0):
        chosen = (labels == value).to(loss.dtype)
        count = chosen.sum(dim=(1, 2))
        means = means + (loss * chosen).sum(dim=(1, 2)) / count.clamp(min=1)
        kinds = kinds + (count > 0)
    return (means / kinds.clamp(min=1)).mean()


class LogisticCriterion(Criterion):
    """The balanced logistic loss; each frame is compared with its own template only."""

    def __init__(self, config: LogisticConfig) -> None:
        self.config = config

    def __call__(
        self, network: Siamese, batch: PairBatch, features: Tensor, kernels: Tensor
    ) -> Parts:
        logits = network.match_pairs(features, kernels).float().score[:, 0]
        labels = logistic_labels(batch.boxes_xyxy, batch.present, logits, network.grid, self.config)
        loss = balanced_logistic_loss(logits, labels)
        return {"heatmap": loss, "total": loss}
