"""Frozen stages, parameter groups and the learning-rate schedule."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from refdet_core.errors import ConfigError
from refdet_core.model.backbones import Backbone
from refdet_core.model.siamese import Siamese


def freeze_leading_stages(backbone: Backbone, count: int) -> None:
    """Freeze the stem and the first ``count`` stages; 0 freezes nothing.

    Stages are timm's: the ``blocks`` of MobileNet, EfficientNet and the vision transformers, the
    ``layerN`` of ResNet; AlexNet's are its convolutions. All stages are the whole backbone.

    Raises:
        ConfigError: the backbone has fewer stages.
    """
    if count == 0:
        return
    stem, stages = split_stages(backbone)
    if not 0 <= count <= len(stages):
        raise ConfigError(
            f"frozen_blocks is {count}, but this backbone has {len(stages)} stages up to the "
            f"strides it is used at; give 0 to {len(stages)}."
        )
    if count == len(stages):
        backbone.requires_grad_(False)
    for module in stem + stages[:count]:
        module.requires_grad_(False)


def split_stages(backbone: Backbone) -> tuple[list[nn.Module], list[nn.Module]]:
    """A backbone's stem and its stages, see :func:`freeze_leading_stages`."""
    stem: list[nn.Module] = []
    stages: list[nn.Module] = []
    for name, child in backbone.net.named_children():
        if name == "blocks":
            stages.extend(child.children())
        elif name.startswith("layer") or name.isdigit():
            stages.append(child)
        else:
            stem.append(child)
    return stem, stages


def parameter_groups(network: Siamese, lr: float, backbone_lr_share: float) -> list[dict[str, Any]]:
    """Two optimiser groups of what learns: all but the backbone at ``lr``, then the backbone at its
    share of it (the second is missing when the whole backbone is frozen)."""
    learning = [(name, p) for name, p in network.named_parameters() if p.requires_grad]
    backbone = [p for name, p in learning if name.startswith("backbone.")]
    rest = [p for name, p in learning if not name.startswith("backbone.")]
    groups = [{"params": rest, "lr": lr}, {"params": backbone, "lr": lr * backbone_lr_share}]
    return [group for group in groups if group["params"]]


def _cosine(progress: float, last: float) -> float:
    return last + (1 - last) * 0.5 * (1 + math.cos(math.pi * progress))


def _exponential(progress: float, last: float) -> float:
    return float(last**progress)


OPTIMISERS = ("adamw", "adam", "sgd")
SCHEDULES: dict[str, Callable[[float, float], float]] = {
    "cosine": _cosine,
    "exponential": _exponential,
}


@dataclass(frozen=True)
class OptimiserConfig:
    """How the weights move.

    Attributes:
        name: one of :data:`OPTIMISERS`.
        momentum: of ``sgd``.
        schedule: course of the learning rate after the warm-up, one of :data:`SCHEDULES`.
        first_share: of the peak learning rate at the first step of the warm-up; 0: one step's part.
        last_share: of the peak learning rate at the last step.
    """

    name: str = "adamw"
    momentum: float = 0.9
    schedule: str = "cosine"
    first_share: float = 0.0
    last_share: float = 0.01

    def __post_init__(self) -> None:
        for name, valid in {"name": OPTIMISERS, "schedule": SCHEDULES}.items():
            if getattr(self, name) not in valid:
                raise ConfigError(
                    f"Unknown optimiser.{name} '{getattr(self, name)}'; valid are "
                    f"{', '.join(valid)}."
                )
        if not 0 <= self.first_share <= 1 or not 0 < self.last_share <= 1:
            raise ConfigError(
                "optimiser.first_share must be between 0 and 1 and last_share above 0, got "
                f"{self.first_share} and {self.last_share}."
            )


def make_optimiser(
    groups: list[dict[str, Any]], weight_decay: float, config: OptimiserConfig
) -> torch.optim.Optimizer:
    """The optimiser of these parameter groups."""
    if config.name == "sgd":
        return torch.optim.SGD(groups, momentum=config.momentum, weight_decay=weight_decay)
    if config.name == "adam":
        return torch.optim.Adam(groups, weight_decay=weight_decay)
    return torch.optim.AdamW(groups, weight_decay=weight_decay)


def learning_rate_factor(
    step: int,
    total: int,
    warmup: int,
    start: int = 0,
    config: OptimiserConfig = OptimiserConfig(),
) -> float:
    """Share of the peak learning rate at an optimiser step: linear warm-up, then a cosine (SGDR
    without restarts, Loshchilov & Hutter 2017) or an exponential down to the last share.

    Args:
        step: 0-based.
        total: steps of the whole training.
        warmup: steps of the warm-up.
        start: step at which these parameters begin to learn; they warm up from there and follow
            the same course as the others.
    """
    if step < start:
        return 0.0
    progress = min(1.0, max(0.0, (step - warmup) / max(1, total - warmup)))
    first = config.first_share
    ramp = first + (1 - first) * min(1.0, (step - start + 1) / warmup) if warmup else 1.0
    return ramp * SCHEDULES[config.schedule](progress, config.last_share)
