from __future__ import annotations

import numpy as np
import pytest

from refdet_core.drawing import STATE_COLOURS_BGR
from refdet_core.live.layout import layout_for
from refdet_core.live.picture import Drawing, View, paint
from refdet_core.types import Detection

STATES = ["searching", "tracking", "lost"]
# 320x240 is shown 17/6 as large: 680 px high, and at most three times as large.
FRAME_SIZE = (320, 240)


def part(canvas, place):
    return canvas[place.y : place.y + place.height, place.x : place.x + place.width]


def near(image, colour):
    """Mask of the pixels of about this colour."""
    return np.abs(image.astype(int) - np.array(colour)).max(axis=2) < 30


def outline(mask):
    """First and last column and row of a mask, ``x1, y1, x2, y2`` with exclusive ends."""
    rows, columns = np.nonzero(mask)
    return columns.min(), rows.min(), columns.max() + 1, rows.max() + 1


@pytest.mark.parametrize(
    "frame_size", [(1280, 720), (320, 240), (3840, 2160), (720, 1280), (16, 16), (4000, 20)]
)
def test_all_parts_lie_on_the_canvas_and_none_on_another(frame_size):
    layout = layout_for(frame_size)
    taken = np.zeros((layout.size[1], layout.size[0]), int)
    for place in (
        layout.frame,
        layout.thumbnails,
        layout.search,
        layout.heatmap,
        layout.status,
        layout.hint,
    ):
        assert place.width > 0 and place.height > 0
        assert part(taken, place).shape == (place.height, place.width)
        part(taken, place)[:] += 1
    assert taken.max() == 1
    assert layout.size[0] <= 1360 and layout.size[1] <= 768


def test_the_canvas_maps_back_to_the_frame():
    layout = layout_for(FRAME_SIZE)
    left, top = layout.frame.x, layout.frame.y
    assert layout.scale == pytest.approx(680 / 240)
    assert layout.to_frame(left, top) == (0, 0)
    assert layout.to_frame(left + 340, top + 170) == pytest.approx((120, 60))
    assert layout.shows(left, top) and not layout.shows(left - 1, top)
    right = left + layout.frame.width
    assert layout.shows(right - 1, top) and not layout.shows(right, top)


@pytest.mark.parametrize("state", STATES)
def test_the_state_gives_the_colour_of_bar_box_and_window(state):
    layout = layout_for(FRAME_SIZE)
    view = View(
        np.zeros((240, 320, 3), np.uint8),
        state,
        (Detection("target", 0.9, (120.0, 60.0, 180.0, 120.0), 7),),
        (60.0, 30.0, 240.0, 210.0),
    )
    canvas = paint(view, layout)
    colour = STATE_COLOURS_BGR[state]
    assert near(part(canvas, layout.status)[:, :8], colour).all()
    drawn = near(part(canvas, layout.frame), colour)
    assert outline(drawn) == (170, 85, 680, 595)
    # The box is drawn around its pixels, 340 to 510 and 170 to 340.
    inside = drawn[170:340, 340:510]
    assert not inside.any() and drawn[250, 330:340].any() and drawn[250, 510:520].any()
    assert len({STATE_COLOURS_BGR[name] for name in STATES}) == 3


def test_search_window_and_heatmap_show_the_same_piece_enlarged():
    frame = np.zeros((240, 320, 3), np.uint8)
    frame[100:110, 200:210] = 255
    heatmap = np.zeros((60, 80), np.float32)
    heatmap[26, 51] = 1  # of cells of 4 px: the middle of the white square
    layout = layout_for(FRAME_SIZE)
    side = layout.search.width
    view = View(frame, "tracking", window_xyxy=(180.0, 80.0, 240.0, 140.0), heatmap=heatmap)
    canvas = paint(view, layout)
    # 20 to 30 px of the window's 60.
    white = near(part(canvas, layout.search), (255, 255, 255))
    assert outline(white) == pytest.approx([side / 3, side / 3, side / 2, side / 2], abs=3)
    hot = part(canvas, layout.heatmap).astype(int).sum(axis=2)
    y, x = np.unravel_index(hot.argmax(), hot.shape)
    assert (x, y) == pytest.approx((26 / 60 * side, 26 / 60 * side), abs=0.05 * side)


def test_a_window_over_the_border_is_padded_and_none_is_the_whole_frame():
    frame = np.full((240, 320, 3), 255, np.uint8)
    layout = layout_for(FRAME_SIZE)
    side = layout.search.width
    over = part(
        paint(View(frame, "lost", window_xyxy=(-50.0, -50.0, 50.0, 50.0)), layout), layout.search
    )
    assert outline(over[:, :, 0] == 255) == pytest.approx([side / 2, side / 2, side, side], abs=1)
    whole = part(paint(View(frame, "searching"), layout), layout.search)
    # 320x240 in a square: an eighth is padding above and below.
    assert outline(whole[:, :, 0] == 255) == pytest.approx([0, side / 8, side, side * 7 / 8], abs=2)


def test_the_template_has_a_thumbnail_for_each_photo():
    layout = layout_for(FRAME_SIZE)
    photos = tuple(np.full((96, 60, 3), 80 + 40 * index, np.uint8) for index in range(5))
    strip = part(
        paint(View(np.zeros((240, 320, 3), np.uint8), thumbnails_bgr=photos), layout),
        layout.thumbnails,
    )
    levels = np.unique(strip[5, :, 0])
    assert set(levels) == {24, 80, 120, 160, 200, 240}


def test_while_a_box_is_drawn_the_magnifier_shows_what_is_under_the_cursor():
    frame = np.zeros((240, 320, 3), np.uint8)
    frame[100:104, 200:204] = (0, 0, 255)
    layout = layout_for(FRAME_SIZE)
    drawing = Drawing((210.0, 110.0), (190.0, 90.0, 210.0, 110.0))
    canvas = paint(View(frame, drawing=drawing), layout)
    side = layout.search.width
    red = near(part(canvas, layout.search), (0, 0, 255))
    # 40 px of the frame around the cursor: the dot begins 10 px from their corner.
    assert outline(red) == pytest.approx([side / 4, side / 4, 0.35 * side, 0.35 * side], abs=4)
    rubber = near(part(canvas, layout.frame), (255, 255, 0))
    scale = layout.scale
    assert outline(rubber) == pytest.approx(
        [190 * scale, 90 * scale, 210 * scale, 110 * scale], abs=5
    )
    empty = part(paint(View(frame, drawing=Drawing()), layout), layout.search)
    assert (empty == empty[0, 0]).all()


def test_texts_and_help_are_written_however_long_or_foreign():
    layout = layout_for((16, 16))
    frame = np.full((16, 16, 3), 90, np.uint8)
    plain = paint(View(frame), layout)
    view = View(frame, status="ü" * 400, hint="x" * 400, help=(("q", "quit"), ("h", "help")))
    canvas = paint(view, layout)
    assert canvas.shape == plain.shape
    for place in (layout.status, layout.hint, layout.frame):
        assert (part(canvas, place) != part(plain, place)).any()
    # Made smaller, not cut off.
    assert (part(canvas, layout.hint)[:, -2:] == part(plain, layout.hint)[:, -2:]).all()
