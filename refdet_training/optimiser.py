"""What learns how fast: frozen stages, parameter groups and the learning rate's course."""

from __future__ import annotations

import math
from typing import Any

from torch import nn

from refdet_core.errors import ConfigError
from refdet_core.model.backbones import Backbone
from refdet_core.model.siamese import Siamese

_LAST_FACTOR = 0.01


def freeze_leading_stages(backbone: Backbone, count: int) -> None:
    """Stop the learning of the stem and of the first ``count`` stages; 0 freezes nothing.

    Stages are timm's: the ``blocks`` of MobileNet and EfficientNet, the ``layerN`` of ResNet.

    Raises:
        ConfigError: the backbone has fewer stages.
    """
    if count == 0:
        return
    stem: list[nn.Module] = []
    stages: list[nn.Module] = []
    for name, child in backbone.net.named_children():
        if name == "blocks":
            stages.extend(child.children())
        elif name.startswith("layer"):
            stages.append(child)
        else:
            stem.append(child)
    if not 0 <= count <= len(stages):
        raise ConfigError(
            f"frozen_blocks is {count}, but this backbone has {len(stages)} stages up to the "
            f"strides it is used at; give 0 to {len(stages)}."
        )
    for module in stem + stages[:count]:
        module.requires_grad_(False)


def parameter_groups(network: Siamese, lr: float, backbone_lr_share: float) -> list[dict[str, Any]]:
    """Two optimiser groups of what learns: all but the backbone at ``lr``, then the backbone at its
    share of it (the second is missing when the whole backbone is frozen)."""
    learning = [(name, p) for name, p in network.named_parameters() if p.requires_grad]
    backbone = [p for name, p in learning if name.startswith("backbone.")]
    rest = [p for name, p in learning if not name.startswith("backbone.")]
    groups = [{"params": rest, "lr": lr}, {"params": backbone, "lr": lr * backbone_lr_share}]
    return [group for group in groups if group["params"]]


def learning_rate_factor(step: int, total: int, warmup: int, start: int = 0) -> float:
    """Share of the peak learning rate at an optimiser step: linear warm-up, then a cosine down to
    1 % (SGDR without restarts, Loshchilov & Hutter 2017).

    Args:
        step: 0-based.
        total: steps of the whole training.
        warmup: steps of the warm-up.
        start: step at which these parameters begin to learn; they warm up from there and follow
            the same cosine as the others.
    """
    if step < start:
        return 0.0
    progress = (step - warmup) / max(1, total - warmup)
    cosine = 0.5 * (1 + math.cos(math.pi * min(1.0, max(0.0, progress))))
    ramp = min(1.0, (step - start + 1) / warmup) if warmup else 1.0
    return ramp * (_LAST_FACTOR + (1 - _LAST_FACTOR) * cosine)
