from __future__ import annotations

import math

import pytest

torch = pytest.importorskip("torch", reason="training needs torch")
pytest.importorskip("timm", reason="training needs timm")

from refdet_core.errors import ConfigError  # noqa: E402
from refdet_core.model.heads import HeadOutput, decode_boxes  # noqa: E402
from refdet_training.losses import (  # noqa: E402
    BOX_LOSSES,
    SCORE_LOSSES,
    LossConfig,
    LossWeights,
    giou_loss,
    identity_loss,
    score_loss,
    siamese_loss,
)
from refdet_training.targets import (  # noqa: E402
    HEATMAPS,
    box_deltas,
    gaussian_heatmap,
    tent_heatmap,
)


def test_gaussian_is_one_at_the_nearest_cell_and_falls_with_the_object_size() -> None:
    box = torch.tensor([[20.0, 12.0, 44.0, 60.0]])  # centre (32, 36), sigma 4 and 8 px
    heatmap = gaussian_heatmap(box, 16, 16, 8.0)[0]
    # Cells centred at (28, 36) and (36, 36) are both 4 px away and share the peak.
    assert heatmap[4, 3] == heatmap[4, 4] == 1.0
    assert heatmap[5, 4].item() == pytest.approx(math.exp(-0.5 * 1.0**2), rel=1e-4)
    assert heatmap[4, 5].item() == pytest.approx(math.exp(-0.5 * (9 - 1)), rel=1e-4)


def test_tent_falls_in_straight_lines_to_the_sides_of_the_object() -> None:
    box = torch.tensor([[4.0, 20.0, 68.0, 52.0]])  # centre (36, 36) is that of cell (4, 4)
    heatmap = tent_heatmap(box, 16, 16, 8.0)[0]
    # half a side is 32 px across and 16 px down
    assert heatmap[4, 4:9].tolist() == pytest.approx([1, 0.75, 0.5, 0.25, 0])
    assert heatmap[4:7, 4].tolist() == pytest.approx([1, 0.5, 0])
    assert heatmap[5, 6].item() == pytest.approx(1 - math.sqrt(0.5**2 + 0.5**2), rel=1e-5)
    assert (heatmap > 0).sum() == (heatmap[1:8, 1:8] > 0).sum()


def test_a_tiny_object_still_has_a_peak_and_a_foot() -> None:
    box = torch.tensor([[34.0, 34.0, 38.0, 38.0]])
    tent, gaussian = tent_heatmap(box, 16, 16, 8.0)[0], gaussian_heatmap(box, 16, 16, 8.0)[0]
    # one and a half cells, 12 px; sigma half a cell, 4 px
    assert tent[4, 4] == gaussian[4, 4] == 1
    assert tent[4, 5].item() == pytest.approx(1 / 3, rel=1e-4)
    assert gaussian[4, 5].item() == pytest.approx(math.exp(-2), rel=1e-4)
    assert tent[4, 6] == 0


@pytest.mark.parametrize("name", HEATMAPS)
def test_heatmaps_of_no_box_and_of_centres_outside_are_empty(name) -> None:
    boxes = [[-40.0, 0, -10, 20], [0, 100, 10, 150], [64, 0, 64, 10]]
    assert HEATMAPS[name](torch.tensor(boxes), 8, 8, 8.0).max() == 0
    assert HEATMAPS[name](torch.zeros(0, 4), 8, 8, 8.0).shape == (0, 8, 8)
    inside = HEATMAPS[name](torch.tensor([[-10.0, 0, 11, 20], [0, 0, 0, 0]]), 8, 8, 8.0)
    assert inside.amax(dim=(1, 2)).tolist() == pytest.approx([1, 1])


@pytest.mark.parametrize("coding", ["log", "direct"])
def test_deltas_are_the_inverse_of_decoding(coding) -> None:
    boxes = torch.tensor([[3.0, 5.0, 40.0, 25.0], [100.0, 90.0, 108.0, 120.0]])
    decoded = decode_boxes(box_deltas(boxes, 16, 16, 8.0, coding)[:, None], 8.0, coding)[:, 0]
    expected = boxes[:, :, None, None].expand(-1, -1, 16, 16)
    assert torch.allclose(decoded, expected, atol=1e-3)


def test_deltas_of_a_hand_computed_box() -> None:
    box = torch.tensor([[20.0, 12.0, 52.0, 28.0]])  # centre (36, 20), 32 x 16 px
    # cell (row 1, column 3) is centred at (28, 12): one stride left of and above the centre
    log, direct = (box_deltas(box, 8, 8, 8.0, coding)[0, :, 1, 3] for coding in ("log", "direct"))
    assert log.tolist() == pytest.approx([1, 1, 0, math.log(0.5)])
    assert direct.tolist() == pytest.approx([1, 1, 1, 0.5])
    empty = box_deltas(torch.zeros(1, 4), 8, 8, 8.0)
    assert torch.isfinite(empty).all()
    with pytest.raises(ConfigError, match="log, direct"):
        box_deltas(box, 8, 8, 8.0, "linear")


