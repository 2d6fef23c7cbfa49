"""The head of SiamRPN and SiamRPN++: every anchor is classified and moved."""

from __future__ import annotations

from dataclasses import dataclass
from typing import List, Sequence, Tuple

import torch
from torch import Tensor, nn

from refdet_core.errors import ConfigError
from refdet_core.model.anchors import anchor_boxes, anchor_sides, apply_deltas
from refdet_core.model.config import SiameseConfig
from refdet_core.model.grid import Grid
from refdet_core.model.head import BaseHead, HeadOutput, strongest

_CLASSES, _DELTAS = 2, 4


@dataclass(frozen=True)
class AnchorOutput(HeadOutput):
    """A cell's ``score`` is that of its best anchor: log-odds of object against background.

    Shapes: ``logits (B, V, 2, k, h, w)``, background first; ``deltas (B, V, 4, k, h, w)``.
    """

    logits: Tensor

    @property
    def odds(self) -> Tensor:
        """Log-odds of every anchor, ``(B, V, k, h, w)``."""
        return self.logits[:, :, 1] - self.logits[:, :, 0]


class AnchorHead(BaseHead):
    """Logits and deltas of k anchors for each cell.

    Outside the network each cell has one score and one box, those of its best anchor, as with every
    other head. Two anchors of one cell show the same object, which NMS would merge anyway, and
    heatmaps, decoding and searches need no change.

    Args:
        sides: (width, height) of the anchors.
        layers: maps responses ``(N, M, h, w)`` to logits ``(N, 2 k, h, w)`` and deltas.
    """

    def __init__(self, sides: Sequence[Tuple[float, float]], layers: nn.Module) -> None:
        super().__init__()
        self.sides = tuple(sides)
        self.layers = layers

    @classmethod
    def from_config(cls, config: SiameseConfig, responses: int) -> BaseHead:
        sides = anchor_sides(config.stride, config.anchor_ratios, config.anchor_scales)
        layers: nn.Module
        if config.matcher == "up_channel":
            layers = _Direct(len(sides))
        elif config.matcher == "depthwise_branches":
            layers = _Fused(len(sides), config.channels, len(config.strides), config.hidden)
        else:
            raise ConfigError(
                "The head 'anchors' goes with the matchers up_channel and depthwise_branches, not "
                f"with '{config.matcher}'."
            )
        return cls(sides, layers)

    def forward(self, responses: Tensor, frame: Tensor) -> AnchorOutput:
        batch, views, _, height, width = responses.shape
        logits, deltas = self.layers(responses.flatten(0, 1))
        anchors = len(self.sides)
        logits = logits.reshape(batch, views, _CLASSES, anchors, height, width)
        deltas = deltas.reshape(batch, views, _DELTAS, anchors, height, width)
        score = (logits[:, :, 1] - logits[:, :, 0]).amax(dim=2)
        return AnchorOutput(score, deltas, strongest(score), logits)

    def boxes(self, output: HeadOutput, grid: Grid) -> Tensor:
        assert isinstance(output, AnchorOutput)
        odds = output.odds
        moved = apply_deltas(anchor_boxes(self.sides, grid, odds), output.deltas)
        best, boxes = odds[:, :, 0], moved[:, :, :, 0]
        for number in range(1, len(self.sides)):
            better = odds[:, :, number] > best
            best = torch.where(better, odds[:, :, number], best)
            boxes = torch.where(better.unsqueeze(2), moved[:, :, :, number], boxes)
        return boxes


class _Direct(nn.Module):
    """Up-channel responses: logits as they are, deltas through one 1x1."""

    def __init__(self, anchors: int) -> None:
        super().__init__()
        self.classes = _CLASSES * anchors
        self.adjust = nn.Conv2d(_DELTAS * anchors, _DELTAS * anchors, 1)

    def forward(self, responses: Tensor) -> Tuple[Tensor, Tensor]:
        return responses[:, : self.classes], self.adjust(responses[:, self.classes :])


class _Fused(nn.Module):
    """For each level and branch two 1x1 convolutions; levels are summed with learned weights that
    are positive and add up to 1 (SiamRPN++, equation 5)."""

    def __init__(self, anchors: int, channels: int, levels: int, hidden: int) -> None:
        super().__init__()
        self.channels = channels
        self.classes = nn.ModuleList(
            _two_layers(channels, hidden, _CLASSES * anchors) for _ in range(levels)
        )
        self.deltas = nn.ModuleList(
            _two_layers(channels, hidden, _DELTAS * anchors) for _ in range(levels)
        )
        self.class_weight = nn.Parameter(torch.ones(levels))
        self.delta_weight = nn.Parameter(torch.ones(levels))

    def forward(self, responses: Tensor) -> Tuple[Tensor, Tensor]:
        parts = torch.split(responses, self.channels, dim=1)
        logits = _weighted(self.classes, parts[0::2], self.class_weight)
        return logits, _weighted(self.deltas, parts[1::2], self.delta_weight)


def _weighted(layers: nn.ModuleList, parts: Sequence[Tensor], weight: Tensor) -> Tensor:
    shares = torch.softmax(weight, dim=0)
    results: List[Tensor] = [layer(part) for layer, part in zip(layers, parts)]
    total = results[0] * shares[0]
    for number in range(1, len(results)):
        total = total + results[number] * shares[number]
    return total


def _two_layers(inputs: int, hidden: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, hidden, 1, bias=False),
        nn.BatchNorm2d(hidden),
        nn.ReLU(inplace=True),
        nn.Conv2d(hidden, outputs, 1),
    )
