"""Labels and losses of the published systems, against values computed by hand or by others."""

from __future__ import annotations

import math

import pytest

torch = pytest.importorskip("torch", reason="training needs torch")
pytest.importorskip("timm", reason="training needs timm")
pytest.importorskip("lightning", reason="training needs lightning")

import torch.nn.functional as F  # noqa: E402
from torchvision.ops import sigmoid_focal_loss  # noqa: E402

from refdet_core.errors import ConfigError  # noqa: E402
from refdet_core.model.anchor_head import AnchorOutput  # noqa: E402
from refdet_core.model.anchors import anchor_boxes, anchor_sides  # noqa: E402
from refdet_core.model.grid import Grid  # noqa: E402
from refdet_core.model.head import HeadOutput  # noqa: E402
from refdet_core.model.tent_head import TentHead  # noqa: E402
from refdet_training.criteria import anchors, logistic, tent  # noqa: E402
from refdet_training.criteria.anchors import AnchorLossConfig  # noqa: E402
from refdet_training.criteria.logistic import LogisticConfig  # noqa: E402
from refdet_training.criteria.tent import TentLossConfig  # noqa: E402
from refdet_training.losses import LossConfig  # noqa: E402
from refdet_training.optimiser import OptimiserConfig, learning_rate_factor  # noqa: E402

MIDDLE = torch.tensor([[95.5, 95.5, 159.5, 159.5]])  # 64 px around 127.5


# --- SiamFC ----------------------------------------------------------------------------------


def test_logistic_labels_are_a_diamond_of_two_cells() -> None:
    """The reference implementation's labels for a 17 x 17 response."""
    grid = Grid(8.0, 63.5)
    labels = logistic.logistic_labels(
        MIDDLE, torch.tensor([True]), torch.zeros(17, 17), grid, LogisticConfig()
    )[0]
    steps = torch.arange(17) - 8
    expected = (steps[:, None].abs() + steps.abs() <= 2).float()
    assert torch.equal(labels, expected)
    assert labels.sum() == 13


def test_labels_between_the_radii_are_ignored_and_absent_pairs_are_negative() -> None:
    config = LogisticConfig(positive_px=8.0, negative_px=16.0)
    boxes, present = MIDDLE.expand(2, -1), torch.tensor([True, False])
    labels = logistic.logistic_labels(boxes, present, torch.zeros(17, 17), Grid(8.0, 63.5), config)
    assert (labels[0] == 1).sum() == 5
    assert (labels[0] == logistic.IGNORED).sum() == 13 - 5
    assert (labels[1] == 0).all()


def test_balanced_loss_of_a_hand_computed_map() -> None:
    logits = torch.tensor([[[2.0, 0.0], [0.0, -1.0]]])
    labels = torch.tensor([[[1.0, 0.0], [logistic.IGNORED, 0.0]]])
    positive = math.log(1 + math.exp(-2.0))
    negative = (math.log(2.0) + math.log(1 + math.exp(-1.0))) / 2
    loss = logistic.balanced_logistic_loss(logits, labels)
    assert float(loss) == pytest.approx((positive + negative) / 2, abs=1e-6)
    absent = logistic.balanced_logistic_loss(logits, torch.zeros_like(labels))
    assert float(absent) == pytest.approx(float(F.softplus(logits).mean()), abs=1e-6)


def test_siamfc_learns_from_1e_2_to_1e_5() -> None:
    config = OptimiserConfig(schedule="exponential", last_share=1e-3)
    rates = [1e-2 * learning_rate_factor(step, 50, 0, 0, config) for step in (0, 25, 50)]
    assert rates == pytest.approx([1e-2, math.sqrt(1e-2 * 1e-5), 1e-5])


# --- SiamRPN ---------------------------------------------------------------------------------

ANCHORS = anchor_boxes(
    anchor_sides(8.0, (0.33, 0.5, 1, 2, 3), (8,)), Grid(8.0, 31.5), torch.zeros(25, 25)
)


