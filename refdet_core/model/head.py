"""The base of the heads: from responses to scores and boxes."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Tuple, TypeVar

import torch
from torch import Tensor, nn

from refdet_core.model.config import SiameseConfig
from refdet_core.model.grid import Grid

Output = TypeVar("Output", bound="HeadOutput")
Maps = Tuple[Tensor, Tensor, Tensor]


@dataclass(frozen=True)
class HeadOutput:
    """Logits and box deltas for each frame and view.

    Shapes: ``score (B, V, h, w)`` logits; ``deltas (B, V, D, h, w)`` in the head's box coding;
    ``presence (B, V)`` logits.
    """

    score: Tensor
    deltas: Tensor
    presence: Tensor

    def float(self: Output) -> Output:
        """The same in float32."""
        return replace(
            self, **{item.name: getattr(self, item.name).float() for item in fields(self)}
        )


class BaseHead(nn.Module):
    """Maps responses ``(B, V, M, h, w)`` and the frame's features to a :class:`HeadOutput`."""

    @classmethod
    def from_config(cls, config: SiameseConfig, responses: int) -> BaseHead:
        """Build it for that many response channels.

        Raises:
            ConfigError: it does not go with the other settings.
        """
        raise NotImplementedError

    def boxes(self, output: HeadOutput, grid: Grid) -> Tensor:
        """Boxes in xyxy network pixels, ``(B, V, 4, h, w)``."""
        raise NotImplementedError

    def decode(self, output: HeadOutput, grid: Grid) -> Maps:
        """The detector graph's output: score, boxes and presence, the first two with cells over the
        whole input; score and presence as probabilities."""
        boxes = self.boxes(output, grid)
        score, presence = torch.sigmoid(output.score), torch.sigmoid(output.presence)
        return grid.whole(score), grid.whole(boxes), presence


def strongest(score: Tensor) -> Tensor:
    """The presence logits ``(B, V)`` of a head without a branch of its own for them."""
    return score.amax(dim=(2, 3))
