from __future__ import annotations

import math

import pytest

torch = pytest.importorskip("torch", reason="training needs torch")
pytest.importorskip("timm", reason="training needs timm")

from refdet_core.model.heads import HeadOutput, decode_boxes  # noqa: E402
from refdet_training.losses import (  # noqa: E402
    LossWeights,
    focal_bce,
    giou_loss,
    identity_loss,
    siamese_loss,
)
from refdet_training.targets import box_deltas, gaussian_heatmap  # noqa: E402


def test_gaussian_is_one_at_the_nearest_cell_and_falls_with_the_object_size() -> None:
    box = torch.tensor([[20.0, 12.0, 44.0, 60.0]])  # centre (32, 36), sigma 4 and 8 px
    heatmap = gaussian_heatmap(box, 16, 16, 8.0)[0]
    # Cells centred at (28, 36) and (36, 36) are both 4 px away and share the peak.
    assert heatmap[4, 3] == heatmap[4, 4] == 1.0
    assert heatmap[5, 4].item() == pytest.approx(math.exp(-0.5 * 1.0**2), rel=1e-4)
    assert heatmap[4, 5].item() == pytest.approx(math.exp(-0.5 * (9 - 1)), rel=1e-4)


def test_gaussian_of_a_box_with_its_centre_outside_is_empty() -> None:
    assert gaussian_heatmap(torch.tensor([[-40.0, 0.0, -10.0, 20.0]]), 8, 8, 8.0).max() == 0


def test_deltas_are_the_inverse_of_decoding() -> None:
    boxes = torch.tensor([[3.0, 5.0, 40.0, 25.0], [100.0, 90.0, 108.0, 120.0]])
    decoded = decode_boxes(box_deltas(boxes, 16, 16, 8.0)[:, None], 8.0)[:, 0]
    expected = boxes[:, :, None, None].expand(-1, -1, 16, 16)
    assert torch.allclose(decoded, expected, atol=1e-3)


def test_focal_with_gamma_zero_is_binary_cross_entropy() -> None:
    logits, target = torch.tensor([0.0, 2.0]), torch.tensor([1.0, 0.3])
    p = 1 / (1 + math.exp(-2))
    expected = [math.log(2), -(0.3 * math.log(p) + 0.7 * math.log(1 - p))]
    assert focal_bce(logits, target, 0.0).tolist() == pytest.approx(expected, rel=1e-5)
    weighted = [math.log(2) * 0.25, expected[1] * (p - 0.3) ** 2]
    assert focal_bce(logits, target, 2.0).tolist() == pytest.approx(weighted, rel=1e-5)


def test_giou_of_hand_computed_pairs() -> None:
    predicted = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 10], [0, 0, 10, 10]])
    target = torch.tensor([[0.0, 0, 10, 10], [5, 0, 15, 10], [20, 0, 30, 10]])
    # same; IoU 1/3, hull filled; apart: hull 300, union 200
    assert giou_loss(predicted, target).tolist() == pytest.approx(
        [0, 2 / 3, 1 + 100 / 300], abs=1e-5
    )


def perfect_output(boxes, present, templates):
    """Logits that say exactly the truth."""
    heatmap = gaussian_heatmap(boxes, 16, 16, 8.0) * present[:, None, None]
    score = torch.full((len(boxes), templates, 16, 16), -20.0)
    presence = torch.full((len(boxes), templates), -20.0)
    deltas = torch.zeros(len(boxes), templates, 4, 16, 16)
    wanted = box_deltas(boxes, 16, 16, 8.0)
    for i in range(len(boxes)):
        score[i, i] = torch.logit(heatmap[i].clamp(1e-8, 1 - 1e-6))
        presence[i, i] = 20.0 if present[i] else -20.0
        deltas[i, i] = wanted[i]
    return HeadOutput(score, deltas, presence)


def test_loss_of_the_truth_is_almost_nothing_and_of_anything_else_is_more() -> None:
    boxes = torch.tensor([[20.0, 20, 50, 60], [60, 60, 90, 80]])
    present, ignore = torch.tensor([True, False]), torch.zeros(2, 2, dtype=torch.bool)
    truth = perfect_output(boxes, present, 2)
    parts = siamese_loss(truth, boxes, present, ignore, 8.0, LossWeights())
    assert parts["total"].item() < 1e-2
    for field, change in (("score", 20.0), ("presence", 25.0), ("deltas", 1.0)):
        worse = {name: getattr(truth, name).clone() for name in ("score", "deltas", "presence")}
        worse[field][0, 0] -= change
        worse_parts = siamese_loss(HeadOutput(**worse), boxes, present, ignore, 8.0, LossWeights())
        assert worse_parts["total"].item() > parts["total"].item() + 0.1


def test_a_template_found_where_another_is_costs_unless_the_pair_is_unknown() -> None:
    boxes = torch.tensor([[20.0, 20, 50, 60], [60, 60, 90, 80]])
    present = torch.tensor([True, True])
    output = perfect_output(boxes, present, 2)
    output.score[0, 1] = 5.0
    output.presence[0, 1] = 5.0
    known = torch.zeros(2, 2, dtype=torch.bool)
    unknown = torch.tensor([[True, True], [False, True]])
    assert siamese_loss(output, boxes, present, known, 8.0, LossWeights())["total"].item() > 1
    assert siamese_loss(output, boxes, present, unknown, 8.0, LossWeights())["total"].item() < 1e-2


def test_a_batch_without_any_object_has_a_finite_loss_with_gradient() -> None:
    boxes, present = torch.zeros(2, 4), torch.tensor([False, False])
    score = torch.zeros(2, 2, 8, 8, requires_grad=True)
    output = HeadOutput(score, torch.zeros(2, 2, 4, 8, 8), torch.zeros(2, 2))
    ignore = torch.zeros(2, 2, dtype=torch.bool)
    total = siamese_loss(output, boxes, present, ignore, 8.0, LossWeights())["total"]
    total.backward()
    assert torch.isfinite(total) and torch.isfinite(score.grad).all() and score.grad.abs().sum() > 0


def test_identity_loss_is_small_for_own_templates_and_large_for_exchanged_ones() -> None:
    features = torch.zeros(2, 3, 8, 8)
    features[0, 0, 2, 3] = 1.0  # object 0 at cell (row 2, column 3) looks like channel 0
    features[1, 1, 5, 1] = 1.0
    kernels = torch.zeros(2, 3, 3, 3)
    kernels[0, 0], kernels[1, 1] = 1.0, 1.0
    boxes = torch.tensor([[20.0, 12, 36, 28], [4, 36, 20, 52]])  # centres (28, 20) and (12, 44)
    present, known = torch.tensor([True, True]), torch.zeros(2, 2, dtype=torch.bool)
    # cosines 1 and 0 at temperature 0.1: log(1 + exp(-10)) and log(1 + exp(10))
    own = identity_loss(features, kernels, boxes, present, known, 8.0)
    assert own.item() == pytest.approx(math.log(1 + math.exp(-10)), abs=1e-6)
    exchanged = identity_loss(features, kernels.flip(0), boxes, present, known, 8.0)
    assert exchanged.item() == pytest.approx(math.log(1 + math.exp(10)), rel=1e-4)
    unknown = torch.ones(2, 2, dtype=torch.bool)
    assert identity_loss(features, kernels.flip(0), boxes, present, unknown, 8.0).item() < 1e-6
    nobody = torch.tensor([False, False])
    assert identity_loss(features, kernels, boxes, nobody, known, 8.0).item() == 0.0
