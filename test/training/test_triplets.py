"""Triplets, their sampler and the calibration of pairs, against values worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

pytest.importorskip("torch", reason="training needs torch")
pytest.importorskip("pytorch_metric_learning", reason="needs pytorch-metric-learning")

import torch

from refdet_core.calibration import Calibration
from refdet_core.errors import ConfigError
from refdet_training.chips.augment import ChipAugmentation
from refdet_training.chips.pair_calibration import (
    LEAST_PAIRS,
    calibrate_pairs,
    retrieval_precision,
)
from refdet_training.chips.triplets import TripletLoss, check_classes, make_sampler


def at(*degrees):
    angles = torch.deg2rad(torch.tensor(degrees, dtype=torch.float32))
    return torch.stack([angles.cos(), angles.sin()], dim=1)


def softplus(value):
    return math.log(1 + math.exp(value))


def test_batch_hard_loss_equals_the_one_worked_out_by_hand() -> None:
    # Two classes on the unit circle. Squared distance at an angle a: 2 - 2 cos a.
    embeddings, labels = at(0, 60, 90, 180), torch.tensor([0, 0, 1, 1])
    d60, d30, d90, d120, d180 = (2 - 2 * math.cos(math.radians(a)) for a in (60, 30, 90, 120, 180))
    anchors = [
        (d60, d90),  # 0: positive at 60, nearest negative at 90
        (d60, d30),  # 60: positive at 0, nearest negative at 90
        (d90, d30),  # 90: positive at 180, nearest negative at 60
        (d90, d120),  # 180: positive at 90, nearest negative at 60
    ]
    assert d180 == pytest.approx(4)
    expected = sum(softplus(p - n + 0.5) for p, n in anchors) / 4
    assert TripletLoss(0.5)(embeddings, labels).item() == pytest.approx(expected, abs=1e-5)
    # Lengths do not count: distances are between unit vectors.
    lengths = torch.tensor([[1.0], [3.0], [0.2], [7.0]])
    assert TripletLoss(0.5)(embeddings * lengths, labels).item() == pytest.approx(expected, 1e-4)


def test_the_hardest_of_several_are_taken() -> None:
    generator = torch.Generator().manual_seed(0)
    embeddings = torch.nn.functional.normalize(torch.randn(24, 8, generator=generator))
    labels = torch.arange(8).repeat_interleave(3)
    distances = torch.cdist(embeddings, embeddings) ** 2
    same = labels[:, None] == labels[None]
    positive = distances.masked_fill(~same, -1).amax(dim=1)
    negative = distances.masked_fill(same, 9).amin(dim=1)
    expected = torch.nn.functional.softplus(positive - negative + 0.5).mean()
    assert TripletLoss(0.5)(embeddings, labels).item() == pytest.approx(expected.item(), abs=1e-5)


def test_a_batch_has_p_classes_with_k_chips_each() -> None:
    labels = torch.arange(12).repeat_interleave(5)
    sampler, batch = make_sampler(labels, 8, 3, 240)
    drawn = labels[list(sampler)]
    assert batch == 24
    assert len(drawn) == 240
    for part in drawn.split(batch):
        classes, counts = part.unique(return_counts=True)
        assert len(classes) == 8
        assert (counts == 3).all()


def test_fewer_classes_make_smaller_batches_and_one_makes_none() -> None:
    _, batch = make_sampler(torch.tensor([0] * 9 + [1] * 9), 8, 3, 60)
    assert batch == 6
    with pytest.raises(ConfigError, match="two classes"):
        make_sampler(torch.zeros(9), 8, 3, 60)
    with pytest.raises(ConfigError, match="chips_per_epoch"):
        make_sampler(torch.tensor([0] * 9 + [1] * 9), 8, 3, 5)


def test_a_class_with_one_chip_is_refused_by_its_name() -> None:
    check_classes({"pond": 2, "background": 0}, ["*"])
    with pytest.raises(ConfigError, match="'pool' has one chip"):
        check_classes({"pond": 2, "pool": 1}, ["*"])


def test_calibrated_probabilities_separate_pairs_of_one_class() -> None:
    generator = np.random.default_rng(0)
    centres = np.eye(4)[:3]
    labels = np.repeat([0, 1, 2], 30)
    embeddings = centres[labels] + generator.normal(0, 0.15, (90, 4))
    embeddings /= np.linalg.norm(embeddings, axis=1, keepdims=True)
    fitted = calibrate_pairs(embeddings, labels, background=2)
    assert fitted.fitted
    assert fitted.same == 2 * 30 * 29 // 2  # pairs within the background are none
    alike, unlike = fitted.calibration(np.array([0.97, 0.5]), np.zeros(2))
    assert alike > 0.9
    assert unlike < 0.1
    assert retrieval_precision(embeddings, labels, 2) > 0.99


def test_with_few_pairs_the_probability_is_half_of_one_plus_the_cosine() -> None:
    embeddings, labels = at(0, 10, 90, 100, 180).numpy(), np.array([0, 0, 1, 1, 2])
    fitted = calibrate_pairs(embeddings, labels, background=2)
    assert fitted.same < LEAST_PAIRS
    assert not fitted.fitted
    assert fitted.calibration == Calibration()
    cosine = 0.4
    assert fitted.calibration(np.array([(1 + cosine) / 2]), np.zeros(1))[0] == pytest.approx(0.7)


def test_augmentation_turns_and_lights_but_keeps_size_and_range() -> None:
    generator = np.random.default_rng(0)
    chip = np.zeros((4, 20, 20), np.float16)
    chip[:, 2:6, 2:6] = 200
    changed = [ChipAugmentation(noise=0.0)(chip, 16, generator) for _ in range(40)]
    assert all(item.shape == (4, 16, 16) and item.dtype == np.float32 for item in changed)
    assert all(item.min() >= 0 and item.max() <= 255 for item in changed)
    corners = {tuple(np.argwhere(item[0] > 100).mean(axis=0).round() > 8) for item in changed}
    assert len(corners) == 4
    levels = np.array([item.max(axis=(1, 2)) for item in changed])
    assert 150 < levels.min() < 195 < 205 < levels.max()
    assert (levels.max(axis=1) - levels.min(axis=1)).max() > 5  # each band on its own
