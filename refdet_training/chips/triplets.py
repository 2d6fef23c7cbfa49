"""Batch-hard triplets with a soft margin (Hermans et al. 2017)."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from refdet_core.errors import ConfigError


class TripletLoss(nn.Module):
    """Mean of ``softplus(d(a, p) - d(a, n) + margin)``, ``d`` the squared distance of unit vectors.

    For every anchor ``a`` of the batch, ``p`` is the farthest chip of its class and ``n`` the
    nearest of another one.

    Shape: embeddings ``(B, C)`` and classes ``(B,)`` to ``()``.
    """

    def __init__(self, margin: float = 0.5) -> None:
        super().__init__()
        library = metric_learning()
        distance = library.distances.LpDistance(normalize_embeddings=True, p=2, power=2)
        self._mine = library.miners.BatchHardMiner(distance=distance)
        self._loss = library.losses.TripletMarginLoss(
            margin=margin,
            smooth_loss=True,
            distance=distance,
            reducer=library.reducers.MeanReducer(),
        )

    def forward(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        loss: Tensor = self._loss(embeddings, labels, self._mine(embeddings, labels))
        return loss


def make_sampler(
    labels: Tensor, classes_per_batch: int, chips_per_class: int, chips_per_epoch: int
) -> tuple[Any, int]:
    """Batches of P classes with K chips each, and their size.

    With fewer than P classes a batch is smaller. More chips of each would not replace them: the
    hardest of many is so hard that all embeddings collapse to one point.

    Raises:
        ConfigError: fewer than two classes, or an epoch that is shorter than a batch.
    """
    classes = len(torch.unique(labels))
    if classes < 2:
        raise ConfigError(
            "Triplets need two classes, and there is one; label more, or set "
            "data.chips.backgrounds above 0."
        )
    taken = min(classes_per_batch, classes)
    batch = taken * chips_per_class
    if chips_per_epoch < batch:
        raise ConfigError(
            f"data.chips_per_epoch is {chips_per_epoch}, less than one batch of {taken} classes "
            f"with {chips_per_class} chips each."
        )
    sampler = metric_learning().samplers.MPerClassSampler(
        labels, m=chips_per_class, batch_size=batch, length_before_new_iter=chips_per_epoch
    )
    return sampler, batch


def check_classes(counts: dict[str, int], where: Sequence[str]) -> None:
    """Refuse a class that cannot form a triplet.

    Raises:
        ConfigError: it has fewer than two chips.
    """
    for name, count in counts.items():
        if 0 < count < 2:
            raise ConfigError(
                f"The class '{name}' has one chip in {', '.join(where)}; a triplet needs two of a "
                "class. Label more, or leave the class out of data.classes."
            )


def metric_learning() -> Any:
    """The package pytorch-metric-learning.

    Raises:
        ConfigError: it is not installed.
    """
    try:
        library = importlib.import_module("pytorch_metric_learning")
        for name in ("distances", "losses", "miners", "reducers", "samplers"):
            importlib.import_module(f"pytorch_metric_learning.{name}")
        return library
    except ImportError as error:
        raise ConfigError(
            "Triplets need the package pytorch-metric-learning: pip install pytorch-metric-learning"
        ) from error
