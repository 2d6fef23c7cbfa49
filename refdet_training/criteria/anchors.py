"""Targets and losses of SiamRPN and SiamRPN++: which anchors hold the object, and their deltas."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.ops import box_iou

from refdet_core.errors import ConfigError
from refdet_core.model.anchor_head import AnchorHead, AnchorOutput
from refdet_core.model.anchors import anchor_boxes, apply_deltas, wanted_deltas
from refdet_core.model.siamese import Siamese
from refdet_training.criteria.base import Criterion, Parts
from refdet_training.pairs import PairBatch

NEGATIVE, POSITIVE, IGNORED = 0, 1, -1

CLASS_LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "cross_entropy": lambda logits, labels: F.cross_entropy(logits, labels, reduction="none"),
    "bce": lambda logits, labels: F.binary_cross_entropy_with_logits(
        logits[:, 1] - logits[:, 0], labels.to(logits.dtype), reduction="none"
    ),
}
DELTA_LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "l1": lambda found, wanted: F.l1_loss(found, wanted, reduction="none"),
    "smooth_l1": lambda found, wanted: F.smooth_l1_loss(found, wanted, reduction="none"),
}


@dataclass(frozen=True)
class AnchorLossConfig:
    """How anchors are labelled and their losses weighted; the defaults are pysot's.

    Attributes:
        positive_iou: anchors with a higher IoU are positive.
        negative_iou: anchors with a lower IoU are negative; the rest are ignored.
        positives: maximum number of positive anchors per pair, drawn at random.
        total: maximum number of positives and negatives together.
        absent_negatives: number of negatives of a pair without the object.
        class_loss: ``cross_entropy`` (softmax over background and object) or ``bce``.
        delta_loss: ``l1`` (pysot) or ``smooth_l1`` (the papers).
        class_weight, delta_weight: factors of both losses in the total.
    """

    positive_iou: float = 0.6
    negative_iou: float = 0.3
    positives: int = 16
    total: int = 64
    absent_negatives: int = 16
    class_loss: str = "cross_entropy"
    delta_loss: str = "l1"
    class_weight: float = 1.0
    delta_weight: float = 1.2

    def __post_init__(self) -> None:
        for name, valid in {"class_loss": CLASS_LOSSES, "delta_loss": DELTA_LOSSES}.items():
            if getattr(self, name) not in valid:
                raise ConfigError(
                    f"Unknown {name} '{getattr(self, name)}'; valid are {', '.join(valid)}."
                )
        if not 0 <= self.negative_iou <= self.positive_iou < 1:
            raise ConfigError(
                "negative_iou must not be above positive_iou, both within 0 and 1; got "
                f"{self.negative_iou} and {self.positive_iou}."
            )


def anchor_labels(
    anchors: Tensor, box_xyxy: Tensor, present: bool, config: AnchorLossConfig
) -> Tensor:
    """:data:`POSITIVE`, :data:`NEGATIVE` or :data:`IGNORED` for every anchor.

    Where there are too many, torch's generator draws those that count.

    Shapes: ``anchors (4, k, h, w)``, ``box_xyxy (4,)`` to ``(k, h, w)``.
    """
    shape = anchors.shape[1:]
    if not present:
        overlap = anchors.new_zeros(shape).flatten()
        negatives = config.absent_negatives
    else:
        still = apply_deltas(anchors, torch.zeros_like(anchors)).flatten(1).T
        overlap = box_iou(still, box_xyxy[None])[:, 0]
        negatives = config.total - config.positives
    labels = torch.full_like(overlap, IGNORED, dtype=torch.long)
    labels[_some(overlap > config.positive_iou, config.positives)] = POSITIVE
    labels[_some(overlap < config.negative_iou, negatives)] = NEGATIVE
    return labels.reshape(shape)


def anchor_loss(
    output: AnchorOutput, labels: Tensor, wanted: Tensor, config: AnchorLossConfig
) -> Parts:
    """The class loss, the mean of positives' and negatives' means, and the delta loss.

    Every pair has the same weight in the delta loss, however many of its anchors are positive.

    Shapes: ``output`` with one view; ``labels (B, k, h, w)``; ``wanted (B, 4, k, h, w)`` deltas.
    """
    logits = output.logits[:, 0].movedim(1, -1).flatten(0, -2)
    flat = labels.flatten()
    losses = CLASS_LOSSES[config.class_loss](logits, flat.clamp(min=0))
    halves = [_mean(losses, flat == kind) for kind in (POSITIVE, NEGATIVE)]
    positive = (labels == POSITIVE).to(losses.dtype)
    shares = positive / positive.sum(dim=(1, 2, 3), keepdim=True).clamp(min=1)
    deltas = DELTA_LOSSES[config.delta_loss](output.deltas[:, 0], wanted).sum(dim=1)
    parts = {"class": (halves[0] + halves[1]) / 2, "box": (deltas * shares).sum() / len(labels)}
    parts["total"] = config.class_weight * parts["class"] + config.delta_weight * parts["box"]
    return parts


class AnchorCriterion(Criterion):
    """Class and delta loss; each frame is compared with its own template only."""

    def __init__(self, config: AnchorLossConfig) -> None:
        self.config = config

    def __call__(
        self, network: Siamese, batch: PairBatch, features: Tensor, kernels: Tensor
    ) -> Parts:
        output = network.match_pairs(features, kernels).float()
        assert isinstance(output, AnchorOutput) and isinstance(network.head, AnchorHead)
        anchors = anchor_boxes(network.head.sides, network.grid, output.score)
        pairs = list(zip(batch.boxes_xyxy, batch.present.tolist(), strict=True))
        labels = torch.stack(
            [anchor_labels(anchors, box, present, self.config) for box, present in pairs]
        )
        # Some boxes give the object's place but not its size; they train no deltas.
        known = batch.box_weight[:, None, None, None] > 0
        wanted = torch.stack([wanted_deltas(anchors, box) for box, _ in pairs])
        wanted = torch.where(known[:, None], wanted, output.deltas[:, 0].detach())
        return anchor_loss(output, labels, wanted, self.config)


def _some(chosen: Tensor, most: int) -> Tensor:
    """Indices of at most ``most`` of the chosen, at random."""
    numbers = chosen.nonzero()[:, 0]
    order = torch.randperm(len(numbers), device="cpu")[:most]
    return numbers[order.to(numbers.device)]


def _mean(values: Tensor, chosen: Tensor) -> Tensor:
    return (values * chosen).sum() / chosen.sum().clamp(min=1)
