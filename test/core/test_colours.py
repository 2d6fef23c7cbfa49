"""Colours tell look-alikes apart."""

from __future__ import annotations

import time

import numpy as np
import pytest

from refdet_core.colours import object_colours, overlap

RED, BLUE, GREEN, GREY = (40, 40, 200), (200, 60, 40), (60, 160, 60), (128, 128, 128)
BOX = (100.0, 80.0, 140.0, 110.0)


def scene(colour, ground=GREY, box=BOX, size=(240, 320), noise=6, seed=0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    image = np.empty((*size, 3), np.float64)
    image[:] = ground
    x1, y1, x2, y2 = (int(side) for side in box)
    image[max(0, y1) : y2, max(0, x1) : x2] = colour
    return np.clip(image + rng.normal(0, noise, image.shape), 0, 255).astype(np.uint8)


def test_a_histogram_of_sum_one_that_overlaps_itself():
    colours = object_colours(scene(RED), BOX)
    assert colours.shape == (1152,) and colours.dtype == np.float32
    assert colours.sum() == pytest.approx(1, abs=1e-5)
    assert overlap(colours, colours) == pytest.approx(1, abs=1e-5)


def test_the_same_object_elsewhere_overlaps_and_another_colour_does_not():
    red = object_colours(scene(RED), BOX)
    moved = (30.0, 150.0, 100.0, 200.0)
    assert overlap(red, object_colours(scene(RED, box=moved, seed=1), moved)) > 0.9
    assert overlap(red, object_colours(scene(BLUE, seed=2), BOX)) < 0.1


def test_a_little_more_light_changes_little():
    red = object_colours(scene(RED), BOX)
    brighter = tuple(min(255, round(level * 1.1)) for level in RED)
    assert overlap(red, object_colours(scene(brighter, seed=1), BOX)) > 0.5


def test_colours_of_the_surroundings_count_less():
    """Half of the box shows the ground, as around a person seen from above."""
    wide = (BOX[0] - 20, BOX[1], BOX[2] + 20, BOX[3])
    on_grass = object_colours(scene(RED, GREEN), wide)
    another_on_grass = object_colours(scene(BLUE, GREEN, seed=1), wide)
    the_same_on_grey = object_colours(scene(RED, GREY, seed=2), wide)
    assert overlap(on_grass, the_same_on_grey) > overlap(on_grass, another_on_grass)


@pytest.mark.parametrize(
    "box",
    [
        (-30.0, -20.0, 20.0, 15.0),
        (310.0, 230.0, 400.0, 300.0),
        (0.0, 0.0, 1.0, 1.0),
        (319.2, 239.5, 320.0, 240.0),
        (-500.0, -500.0, 900.0, 900.0),
    ],
)
def test_boxes_at_and_across_the_edge(box):
    colours = object_colours(scene(RED), box)
    assert np.isfinite(colours).all() and colours.sum() == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize("size", [(2, 2), (2, 300), (5, 3)])
def test_tiny_pictures(size):
    image = np.zeros((*size, 3), np.uint8)
    assert object_colours(image, (0.0, 0.0, float(size[1]), float(size[0]))).sum() > 0.99


def test_grey_pictures_are_compared_by_brightness():
    dark, bright = (object_colours(scene((v,) * 3, (90,) * 3), BOX) for v in (30, 220))
    assert overlap(dark, dark) > 0.99 and overlap(dark, bright) < 0.2


def test_a_large_object_takes_no_longer_than_a_small_one():
    image = np.zeros((4000, 6000, 3), np.uint8)
    started = time.process_time()
    object_colours(image, (0.0, 0.0, 6000.0, 4000.0))
    assert time.process_time() - started < 0.5, "it looks at samples, not at 24 million pixels"