def test_anchors_are_labelled_by_their_overlap() -> None:
    torch.manual_seed(0)
    config = AnchorLossConfig(positives=1000, total=10000)
    labels = anchors.anchor_labels(ANCHORS, MIDDLE[0], True, config)
    square = labels[2]
    assert square[12, 12] == anchors.POSITIVE  # the box itself
    # one cell aside 56 of 64 px overlap: 56 / 72 = 0.78; two cells: 48 / 80 = 0.6, not above
    assert square[12, 13] == anchors.POSITIVE and square[12, 14] == anchors.IGNORED
    # four cells aside: 32 / 96 = 0.33; five: 24 / 104 = 0.23
    assert square[12, 16] == anchors.IGNORED and square[12, 17] == anchors.NEGATIVE
    assert square[0, 0] == anchors.NEGATIVE


def test_at_most_16_positives_of_64_and_16_of_an_absent_pair() -> None:
    torch.manual_seed(0)
    large = torch.tensor([60.0, 60.0, 195.0, 195.0])
    config = AnchorLossConfig(positive_iou=0.1, negative_iou=0.05)
    labels = anchors.anchor_labels(ANCHORS, large, True, config)
    assert (labels == anchors.POSITIVE).sum() == 16
    assert (labels == anchors.NEGATIVE).sum() == 48
    absent = anchors.anchor_labels(ANCHORS, large, False, config)
    assert (absent == anchors.NEGATIVE).sum() == 16
    assert (absent == anchors.POSITIVE).sum() == 0


@pytest.mark.parametrize("class_loss", ["cross_entropy", "bce"])
def test_class_loss_is_half_positives_half_negatives(class_loss: str) -> None:
    """Softmax over two classes and binary cross-entropy of their difference are the same."""
    logits = torch.zeros(1, 1, 2, 1, 1, 3)
    logits[0, 0, 1, 0, 0] = torch.tensor([2.0, -1.0, 5.0])
    labels = torch.tensor([anchors.POSITIVE, anchors.NEGATIVE, anchors.IGNORED]).reshape(1, 1, 1, 3)
    deltas = torch.zeros(1, 1, 4, 1, 1, 3)
    score = logits[:, :, 1, 0]
    output = AnchorOutput(score, deltas, score.amax(dim=(2, 3)), logits)
    wanted = torch.full((1, 4, 1, 1, 3), 0.5)
    parts = anchors.anchor_loss(output, labels, wanted, AnchorLossConfig(class_loss=class_loss))
    expected = (math.log(1 + math.exp(-2)) + math.log(1 + math.exp(-1))) / 2
    assert float(parts["class"]) == pytest.approx(expected, abs=1e-6)
    assert float(parts["box"]) == pytest.approx(4 * 0.5)  # of the one positive
    assert float(parts["total"]) == pytest.approx(expected + 1.2 * 2.0, abs=1e-5)


def test_smooth_l1_is_the_papers_choice() -> None:
    output = AnchorOutput(
        torch.zeros(1, 1, 1, 1),
        torch.zeros(1, 1, 4, 1, 1, 1),
        torch.zeros(1, 1),
        torch.zeros(1, 1, 2, 1, 1, 1),
    )
    labels = torch.full((1, 1, 1, 1), anchors.POSITIVE)
    wanted = torch.tensor([0.5, 2.0, 0.0, 0.0]).reshape(1, 4, 1, 1, 1)
    parts = anchors.anchor_loss(output, labels, wanted, AnchorLossConfig(delta_loss="smooth_l1"))
    assert float(parts["box"]) == pytest.approx(0.5 * 0.25 + 1.5)


def test_siamrpn_warms_up_from_a_fifth_and_ends_at_a_tenth() -> None:
    config = OptimiserConfig(schedule="exponential", first_share=0.2, last_share=0.1)
    rates = [0.005 * learning_rate_factor(step, 20, 5, 0, config) for step in (0, 4, 20)]
    assert rates == pytest.approx([0.005 * (0.2 + 0.8 / 5), 0.005, 0.0005])


# --- cross-attention -------------------------------------------------------------------------


