"""The heads by name, and refdet's own: heatmap, boxes and presence."""

from __future__ import annotations

from typing import Dict, Type

import torch
from torch import Tensor, nn
from torch.nn import functional

from refdet_core.errors import ConfigError
from refdet_core.model.anchor_head import AnchorHead
from refdet_core.model.config import SiameseConfig
from refdet_core.model.grid import Grid
from refdet_core.model.head import BaseHead, HeadOutput
from refdet_core.model.score_head import ScoreHead
from refdet_core.model.tent_head import TentHead

BOX_BASE_PX = 32.0
"""Width and height for (dw, dh) of zero, in network pixels."""
BOX_CODINGS = ("log", "direct")
_MAX_LOG_SIZE = 4.0
_PRIOR_LOGIT = -4.6  # 1 %: most cells are background, so training starts there


class Head(BaseHead):
    """Heatmap and presence from a view's responses only; (dx, dy, dw, dh) also from the frame.

    The frame shows an object's extent, but must not decide whether it is the wanted object: a
    heatmap that sees the frame's features learns to find whatever stands out.

    Args:
        responses: channels M of the matcher.
        channels: channels C of the frame's features.
        hidden: width of the head.
        box_coding: one of :data:`BOX_CODINGS`.
    """

    def __init__(
        self, responses: int, channels: int, hidden: int = 32, box_coding: str = "log"
    ) -> None:
        super().__init__()
        if box_coding not in BOX_CODINGS:
            raise ConfigError(
                f"Unknown box_coding '{box_coding}'; valid are {', '.join(BOX_CODINGS)}."
            )
        self.box_coding = box_coding
        self.hidden = hidden
        self.compare = nn.Sequential(
            nn.BatchNorm2d(responses),
            nn.Conv2d(responses, hidden, 3, padding=1, bias=False),
            nn.BatchNorm2d(hidden),
            nn.ReLU(inplace=True),
            nn.Conv2d(hidden, hidden, 3, padding=1, bias=False),
            nn.BatchNorm2d(hidden),
            nn.ReLU(inplace=True),
        )
        self.score = nn.Conv2d(hidden, 1, 1)
        self.presence = nn.Linear(hidden + 1, 1)
        self.from_frame = nn.Conv2d(channels, hidden, 1)
        self.from_compared = nn.Conv2d(hidden, hidden, 1)
        self.box = nn.Conv2d(hidden, 4, 3, padding=1)
        self.score.bias = nn.Parameter(torch.tensor([_PRIOR_LOGIT]))

    @classmethod
    def from_config(cls, config: SiameseConfig, responses: int) -> BaseHead:
        channels = config.levels_apart * config.channels
        return cls(responses, channels, config.hidden, config.box_coding)

    def boxes(self, output: HeadOutput, grid: Grid) -> Tensor:
        return decode_boxes(output.deltas, grid.stride, self.box_coding)

    def forward(self, responses: Tensor, frame: Tensor) -> HeadOutput:
        batch, views, _, height, width = responses.shape
        compared = self.compare(responses.flatten(0, 1))
        score = self.score(compared)
        strongest = torch.cat([compared.amax(dim=(2, 3)), score.amax(dim=(2, 3))], dim=1)
        extent = self.from_compared(compared).reshape(batch, views, self.hidden, height, width)
        extent = torch.relu(extent + self.from_frame(frame).unsqueeze(1)).flatten(0, 1)
        deltas = self.box(extent)
        if self.box_coding == "direct":  # widths and heights are never negative
            deltas = torch.cat([deltas[:, :2], functional.softplus(deltas[:, 2:])], dim=1)
        return HeadOutput(
            score.reshape(batch, views, height, width),
            deltas.reshape(batch, views, 4, height, width),
            self.presence(strongest).reshape(batch, views),
        )


def decode_boxes(deltas: Tensor, stride: float, coding: str = "log") -> Tensor:
    """Decode the head's output at every cell to xyxy boxes in network pixels.

    The centre is the cell's centre plus (dx, dy) strides. The size is :data:`BOX_BASE_PX` times
    ``exp(dw), exp(dh)`` in ``log`` coding (R-CNN's, Girshick et al. 2014) and times ``w, h`` in
    ``direct`` coding.

    Shape: ``(B, V, 4, h, w)`` to the same.
    """
    height, width = deltas.shape[-2:]
    rows = torch.arange(height, device=deltas.device).to(deltas.dtype).reshape(-1, 1)
    columns = torch.arange(width, device=deltas.device).to(deltas.dtype).reshape(1, -1)
    centre_x = (columns + 0.5 + deltas[:, :, 0]) * stride
    centre_y = (rows + 0.5 + deltas[:, :, 1]) * stride
    size = deltas[:, :, 2:]
    if coding == "log":
        size = torch.exp(size.clamp(-_MAX_LOG_SIZE, _MAX_LOG_SIZE))
    half = BOX_BASE_PX / 2 * size
    return torch.stack(
        [
            centre_x - half[:, :, 0],
            centre_y - half[:, :, 1],
            centre_x + half[:, :, 0],
            centre_y + half[:, :, 1],
        ],
        dim=2,
    )


HEADS: Dict[str, Type[BaseHead]] = {
    "heatmap": Head,
    "score": ScoreHead,
    "anchors": AnchorHead,
    "tent": TentHead,
}


def make_head(config: SiameseConfig, responses: int) -> BaseHead:
    """Build the head that the configuration names, for that many response channels.

    Raises:
        ConfigError: an unknown name, or it does not go with the other settings.
    """
    if config.head not in HEADS:
        raise ConfigError(f"Unknown head '{config.head}'; valid are {', '.join(HEADS)}.")
    return HEADS[config.head].from_config(config, responses)
