"""From responses to heatmap, boxes and presence."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

BOX_BASE_PX = 32.0
"""Width and height that a zero (dw, dh) stands for, in network pixels."""
_MAX_LOG_SIZE = 4.0
_PRIOR_LOGIT = -4.6  # 1 %: most cells are background, so training starts from there


@dataclass(frozen=True)
class HeadOutput:
    """Logits and box deltas for each frame and view.

    Shapes: ``score (B, V, h, w)`` logits; ``deltas (B, V, 4, h, w)`` as (dx, dy, dw, dh);
    ``presence (B, V)`` logits.
    """

    score: Tensor
    deltas: Tensor
    presence: Tensor


class Head(nn.Module):
    """Heatmap, (dx, dy, dw, dh) and presence from a view's responses and the frame's features.

    The frame's features enter once for all views: what an object's extent is depends on the
    frame, which object it is depends on the view.

    Args:
        responses: channels M of the matcher.
        channels: channels C of the frame's features.
        hidden: width of the head.
    """

    def __init__(self, responses: int, channels: int, hidden: int = 32) -> None:
        super().__init__()
        self.hidden = hidden
        self.from_frame = nn.Conv2d(channels, hidden, 1)
        self.from_responses = nn.Sequential(
            nn.BatchNorm2d(responses), nn.Conv2d(responses, hidden, 3, padding=1, bias=False)
        )
        self.norm = nn.BatchNorm2d(hidden)
        self.body = nn.Sequential(
            nn.ReLU(inplace=True),
            nn.Conv2d(hidden, hidden, 3, padding=1, bias=False),
            nn.BatchNorm2d(hidden),
            nn.ReLU(inplace=True),
        )
        self.out = nn.Conv2d(hidden, 5, 3, padding=1)
        self.presence = nn.Linear(hidden + 1, 1)
        prior = torch.tensor([_PRIOR_LOGIT, 0.0, 0.0, 0.0, 0.0])
        self.out.bias = nn.Parameter(prior)

    def forward(self, responses: Tensor, frame: Tensor) -> HeadOutput:
        batch, views, _, height, width = responses.shape
        mapped = self.from_responses(responses.flatten(0, 1))
        mapped = mapped.reshape(batch, views, self.hidden, height, width)
        mapped = (mapped + self.from_frame(frame).unsqueeze(1)).flatten(0, 1)
        hidden = self.body(self.norm(mapped))
        out = self.out(hidden).reshape(batch, views, 5, height, width)
        score, deltas = out[:, :, 0], out[:, :, 1:]
        strongest = torch.cat(
            [hidden.amax(dim=(2, 3)), score.reshape(batch * views, -1).amax(dim=1, keepdim=True)],
            dim=1,
        )
        presence = self.presence(strongest).reshape(batch, views)
        return HeadOutput(score, deltas, presence)


def decode_boxes(deltas: Tensor, stride: float) -> Tensor:
    """Deltas to xyxy boxes in network pixels.

    The centre is the cell's centre plus (dx, dy) strides; the size is
    :data:`BOX_BASE_PX` times ``exp(dw), exp(dh)``.

    Shape: ``(B, V, 4, h, w)`` to the same.
    """
    height, width = deltas.shape[-2:]
    rows = torch.arange(height, device=deltas.device).to(deltas.dtype).reshape(-1, 1)
    columns = torch.arange(width, device=deltas.device).to(deltas.dtype).reshape(1, -1)
    centre_x = (columns + 0.5 + deltas[:, :, 0]) * stride
    centre_y = (rows + 0.5 + deltas[:, :, 1]) * stride
    half = BOX_BASE_PX / 2 * torch.exp(deltas[:, :, 2:].clamp(-_MAX_LOG_SIZE, _MAX_LOG_SIZE))
    return torch.stack(
        [
            centre_x - half[:, :, 0],
            centre_y - half[:, :, 1],
            centre_x + half[:, :, 0],
            centre_y + half[:, :, 1],
        ],
        dim=2,
    )
