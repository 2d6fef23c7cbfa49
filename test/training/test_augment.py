from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs torch")
pytest.importorskip("torchvision", reason="training needs torchvision")

from refdet_core.boxes import iou_matrix  # noqa: E402
from refdet_training.augment import (  # noqa: E402
    as_box,
    as_image,
    box_of,
    cut_centre,
    from_afar,
    hull_is_tight,
    mirror_together,
    occlude,
    photometric,
    turn_and_tilt,
    turn_margin,
    visible_share,
)

SIZE = 160


def scene(box_xyxy, size=SIZE):
    """A bright square on black, and its box."""
    picture = np.zeros((size, size, 3), np.uint8)
    x1, y1, x2, y2 = (max(0, round(value)) for value in box_xyxy)
    picture[y1:y2, x1:x2] = 255
    image = as_image(picture)
    return image, as_box(box_xyxy, image)


def bright_box(image):
    rows, columns = np.nonzero(image.numpy().mean(axis=0) > 127)
    return np.array([[columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]], np.float32)


def clipped(boxes, size):
    return np.clip(np.array([box_of(boxes)], np.float32), 0, size)


BOXES = [(60, 70, 100, 100), (10, 90, 40, 130), (118, 40, 150, 60)]


@pytest.mark.parametrize("degrees", [0, 4, -12, 30, 90, 180, -135])
@pytest.mark.parametrize("tilt", [False, True])
@pytest.mark.parametrize("box", BOXES)
def test_a_box_still_surrounds_its_square_after_a_turn_and_a_tilt(box, degrees, tilt) -> None:
    torch.manual_seed(round(box[0]))
    image, boxes = turn_and_tilt(scene(box), degrees, tilt)
    assert image.shape == (3, SIZE, SIZE) and image.dtype == torch.uint8
    assert boxes.shape == (1, 4) and boxes.dtype == torch.float32
    assert iou_matrix(bright_box(image), clipped(boxes, SIZE)).item() > 0.7


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("box", BOXES)
def test_mirroring_takes_all_pictures_and_boxes_along(box, seed) -> None:
    torch.manual_seed(seed)
    image, boxes = scene(box)
    mirrored, other, moved = mirror_together((photometric(image), image, boxes))
    assert iou_matrix(bright_box(other), clipped(moved, SIZE)).item() == pytest.approx(1)
    assert iou_matrix(bright_box(mirrored), clipped(moved, SIZE)).item() > 0.7
    # Not always and not never.
    both = {box_of(mirror_together(scene(box))[1])[0] for _ in range(30)}
    assert both == {box[0], SIZE - box[2]}


def test_the_centre_is_cut_with_its_box() -> None:
    image, boxes = cut_centre(scene((60, 70, 100, 100)), 100)
    assert image.shape == (3, 100, 100)
    assert box_of(boxes) == (30, 40, 70, 70)
    assert bright_box(image).tolist() == [[30, 40, 70, 70]]


def test_a_box_that_leaves_the_picture_keeps_its_size() -> None:
    _, boxes = cut_centre(scene((0, 70, 40, 100)), 100)
    assert box_of(boxes) == (-30, 40, 10, 70)
    _, boxes = turn_and_tilt(scene((130, 130, 180, 170)), 90, False)
    x1, y1, x2, y2 = box_of(boxes)
    # 90 degrees counter-clockwise: (x, y) to (y, size - x)
    assert (x1, y1, x2, y2) == pytest.approx((130, -20, 170, 30), abs=1e-3)


def test_empty_and_tiny_boxes_survive() -> None:
    for tilt in (False, True):
        torch.manual_seed(1)
        x1, y1, x2, y2 = box_of(turn_and_tilt(scene((50, 60, 50, 60)), 10, tilt)[1])
        assert x2 - x1 == pytest.approx(0, abs=1e-3) and y2 - y1 == pytest.approx(0, abs=1e-3)
        image, boxes = turn_and_tilt(scene((60, 70, 63, 73)), 10, tilt)
        peak = np.array(np.unravel_index(image.numpy().sum(axis=0).argmax(), (SIZE, SIZE)))
        x1, y1, x2, y2 = box_of(boxes)
        assert np.abs(peak[::-1] + 0.5 - [(x1 + x2) / 2, (y1 + y2) / 2]).max() < 2
        assert 2 < x2 - x1 < 5


