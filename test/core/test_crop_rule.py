"""Crop rules: how much of an image around a box, and what fills the rest."""

from __future__ import annotations

import numpy as np
import pytest

from refdet_core.crop_rule import CropRule
from refdet_core.imaging import Crop, extract, square_around


@pytest.mark.parametrize("box_xyxy", [(100, 60, 140, 110), (-3, 5.5, 9, 8), (0, 0, 1, 700)])
def test_the_square_of_siamfc(box_xyxy):
    assert CropRule(128, context=0.5).around(box_xyxy) == square_around(box_xyxy, 0.5, 128)


def test_a_search_window_is_twice_the_template_s():
    template = CropRule(127).around((100, 100, 140, 140))
    window = CropRule(255, factor=2.0).around((100, 100, 140, 140))
    assert (template.width, window.width) == (80, 160)
    assert template.x + template.width / 2 == window.x + window.width / 2 == 120


def test_a_stretched_crop_has_the_box_s_shape():
    crop = CropRule(256, context=0.0, factor=5.0, stretched=True).around((100, 100, 140, 120))
    assert crop == Crop(20, 60, 200, 100, 256, 256)
    back = crop.to_frame(crop.to_network(np.array([[100.0, 100, 140, 120]])))
    np.testing.assert_allclose(back, [[100, 100, 140, 120]])


def test_small_objects_are_not_enlarged_without_end():
    assert CropRule(192, factor=2.0, max_zoom=3.0).around((10, 10, 14, 14)).width == 64


@pytest.mark.parametrize(
    ("border", "colour_bgr"),
    [("grey", [114] * 3), ("black", [0] * 3), ("mean", [10, 20, 30]), ((1, 2, 3), [3, 2, 1])],
)
def test_the_border_fills_what_lies_outside(border, colour_bgr):
    image = np.full((50, 80, 3), (10, 20, 30), np.uint8)
    half_outside = extract(image, Crop(-20, 0, 40, 40, 40, 40, border))
    assert (half_outside[:, :20] == colour_bgr).all() and (
        half_outside[:, 20:] == image[0, 0]
    ).all()
    outside = extract(image, Crop(500, 0, 40, 40, 20, 20, border))
    assert (outside == colour_bgr).all()
