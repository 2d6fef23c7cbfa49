"""Drawing stays inside the frame and leaves the object visible, at any frame size."""

from __future__ import annotations

import numpy as np
import pytest

from refdet_core.drawing import (
    contact_sheet,
    draw_box,
    draw_detections,
    draw_magnified,
    draw_text,
    fit,
    template_colour,
)
from refdet_core.types import Detection

SIZES = [(1, 1), (8, 8), (64, 48), (1280, 720), (7680, 100)]


def grey(size):
    return np.full((size[1], size[0], 3), 114, np.uint8)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(
    "box", [(2, 2, 5, 5), (-50, -50, 20, 20), (1e6, 1e6, 2e6, 2e6), (0, 0, 0, 0)]
)
def test_any_box_on_any_frame(size, box):
    frame = grey(size)
    detection = Detection("a rather long template name, ünïcode", 0.5, box, track_id=3)
    assert draw_detections(frame, [detection]) is frame
    assert frame.shape == (size[1], size[0], 3)


def test_the_object_itself_is_not_painted_over():
    frame = grey((640, 480))
    draw_box(frame, (300, 200, 320, 216), (0, 255, 0), "car 0.9")
    assert (frame[201:215, 301:319] == 114).all()
    assert (frame[190:230, 290:340] != 114).any()


def test_label_of_a_box_at_the_border_stays_inside():
    frame = grey((200, 100))
    draw_text(frame, "text", (500, 500))
    assert (frame[-10:, -20:] != 114).any()


def test_colour_of_a_template_does_not_change():
    assert template_colour("red car") == template_colour("red car")


def test_magnifies_in_the_corner_farthest_away():
    frame = grey((640, 480))
    frame[20:28, 20:28] = (0, 0, 255)
    draw_magnified(frame, (20, 20, 28, 28))
    assert (frame[-160:, -160:, 2] == 255).sum() > 500
    large = grey((640, 480))
    assert (draw_magnified(large, (100, 100, 400, 400)) == 114).all()


def test_contact_sheet_takes_images_of_all_sizes():
    images = [grey(size) for size in SIZES]
    sheet = contact_sheet(images, ["caption"] * len(images), columns=2, cell_size=(120, 80), gap=4)
    assert sheet.shape == (3 * (80 + 28 + 4) + 4, 2 * (120 + 4) + 4, 3)
    assert contact_sheet(images[:1], cell_size=(120, 80), gap=4).shape == (88, 128, 3)
    with pytest.raises(ValueError, match="at least one"):
        contact_sheet([])
    with pytest.raises(ValueError, match="captions"):
        contact_sheet(images, ["one"])


def test_fit_keeps_the_aspect():
    assert fit(grey((200, 100)), (50, 50)).shape == (25, 50, 3)
    assert fit(grey((10, 20)), (50, 50)).shape == (50, 25, 3)
