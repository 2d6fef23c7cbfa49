"""Loss of the head ``heatmap``: every frame of a group is compared with all its templates."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from refdet_core.model.head import HeadOutput
from refdet_core.model.siamese import Siamese
from refdet_training.criteria.base import Criterion, Parts
from refdet_training.losses import LossConfig, identity_loss, siamese_loss
from refdet_training.pairs import PairBatch


def matched_groups(
    network: Siamese, features: Tensor, kernels: Tensor, size: int
) -> Iterator[tuple[slice, HeadOutput]]:
    """Each group of the batch, and the output in float32 of all its frames with all templates."""
    for start in range(0, len(features), size):
        group = slice(start, start + size)
        yield group, network.match(features[group], kernels[group]).float()


class HeatmapCriterion(Criterion):
    """Mean of :func:`siamese_loss` over the groups, and the identity loss of the whole batch."""

    def __init__(self, config: LossConfig, group_size: int) -> None:
        self.config = config
        self.group_size = group_size

    def __call__(
        self, network: Siamese, batch: PairBatch, features: Tensor, kernels: Tensor
    ) -> Parts:
        parts = [
            siamese_loss(
                output,
                batch.boxes_xyxy[group],
                batch.present[group],
                batch.ignore[group, group],
                network.config.stride,
                self.config,
                batch.box_weight[group],
                network.config.box_coding,
            )
            for group, output in matched_groups(network, features, kernels, self.group_size)
        ]
        means = {name: torch.stack([part[name] for part in parts]).mean() for name in parts[0]}
        means["identity"] = identity_loss(
            features.float(),
            kernels.float(),
            batch.boxes_xyxy,
            batch.present,
            batch.ignore,
            network.config.stride,
        )
        means["total"] = means["total"] + self.config.weights.identity * means["identity"]
        return means