def bce(p: float, target: float) -> float:
    return -(target * math.log(p) + (1 - target) * math.log(1 - p))


def test_score_losses_of_hand_computed_cells() -> None:
    logits, target = torch.tensor([0.0, 2.0, -1.0]), torch.tensor([1.0, 0.3, 0.0])
    p = [0.5, 1 / (1 + math.exp(-2)), 1 / (1 + math.exp(1))]
    plain = [bce(a, b) for a, b in zip(p, [1.0, 0.3, 0.0], strict=True)]
    expected = {
        "bce": plain,
        "quality_focal": [plain[0] * 0.5**2, plain[1] * (p[1] - 0.3) ** 2, plain[2] * p[2] ** 2],
        # alpha and 1 - p of the right answer, both mixed for a soft target
        "focal": [
            0.25 * 0.5**2 * plain[0],
            (0.25 * 0.3 + 0.75 * 0.7) * (1 - (0.3 * p[1] + 0.7 * (1 - p[1]))) ** 2 * plain[1],
            0.75 * p[2] ** 2 * plain[2],
        ],
        # only a target of 1 is positive; 0.3 is a negative that weighs 0.7 ** 4
        "centernet": [
            0.5**2 * math.log(2),
            0.7**4 * p[1] ** 2 * -math.log(1 - p[1]),
            p[2] ** 2 * -math.log(1 - p[2]),
        ],
    }
    assert set(expected) == set(SCORE_LOSSES)
    for name, values in expected.items():
        loss = score_loss(logits, target, LossConfig(score_loss=name))
        assert loss.tolist() == pytest.approx(values, rel=1e-4), name
    sharper = LossConfig(score_loss="focal", focal_alpha=0.5, focal_gamma=0.0)
    assert score_loss(logits, target, sharper).tolist() == pytest.approx(
        [value / 2 for value in plain], rel=1e-4
    )


@pytest.mark.parametrize("name", SCORE_LOSSES)
def test_score_losses_stay_finite_for_sure_and_wrong_logits(name) -> None:
    logits = torch.tensor([-80.0, 80.0, -80.0, 80.0], requires_grad=True)
    target = torch.tensor([1.0, 0.0, 0.0, 1.0])
    loss = score_loss(logits, target, LossConfig(score_loss=name))
    loss.sum().backward()
    assert torch.isfinite(loss).all() and torch.isfinite(logits.grad).all()
    assert loss[:2].min() > 10 and loss[2:].max() < 1e-6


def test_unknown_losses_are_refused_with_the_valid_ones() -> None:
    for wrong, valid in (
        ({"heatmap": "disc"}, "gaussian, tent"),
        ({"score_loss": "hinge"}, "bce, quality_focal, focal, centernet"),
        ({"box_loss": "l2"}, "smooth_l1, l1"),
    ):
        with pytest.raises(ConfigError, match=valid):
            LossConfig(**wrong)


def one_frame(deltas, box=(8.0, 8, 40, 40), **settings):
    """The loss of one present object, centre in the middle of a 3 x 3 map with stride 16."""
    output = HeadOutput(torch.zeros(1, 1, 3, 3), deltas, torch.zeros(1, 1))
    weight = settings.pop("box_weight", None)
    coding = settings.pop("box_coding", "log")
    return siamese_loss(
        output,
        torch.tensor([box]),
        torch.tensor([True]),
        torch.tensor([[False]]),
        16.0,
        LossConfig(**settings),
        weight,
        coding,
    )


def test_all_parts_of_a_hand_computed_frame() -> None:
    # 32 x 32 px around (24, 24); sigma is 8 px (half a cell), so neighbours are at exp(-2) < 0.3:
    # the box is learned at the middle cell alone, where the deltas should all be 0.
    deltas = torch.zeros(1, 1, 4, 3, 3)
    deltas[0, 0, :, 1, 1] = torch.tensor([0.5, 0.0, 0.05, -1.0])
    parts = one_frame(deltas, score_loss="bce")
    # BCE of p = 1/2 is log 2 whatever the target
    assert parts["heatmap"].item() == pytest.approx(9 * math.log(2), rel=1e-5)
    assert parts["presence"].item() == pytest.approx(math.log(2), rel=1e-5)
    # beta 0.1: |x| - 0.05 above it, x^2 / 0.2 below
    assert parts["box"].item() == pytest.approx(0.45 + 0 + 0.0125 + 0.95, rel=1e-5)
    assert one_frame(deltas, box_loss="l1")["box"].item() == pytest.approx(1.55, rel=1e-5)
    width, height = 32 * math.exp(0.05), 32 * math.exp(-1)
    overlap = (16 + 24 - (32 - width / 2)) * height
    union = 32 * 32 + width * height - overlap
    hull = (32 + width / 2 - 8) * 32
    expected = 1 - overlap / union + (hull - union) / hull
    assert parts["giou"].item() == pytest.approx(expected, rel=1e-4)
    total = parts["heatmap"] + 0.3 * parts["presence"] + parts["box"] + parts["giou"]
    assert parts["total"].item() == pytest.approx(total.item(), rel=1e-6)
    shares = LossWeights(heatmap=0.0, box=2.0, giou=0.0, presence=0.0)
    weighed = one_frame(deltas, weights=shares)
    assert weighed["total"].item() == pytest.approx(2 * parts["box"].item(), rel=1e-6)


