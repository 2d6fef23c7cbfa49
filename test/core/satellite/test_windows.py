from __future__ import annotations

import numpy as np
import pytest

from refdet_core.boxes import nms
from refdet_core.satellite.image_search import Hits, suppress
from refdet_core.satellite.windows import WindowPlan


@pytest.mark.parametrize(
    ("size", "scale"),
    [((64, 64), 1.0), ((10, 7), 1.0), ((65, 200), 1.0), ((3000, 2500), 1.0), ((256, 256), 2.7)],
)
def test_windows_cover_the_image_each_once(size, scale) -> None:
    width, height = size
    plan = WindowPlan(width, height, scale, window=64, stride=32)
    boxes = np.concatenate([plan.boxes(block) for block in plan.blocks()])
    assert len(boxes) == plan.window_count == len(np.unique(boxes.round(3), axis=0))
    assert np.allclose(boxes[:, 2:] - boxes[:, :2], 64 / scale)
    assert boxes[:, :2].min() == 0
    assert boxes[:, 2].max() >= width - 1
    assert boxes[:, 3].max() >= height - 1
    steps = np.unique(boxes[:, 0].round(3))
    assert len(steps) == plan.columns
    assert np.allclose(np.diff(steps), 32 / scale, atol=2e-3)


def test_blocks_are_small_enough_for_any_memory() -> None:
    plan = WindowPlan(40000, 40000, 1.0, window=64, stride=32)
    largest = max((block.width_px * block.height_px for block in plan.blocks()), default=0)
    assert largest <= 1100**2


def test_suppression_equals_the_one_of_all_pairs() -> None:
    generator = np.random.default_rng(0)
    corners = generator.uniform(0, 300, (500, 2))
    boxes = np.concatenate([corners, corners + 40], axis=1)
    scores = generator.uniform(0, 1, 500)
    kept = nms(boxes, scores, 0.3)
    found = suppress(Hits(boxes, scores), 0.3)
    assert np.array_equal(found.boxes_xyxy, boxes[kept])
    assert np.array_equal(found.scores, scores[kept])
    assert len(suppress(Hits(np.zeros((0, 4)), np.zeros(0)), 0.3)) == 0