@pytest.mark.parametrize("degrees", [7, 45, 120])
def test_with_its_margin_a_turned_picture_has_no_empty_corners(degrees) -> None:
    large = int(np.ceil(100 * turn_margin(degrees))) + 2
    image = as_image(np.full((large, large, 3), 255, np.uint8))
    (inner,) = cut_centre(turn_and_tilt((image,), degrees, False), 100)
    assert inner.min() == 255


@pytest.mark.parametrize(
    ("box", "degrees", "tight"),
    [
        ((60, 60, 90, 90), 0, True),
        ((60, 60, 90, 90), 12, True),  # (cos + sin) ** 2 = 1.41
        ((60, 60, 90, 90), -20, False),  # 1.64
        ((60, 60, 90, 90), 80, True),
        ((60, 60, 90, 90), 180, True),
        ((20, 70, 140, 80), 90, True),
        ((20, 70, 140, 80), 6, False),  # 12 to 1: (12 c + s)(c + 12 s) / 12 = 2.3
        ((60, 60, 60, 60), 30, True),
    ],
)
def test_boxes_are_loose_after_turns_far_from_a_right_angle(box, degrees, tight) -> None:
    image, boxes = scene(box)
    _, moved = turn_and_tilt((image, boxes), degrees, False)
    assert hull_is_tight(box_of(boxes), box_of(moved)) is tight


@pytest.mark.parametrize("shape", [(40, 50), (8, 8), (128, 128)])
def test_photometric_changes_keep_shape_and_type_and_repeat_with_the_seed(shape) -> None:
    picture = np.random.default_rng(0).integers(0, 255, (*shape, 3), dtype=np.uint8)
    image = as_image(picture)
    changed = []
    for seed in range(12):
        torch.manual_seed(seed)
        first = photometric(image)
        torch.manual_seed(seed)
        assert torch.equal(first, photometric(image))
        assert first.shape == (3, *shape) and first.dtype == torch.uint8
        changed.append(not torch.equal(first, image))
    assert sum(changed) > 6
    assert torch.equal(image, as_image(picture)), "the input is left alone"


def test_colours_stay_where_they_must() -> None:
    image = as_image(np.tile(np.array([30, 30, 200], np.uint8), (32, 32, 1)))  # red
    torch.manual_seed(0)
    reds = {
        keep: [float(v[0] - (v[1] + v[2]) / 2) for v in _means(image, keep)]
        for keep in (False, True)
    }
    assert min(reds[True]) > 60
    assert min(reds[False]) < 5, "grey-scale at times"


def _means(image, keep):
    return [photometric(image, keep).float().mean(dim=(1, 2)) for _ in range(60)]


@pytest.mark.parametrize("seed", range(8))
def test_occlusion_hides_a_part_of_the_object_and_nothing_else(seed) -> None:
    torch.manual_seed(seed)
    image, boxes = scene((60, 70, 100, 100))
    hidden = occlude(image, box_of(boxes))
    changed = (hidden != image).any(dim=0)
    assert not changed[:70].any() and not changed[100:].any()
    assert not changed[:, :60].any() and not changed[:, 100:].any()
    assert changed.sum().item() <= 0.45 * 40 * 30
    assert torch.equal(scene((60, 70, 100, 100))[0], image), "the input is left alone"


def test_occlusion_hides_something_and_takes_boxes_outside() -> None:
    torch.manual_seed(0)
    image, boxes = scene((60, 70, 100, 100))
    assert any(not torch.equal(occlude(image, box_of(boxes)), image) for _ in range(10))
    for box in ((-50.0, -50.0, -10.0, -10.0), (10.0, 10.0, 10.0, 10.0)):
        assert torch.equal(occlude(image, box), image)
    assert occlude(image, (-50.0, -50.0, 500.0, 500.0)).shape == image.shape


def test_from_afar_keeps_the_size_and_loses_detail() -> None:
    rows = np.zeros((64, 64, 3), np.uint8)
    rows[::2] = 255
    far = from_afar(as_image(rows), 0.35)
    assert far.shape == (3, 64, 64) and far.dtype == torch.uint8
    assert far.float().std() < 30 < as_image(rows).float().std()
    assert from_afar(as_image(rows[:4, :4]), 0.35).shape == (3, 4, 4)


@pytest.mark.parametrize(
    ("box", "share"),
    [
        ((10, 10, 20, 20), 1),
        ((-5, 10, 5, 20), 0.5),
        ((95, 95, 105, 105), 0.25),
        ((200, 0, 210, 10), 0),
        ((10, 10, 10, 20), 0),
        ((20, 20, 10, 10), 0),
    ],
)
def test_visible_share(box, share) -> None:
    assert visible_share(box, 100, 100) == pytest.approx(share)
