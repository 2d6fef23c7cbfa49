"""Losses of heatmap, boxes and presence."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.ops import sigmoid_focal_loss

from refdet_core.errors import ConfigError
from refdet_core.model.head import HeadOutput
from refdet_core.model.heads import decode_boxes
from refdet_training.criteria.anchors import AnchorLossConfig
from refdet_training.criteria.logistic import LogisticConfig
from refdet_training.criteria.tent import TentLossConfig
from refdet_training.targets import HEATMAPS, box_deltas

SCORE_LOSSES = ("bce", "quality_focal", "focal", "centernet")
BOX_LOSSES = ("smooth_l1", "l1")
_SMOOTH_L1_BETA = 0.1
_NEAR = 0.3  # cells where the target heatmap exceeds this learn the box


@dataclass(frozen=True)
class LossWeights:
    """Shares of the parts of the total loss."""

    heatmap: float = 1.0
    box: float = 1.0
    giou: float = 1.0
    presence: float = 0.3
    identity: float = 0.5


@dataclass(frozen=True)
class LossConfig:
    """Which losses, and their shares.

    Attributes:
        heatmap: target heatmap, one of :data:`refdet_training.targets.HEATMAPS`.
        score_loss: of the heatmap, one of :data:`SCORE_LOSSES`: plain binary cross-entropy,
            quality focal loss (Li et al. 2020), RetinaNet's focal loss (Lin et al. 2017) or
            CenterNet's penalty-reduced one (Zhou et al. 2019).
        focal_alpha: of ``focal``, the share of positives.
        focal_gamma: of all but ``bce``, how much less easy cells weigh.
        box_loss: of the box deltas, one of :data:`BOX_LOSSES`.
        weights: shares of the parts.
        logistic, anchors, tent: of the heads ``score``, ``anchors`` and ``tent``; all above is of
            the head ``heatmap``.
    """

    heatmap: str = "gaussian"
    score_loss: str = "quality_focal"
    focal_alpha: float = 0.25
    focal_gamma: float = 2.0
    box_loss: str = "smooth_l1"
    weights: LossWeights = field(default_factory=LossWeights)
    logistic: LogisticConfig = field(default_factory=LogisticConfig)
    anchors: AnchorLossConfig = field(default_factory=AnchorLossConfig)
    tent: TentLossConfig = field(default_factory=TentLossConfig)

    def __post_init__(self) -> None:
        for name, valid in {
            "heatmap": tuple(HEATMAPS),
            "score_loss": SCORE_LOSSES,
            "box_loss": BOX_LOSSES,
        }.items():
            if getattr(self, name) not in valid:
                raise ConfigError(
                    f"Unknown {name} '{getattr(self, name)}'; valid are {', '.join(valid)}."
                )


def score_loss(logits: Tensor, target: Tensor, config: LossConfig) -> Tensor:
    """The configured loss of every cell, not reduced.

    Shape: any, twice the same; the target is in [0, 1].
    """
    losses: dict[str, Callable[[], Tensor]] = {
        "bce": lambda: quality_focal(logits, target, 0.0),
        "quality_focal": lambda: quality_focal(logits, target, config.focal_gamma),
        "focal": lambda: sigmoid_focal_loss(logits, target, config.focal_alpha, config.focal_gamma),
        "centernet": lambda: penalty_reduced_focal(logits, target, config.focal_gamma),
    }
    return losses[config.score_loss]()


def quality_focal(logits: Tensor, target: Tensor, gamma: float) -> Tensor:
    """Binary cross-entropy with soft targets, weighted by ``|target - p| ** gamma`` (quality focal
    loss, Li et al. 2020); ``gamma = 0`` is plain BCE. Same shape as the input, not reduced."""
    bce = F.binary_cross_entropy_with_logits(logits, target, reduction="none")
    if gamma == 0:
        return bce
    return bce * (target - torch.sigmoid(logits)).abs().pow(gamma)


def penalty_reduced_focal(
    logits: Tensor, target: Tensor, gamma: float, beta: float = 4.0
) -> Tensor:
    """CenterNet's focal loss (Zhou et al. 2019, equation 1): only a target of 1 is positive, and
    negatives near it weigh ``(1 - target) ** beta``. Same shape as the input, not reduced."""
    p = torch.sigmoid(logits)
    positive = -F.logsigmoid(logits) * (1 - p).pow(gamma)
    negative = -F.logsigmoid(-logits) * p.pow(gamma) * (1 - target).pow(beta)
    return torch.where(target == 1, positive, negative)


def giou_loss(predicted_xyxy: Tensor, target_xyxy: Tensor) -> Tensor:
    """``1 - GIoU`` (Rezatofighi et al. 2019) of ``(N, 4)`` pairs, ``(N,)`` in [0, 2]."""
    top_left = torch.maximum(predicted_xyxy[:, :2], target_xyxy[:, :2])
    bottom_right = torch.minimum(predicted_xyxy[:, 2:], target_xyxy[:, 2:])
    intersection = (bottom_right - top_left).clamp(min=0).prod(dim=1)
    areas = [
        (box[:, 2:] - box[:, :2]).clamp(min=0).prod(dim=1) for box in (predicted_xyxy, target_xyxy)
    ]
    union = (areas[0] + areas[1] - intersection).clamp(min=1e-6)
    hull_low = torch.minimum(predicted_xyxy[:, :2], target_xyxy[:, :2])
    hull_high = torch.maximum(predicted_xyxy[:, 2:], target_xyxy[:, 2:])
    hull = (hull_high - hull_low).prod(dim=1).clamp(min=1e-6)
    return 1 - intersection / union + (hull - union) / hull


def siamese_loss(
    output: HeadOutput,
    boxes_xyxy: Tensor,
    present: Tensor,
    ignore: Tensor,
    stride: float,
    config: LossConfig,
    box_weight: Tensor | None = None,
    box_coding: str = "log",
) -> dict[str, Tensor]:
    """All parts and their weighted ``total`` for B frames against B templates.

    Template i belongs to frame i; every other template is absent from frame i unless ignored.
    ``box`` and ``giou`` are means over the cells near the objects, weighted with the target
    heatmap, so a large object does not count more.

    Args:
        output: of every frame with every template, ``B = V``.
        boxes_xyxy: ``(B, 4)`` network pixels.
        present: ``(B,)`` bool, whether frame i shows object i.
        ignore: ``(B, V)`` bool, pairs whose truth is unknown; a frame's own template never is.
        box_weight: ``(B,)`` weight of each frame's box, 0: its extents are unknown; None: all 1.
        box_coding: of the head, one of :data:`refdet_core.model.heads.BOX_CODINGS`.

    Returns:
        ``heatmap``, ``presence``, ``box``, ``giou`` unweighted, and ``total``.
    """
    batch, _, height, width = output.score.shape
    diagonal = torch.eye(batch, dtype=torch.bool, device=boxes_xyxy.device)
    heatmap = HEATMAPS[config.heatmap](boxes_xyxy, height, width, stride)
    heatmap = heatmap * present[:, None, None]
    known = ~ignore | diagonal
    parts = {
        "heatmap": _heatmap_loss(output.score, heatmap, known, diagonal, present, config),
        "presence": _presence_loss(output.presence, known, diagonal & present[:, None]),
        **_box_losses(
            output.deltas[diagonal], heatmap, boxes_xyxy, stride, config, box_weight, box_coding
        ),
    }
    parts["total"] = sum(
        (getattr(config.weights, name) * value for name, value in parts.items()),
        start=torch.zeros((), device=boxes_xyxy.device),
    )
    return parts


def _heatmap_loss(
    score: Tensor,
    heatmap: Tensor,
    known: Tensor,
    diagonal: Tensor,
    present: Tensor,
    config: LossConfig,
) -> Tensor:
    """Sum over the cells, for each present object."""
    target = torch.zeros_like(score)
    target[diagonal] = heatmap
    count = present.sum().clamp(min=1)
    cells = score_loss(score, target, config) * known[:, :, None, None]
    own = cells[diagonal].sum() / count
    others = (cells.sum() - cells[diagonal].sum()) / count
    # The other templates together weigh the same however many they are.
    return own + others * (4.0 / len(score))


def _presence_loss(logits: Tensor, known: Tensor, truth: Tensor) -> Tensor:
    """Binary cross-entropy, mean over the positives plus mean over the known negatives."""
    loss = F.binary_cross_entropy_with_logits(logits, truth.float(), reduction="none")
    negative = known & ~truth
    return (loss * truth).sum() / truth.sum().clamp(min=1) + (
        loss * negative
    ).sum() / negative.sum().clamp(min=1)


def _box_losses(
    deltas: Tensor,
    heatmap: Tensor,
    boxes_xyxy: Tensor,
    stride: float,
    config: LossConfig,
    box_weight: Tensor | None,
    box_coding: str,
) -> dict[str, Tensor]:
    """Of the deltas ``(B, 4, h, w)``, on the cells near the objects whose extents are known."""
    height, width = heatmap.shape[-2:]
    weight = heatmap.new_ones(len(heatmap)) if box_weight is None else box_weight
    near = (heatmap > _NEAR) & (weight > 0)[:, None, None]
    share = heatmap[near] / heatmap[near].sum().clamp(min=1e-6)
    share = share * weight[:, None, None].expand_as(heatmap)[near]
    wanted = box_deltas(boxes_xyxy, height, width, stride, box_coding)
    if config.box_loss == "l1":
        difference = F.l1_loss(deltas, wanted, reduction="none")
    else:
        difference = F.smooth_l1_loss(deltas, wanted, reduction="none", beta=_SMOOTH_L1_BETA)
    decoded = decode_boxes(deltas[:, None], stride, box_coding)[:, 0].permute(0, 2, 3, 1)[near]
    matching = boxes_xyxy[:, None, None, :].expand(-1, height, width, -1)[near]
    return {
        "box": (difference.sum(dim=1)[near] * share).sum(),
        "giou": (giou_loss(decoded, matching) * share).sum(),
    }


def identity_loss(
    features: Tensor,
    kernels: Tensor,
    boxes_xyxy: Tensor,
    present: Tensor,
    ignore: Tensor,
    stride: float,
    temperature: float = 0.1,
) -> Tensor:
    """Which template is this object? Cross-entropy over all templates of the batch (InfoNCE, van
    den Oord et al. 2018) on the cosine of each kernel's mean with the frame at the object's centre.

    Args:
        features: ``(B, C, h, w)`` encoded frames.
        kernels: ``(B, C, k, k)``; kernel i belongs to frame i.
        ignore: ``(B, B)`` bool over (frame, template), pairs whose truth is unknown.
    """
    if not present.any():
        return features.sum() * 0
    height, width = features.shape[-2:]
    centres = (boxes_xyxy[:, :2] + boxes_xyxy[:, 2:]) / 2 / stride
    columns = centres[:, 0].long().clamp(0, width - 1)
    rows = centres[:, 1].long().clamp(0, height - 1)
    index = torch.arange(len(features), device=features.device)
    objects = F.normalize(features[index, :, rows, columns], dim=1)
    templates = F.normalize(kernels.mean(dim=(2, 3)), dim=1)
    logits = objects @ templates.T / temperature
    unknown = ignore & ~torch.eye(len(index), dtype=torch.bool, device=ignore.device)
    logits = logits.masked_fill(unknown, -1e4)
    return F.cross_entropy(logits[present], index[present])
