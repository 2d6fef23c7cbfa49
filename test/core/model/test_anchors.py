"""Anchors, their coding, and the head that classifies and moves them, against computed values."""

from __future__ import annotations

import math

import pytest

torch = pytest.importorskip("torch", reason="the networks need torch")

from refdet_core.errors import ConfigError  # noqa: E402
from refdet_core.model.anchor_head import AnchorHead, AnchorOutput  # noqa: E402
from refdet_core.model.anchors import (  # noqa: E402
    anchor_boxes,
    anchor_sides,
    apply_deltas,
    wanted_deltas,
)
from refdet_core.model.config import SiameseConfig  # noqa: E402
from refdet_core.model.grid import Grid  # noqa: E402

GRID = Grid(8.0, 31.5)
SIAMRPN = {"matcher": "depthwise_branches", "head": "anchors", "strides": (8,)}


def test_anchors_have_pysots_sides() -> None:
    sides = anchor_sides(8.0, (0.33, 0.5, 1, 2, 3), (8,))
    assert sides == ((104, 32), (88, 40), (64, 64), (40, 80), (32, 96))


def test_the_middle_anchor_of_25_cells_is_in_the_middle_of_255_pixels() -> None:
    boxes = anchor_boxes(((64, 64), (40, 80)), GRID, torch.zeros(25, 25))
    assert boxes.shape == (4, 2, 25, 25)
    assert boxes[:, 0, 12, 12].tolist() == [127.5, 127.5, 64, 64]
    assert boxes[:, 1, 0, 24].tolist() == [31.5 + 24 * 8, 31.5, 40, 80]


def test_deltas_move_by_sides_and_grow_by_exponentials() -> None:
    anchors = torch.tensor([100.0, 50.0, 40.0, 80.0]).reshape(4, 1, 1, 1)
    deltas = torch.tensor([0.25, -0.5, math.log(2.0), 0.0]).reshape(4, 1, 1, 1)
    box = apply_deltas(anchors, deltas).flatten().tolist()
    # centre (110, 10), 80 wide, 80 high
    assert box == pytest.approx([70, -30, 150, 50])
    found = wanted_deltas(anchors, torch.tensor(box)).flatten()
    assert torch.allclose(found, deltas.flatten(), atol=1e-6)


def test_a_cell_has_the_score_and_box_of_its_best_anchor() -> None:
    head = AnchorHead(((64, 64), (40, 80)), torch.nn.Identity())
    logits = torch.zeros(1, 1, 2, 2, 1, 3)
    logits[0, 0, 1, 0] = torch.tensor([3.0, 0.0, -1.0])  # of the object, first anchor
    logits[0, 0, 0, 1] = torch.tensor([0.0, -2.0, 5.0])  # of the background, second anchor
    deltas = torch.zeros(1, 1, 4, 2, 1, 3)
    score = (logits[:, :, 1] - logits[:, :, 0]).amax(dim=2)
    output = AnchorOutput(score, deltas, score.amax(dim=(2, 3)), logits)
    scores, boxes, presence = head.decode(output, GRID)
    assert torch.allclose(scores[0, 0, 0], torch.sigmoid(torch.tensor([3.0, 2.0, -1.0])))
    assert boxes[0, 0, :, 0].T.tolist() == [
        [31.5 - 32, 31.5 - 32, 31.5 + 32, 31.5 + 32],
        [39.5 - 20, 31.5 - 40, 39.5 + 20, 31.5 + 40],
        [47.5 - 32, 31.5 - 32, 47.5 + 32, 31.5 + 32],
    ]
    assert presence[0, 0] == scores.max()


def test_levels_are_fused_by_a_softmax_of_their_weights() -> None:
    torch.manual_seed(0)
    config = SiameseConfig(channels=4, hidden=8, **{**SIAMRPN, "strides": (8, 8, 8)})
    head = AnchorHead.from_config(config, 24).eval()
    responses = torch.randn(1, 1, 24, 5, 5)
    layers = head.layers
    with torch.no_grad():
        layers.class_weight.copy_(torch.tensor([0.0, math.log(2.0), math.log(5.0)]))
        found = head(responses, torch.zeros(1)).logits
        parts = [
            layers.classes[level](responses[:, 0, 8 * level : 8 * level + 4]) for level in range(3)
        ]
    expected = (parts[0] + 2 * parts[1] + 5 * parts[2]) / 8
    assert torch.allclose(found.reshape(expected.shape), expected, atol=1e-5)


def test_the_head_refuses_responses_that_are_no_anchors() -> None:
    with pytest.raises(ConfigError, match="goes with the matchers up_channel"):
        AnchorHead.from_config(SiameseConfig(head="anchors"), 32)