def test_the_default_heatmap_loss_of_a_hand_computed_frame() -> None:
    targets = [1.0] + 4 * [math.exp(-2)] + 4 * [math.exp(-4)]
    expected = sum(math.log(2) * (target - 0.5) ** 2 for target in targets)
    parts = one_frame(torch.zeros(1, 1, 4, 3, 3))
    assert parts["heatmap"].item() == pytest.approx(expected, rel=1e-4)
    # the tent is 1.5 cells wide: a third at the sides, nothing at the corners
    corner = 1 - math.sqrt(2) / 1.5
    tent = [1.0] + 4 * [1 / 3] + 4 * [corner]
    expected = sum(math.log(2) * (target - 0.5) ** 2 for target in tent)
    parts = one_frame(torch.zeros(1, 1, 4, 3, 3), heatmap="tent")
    assert parts["heatmap"].item() == pytest.approx(expected, rel=1e-4)


def test_direct_coding_compares_sides_themselves() -> None:
    deltas = torch.zeros(1, 1, 4, 3, 3)
    deltas[0, 0, :, 1, 1] = torch.tensor([0.0, 0.0, 1.0, 0.5])  # 32 x 16 px instead of 32 x 32
    parts = one_frame(deltas, box_loss="l1", box_coding="direct")
    assert parts["box"].item() == pytest.approx(0.5, rel=1e-5)
    assert parts["giou"].item() == pytest.approx(0.5, rel=1e-5)


def test_box_weight_scales_the_box_parts_alone() -> None:
    deltas = torch.ones(1, 1, 4, 3, 3)
    full = one_frame(deltas)
    for weight in (1.0, 0.5, 0.0):
        parts = one_frame(deltas, box_weight=torch.tensor([weight]))
        for name in ("box", "giou"):
            assert parts[name].item() == pytest.approx(weight * full[name].item(), rel=1e-5)
        for name in ("heatmap", "presence"):
            assert parts[name].item() == full[name].item()


def test_a_box_of_unknown_extents_does_not_dilute_the_others() -> None:
    boxes = torch.tensor([[20.0, 20, 50, 60], [60, 60, 90, 80]])
    present, ignore = torch.tensor([True, True]), torch.zeros(2, 2, dtype=torch.bool)
    output = perfect_output(boxes, present, 2)
    output.deltas[0, 0] += 1
    output.deltas[1, 1] += 5
    known = siamese_loss(
        output, boxes, present, ignore, 8.0, LossConfig(), torch.tensor([1.0, 0.0])
    )
    # every delta is wrong by 1: 4 x (1 - 0.05)
    assert known["box"].item() == pytest.approx(4 * 0.95, rel=1e-4)


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
    parts = siamese_loss(truth, boxes, present, ignore, 8.0, LossConfig())
    assert parts["total"].item() < 1e-2
    for field, change in (("score", 20.0), ("presence", 25.0), ("deltas", 1.0)):
        worse = {name: getattr(truth, name).clone() for name in ("score", "deltas", "presence")}
        worse[field][0, 0] -= change
        worse_parts = siamese_loss(HeadOutput(**worse), boxes, present, ignore, 8.0, LossConfig())
        assert worse_parts["total"].item() > parts["total"].item() + 0.1


def test_a_template_found_where_another_is_costs_unless_the_pair_is_unknown() -> None:
    boxes = torch.tensor([[20.0, 20, 50, 60], [60, 60, 90, 80]])
    present = torch.tensor([True, True])
    output = perfect_output(boxes, present, 2)
    output.score[0, 1] = 5.0
    output.presence[0, 1] = 5.0
    known = torch.zeros(2, 2, dtype=torch.bool)
    unknown = torch.tensor([[True, True], [False, True]])
    assert siamese_loss(output, boxes, present, known, 8.0, LossConfig())["total"].item() > 1
    assert siamese_loss(output, boxes, present, unknown, 8.0, LossConfig())["total"].item() < 1e-2


@pytest.mark.parametrize("heatmap", HEATMAPS)
@pytest.mark.parametrize("name", SCORE_LOSSES)
@pytest.mark.parametrize("box_loss", BOX_LOSSES)
def test_a_batch_without_any_object_has_a_finite_loss_with_gradient(
    heatmap, name, box_loss
) -> None:
    config = LossConfig(heatmap=heatmap, score_loss=name, box_loss=box_loss)
    boxes, present = torch.zeros(2, 4), torch.tensor([False, False])
    score = torch.zeros(2, 2, 8, 8, requires_grad=True)
    output = HeadOutput(score, torch.zeros(2, 2, 4, 8, 8), torch.zeros(2, 2))
    ignore = torch.zeros(2, 2, dtype=torch.bool)
    parts = siamese_loss(output, boxes, present, ignore, 8.0, config, torch.ones(2))
    assert parts["box"] == 0 and parts["giou"] == 0
    total = parts["total"]
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