def test_the_tent_is_the_product_of_two_ramps() -> None:
    grid = Grid(10.0, 5.0)
    box = torch.tensor([[25.0, 5.0, 65.0, 65.0]])  # centre (45, 35), 40 wide, 60 high
    heat = tent.tent(box, torch.zeros(8, 10), grid)[0]
    assert heat[3, 4] == 1
    assert float(heat[3, 5]) == pytest.approx(0.5)  # 10 of 20 px to the right
    assert float(heat[4, 4]) == pytest.approx(2 / 3)  # 10 of 30 px down
    assert float(heat[4, 5]) == pytest.approx(1 / 3)
    assert heat[3, 6] == 0 and heat[6, 4] == 0
    tiny = tent.tent(torch.tensor([[43.0, 33.0, 44.0, 34.0]]), torch.zeros(8, 10), grid)[0]
    assert tiny.max() == 1


@pytest.mark.parametrize("offsets", [False, True])
def test_the_regression_is_what_the_head_decodes(offsets: bool) -> None:
    head = TentHead(4, 8, search_px=256, factor=1, offsets=offsets, dropout=0.0)
    grid, box = Grid(10.24, 5.12), torch.tensor([[50.0, 60.0, 114.0, 92.0]])
    wanted = tent.regression(box, torch.zeros(25, 25), grid, head)
    assert wanted.shape == (1, 4 if offsets else 2, 25, 25)
    assert wanted[0, -2:, 3, 9].tolist() == [64 / 256, 32 / 256]
    boxes = head.boxes(
        HeadOutput(torch.zeros(1, 1, 25, 25), wanted[:, None], torch.zeros(1, 1)), grid
    )
    middle = boxes[0, 0, :, 3, 9]
    if offsets:
        assert torch.allclose(middle, box[0], atol=1e-4)
    else:
        assert torch.allclose(middle[2:] - middle[:2], box[0, 2:] - box[0, :2])


def test_focal_loss_is_torchvisions_where_targets_are_hard() -> None:
    torch.manual_seed(0)
    logits, heat = torch.randn(2, 5, 5), (torch.rand(2, 5, 5) > 0.7).float()
    found = tent.focal_loss(logits, heat, TentLossConfig())
    official = sigmoid_focal_loss(logits, heat, 0.25, 2.0, reduction="sum") / heat.sum()
    assert float(found) == pytest.approx(float(official), rel=1e-5)


def test_focal_loss_of_a_soft_cell_by_hand() -> None:
    logits, heat = torch.tensor([[[1.0]]]), torch.tensor([[[0.5]]])
    p = 1 / (1 + math.exp(-1.0))
    cross_entropy = -(0.5 * math.log(p) + 0.5 * math.log(1 - p))
    expected = 0.25 * (1 - 0.5) ** 2 * cross_entropy  # p/2 + (1 - p)/2 is a half
    assert float(tent.focal_loss(logits, heat, TentLossConfig())) == pytest.approx(expected)


def test_the_regression_counts_under_the_tent_of_known_boxes_alone() -> None:
    heat = torch.tensor([[[0.0, 1.0]], [[1.0, 1.0]]])
    deltas = torch.zeros(2, 1, 2, 1, 2)
    output = HeadOutput(torch.zeros(2, 1, 1, 2), deltas, torch.zeros(2, 1))
    wanted = torch.full((2, 2, 1, 2), 0.25)
    known = torch.tensor([True, False])
    parts = tent.tent_loss(output, heat, wanted, known, TentLossConfig())
    assert float(parts["box"]) == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: LogisticConfig(positive_px=20), "must not be below positive_px"),
        (lambda: AnchorLossConfig(class_loss="hinge"), "valid are cross_entropy, bce"),
        (lambda: AnchorLossConfig(negative_iou=0.7), "must not be above positive_iou"),
        (lambda: OptimiserConfig(name="lion"), "valid are adamw, adam, sgd"),
        (lambda: OptimiserConfig(schedule="steps"), "valid are cosine, exponential"),
    ],
)
def test_impossible_settings_are_refused(make, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make()


def test_the_losses_config_holds_all_systems() -> None:
    assert LossConfig().anchors.delta_weight == 1.2
