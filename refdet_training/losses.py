"""Losses of heatmap, boxes and presence."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from refdet_core.model.heads import HeadOutput, decode_boxes
from refdet_training.targets import box_deltas, gaussian_heatmap


@dataclass(frozen=True)
class LossWeights:
    """Shares of the parts of the total loss."""

    heatmap: float = 1.0
    box: float = 1.0
    giou: float = 1.0
    presence: float = 0.3
    identity: float = 0.5
    focal_gamma: float = 2.0


def focal_bce(logits: Tensor, target: Tensor, gamma: float) -> Tensor:
    """Binary cross-entropy with soft targets, weighted by ``|target - p| ** gamma`` (quality focal
    loss, Li et al. 2020); ``gamma = 0`` is plain BCE. Same shape as the input, not reduced."""
    bce = F.binary_cross_entropy_with_logits(logits, target, reduction="none")
    if gamma == 0:
        return bce
    return bce * (target - torch.sigmoid(logits)).abs().pow(gamma)


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
    weights: LossWeights,
) -> dict[str, Tensor]:
    """All parts and their weighted ``total`` for B frames against B templates.

    Template i belongs to frame i; every other template is absent from frame i unless ignored.

    Args:
        output: of every frame with every template, ``B = V``.
        boxes_xyxy: ``(B, 4)`` network pixels.
        present: ``(B,)`` bool, whether frame i shows object i.
        ignore: ``(B, V)`` bool, pairs whose truth is unknown.
    """
    batch, _, height, width = output.score.shape
    diagonal = torch.eye(batch, dtype=torch.bool, device=boxes_xyxy.device)
    heatmap = gaussian_heatmap(boxes_xyxy, height, width, stride) * present[:, None, None]
    target = torch.zeros_like(output.score)
    target[diagonal] = heatmap
    known = ~ignore | diagonal
    count = present.sum().clamp(min=1)
    cells = focal_bce(output.score, target, weights.focal_gamma) * known[:, :, None, None]
    own = cells[diagonal].sum() / count
    others = (cells.sum() - cells[diagonal].sum()) / count
    # The other templates together weigh the same however many they are.
    parts = {"heatmap": own + others * (4.0 / batch)}

    truth = (diagonal & present[:, None]).float()
    presence = F.binary_cross_entropy_with_logits(output.presence, truth, reduction="none")
    positives = truth.sum().clamp(min=1)
    negatives = (known & (truth == 0)).sum().clamp(min=1)
    parts["presence"] = (presence * truth).sum() / positives + (
        presence * (known & (truth == 0))
    ).sum() / negatives

    near = heatmap > 0.3
    share = heatmap[near] / heatmap[near].sum().clamp(min=1e-6)
    predicted = output.deltas[diagonal]
    wanted = box_deltas(boxes_xyxy, height, width, stride)
    difference = F.smooth_l1_loss(predicted, wanted, reduction="none", beta=0.1).sum(dim=1)
    parts["box"] = (difference[near] * share).sum()
    decoded = decode_boxes(predicted[:, None], stride)[:, 0].permute(0, 2, 3, 1)[near]
    matching = boxes_xyxy[:, None, None, :].expand(-1, height, width, -1)[near]
    parts["giou"] = (giou_loss(decoded, matching) * share).sum()
    parts["total"] = (
        weights.heatmap * parts["heatmap"]
        + weights.presence * parts["presence"]
        + weights.box * parts["box"]
        + weights.giou * parts["giou"]
    )
    return parts


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
