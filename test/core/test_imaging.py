from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from refdet_core.imaging import PAD_BGR, Crop, extract, letterbox, square_around, to_blob

sizes = st.integers(min_value=1, max_value=4000)


@given(frame=st.tuples(sizes, sizes), out=st.tuples(st.integers(16, 1280), st.integers(16, 1280)))
def test_letterbox_shows_the_whole_frame_and_its_inverse_is_exact(
    frame: tuple[int, int], out: tuple[int, int]
) -> None:
    crop = letterbox(frame, out)
    boxes = np.array([[0, 0, *frame], [frame[0] / 3, 0, frame[0], frame[1] / 7]], dtype=np.float32)
    inside = crop.to_network(boxes)
    assert inside.min() >= -1e-3
    assert (inside[:, 2] <= out[0] + 1e-3).all()
    assert (inside[:, 3] <= out[1] + 1e-3).all()
    assert np.allclose(crop.to_frame(inside), boxes, atol=0.01)


@given(
    x=st.integers(-500, 2000),
    y=st.integers(-500, 2000),
    width=st.integers(1, 2000),
    height=st.integers(1, 2000),
    out=st.tuples(st.integers(1, 1000), st.integers(1, 1000)),
)
def test_any_crop_maps_boxes_there_and_back(
    x: int, y: int, width: int, height: int, out: tuple[int, int]
) -> None:
    crop = Crop(x, y, width, height, *out)
    boxes = np.array([[x, y, x + width, y + height], [0, 0, 1, 1]], dtype=np.float32)
    there = crop.to_network(boxes)
    assert np.allclose(there[0], [0, 0, *out], atol=1e-3)
    assert np.allclose(crop.to_frame(there), boxes, atol=0.5)


@settings(max_examples=60, deadline=None)
@given(
    x=st.integers(-300, 300),
    y=st.integers(-300, 300),
    width=st.integers(1, 600),
    height=st.integers(1, 600),
    out=st.tuples(st.integers(1, 200), st.integers(1, 200)),
)
def test_extract_always_returns_the_asked_size(
    x: int, y: int, width: int, height: int, out: tuple[int, int]
) -> None:
    picture = extract(np.zeros((120, 160, 3), np.uint8), Crop(x, y, width, height, *out))
    assert picture.shape == (out[1], out[0], 3)
    assert picture.dtype == np.uint8


@pytest.mark.parametrize("scale", [0.5, 1.0, 2.0])
def test_an_object_lies_where_its_mapped_box_says(scale: float) -> None:
    frame = np.zeros((240, 320, 3), np.uint8)
    frame[100:140, 200:260] = 255
    crop = Crop(150, 70, 160, 120, int(160 * scale), int(120 * scale))
    picture = extract(frame, crop)
    x1, y1, x2, y2 = crop.to_network(np.array([[200, 100, 260, 140]], np.float32))[0]
    rows, columns = np.nonzero(picture[:, :, 0] > 127)
    assert columns.min() == pytest.approx(x1, abs=1)
    assert rows.min() == pytest.approx(y1, abs=1)
    assert columns.max() + 1 == pytest.approx(x2, abs=1)
    assert rows.max() + 1 == pytest.approx(y2, abs=1)


def test_what_is_outside_the_frame_is_padded() -> None:
    picture = extract(np.zeros((50, 50, 3), np.uint8), Crop(-10, 0, 60, 50, 60, 50))
    assert (picture[:, :10] == PAD_BGR).all()
    assert (picture[:, 10:] == 0).all()


def test_a_crop_wholly_outside_is_only_padding() -> None:
    picture = extract(np.zeros((50, 50, 3), np.uint8), Crop(100, 100, 20, 20, 8, 8))
    assert (picture == PAD_BGR).all()


def test_a_single_pixel_fills_what_it_is_enlarged_to() -> None:
    frame = np.full((9, 9, 3), (10, 200, 30), np.uint8)
    piece = extract(frame, Crop(-4, -4, 5, 5, 50, 50))  # its last pixel is the frame's first
    assert (piece[40:, 40:] == (10, 200, 30)).all()
    assert (piece[:40] == PAD_BGR).all() and (piece[:, :40] == PAD_BGR).all()


def test_square_around_is_siamfc_context() -> None:
    crop = square_around((100, 100, 140, 140), 0.5, 128)
    assert (crop.width, crop.height) == (80, 80)
    assert crop.to_network(np.array([[100, 100, 140, 140]], np.float32))[0].tolist() == [
        32,
        32,
        96,
        96,
    ]


def test_to_blob_is_rgb_float_planes() -> None:
    picture = np.zeros((4, 6, 3), np.uint8)
    picture[..., 0] = 200  # blue
    blob = to_blob([picture, picture])
    assert blob.shape == (2, 3, 4, 6)
    assert blob.dtype == np.float32
    assert (blob[:, 2] == 200).all()
    assert (blob[:, :2] == 0).all()
