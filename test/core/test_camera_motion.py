from __future__ import annotations

import math

import cv2
import numpy as np
import pytest

from refdet_core.errors import RefdetError
from refdet_core.search.camera_motion import CameraMotion

SIZE = (1280, 720)
IDENTITY = np.eye(2, 3)


def _texture(seed: int, size: tuple[int, int]) -> np.ndarray:
    """Colourful ground with detail at every scale, ``(height, width, 3)``."""
    random = np.random.default_rng(seed)
    width, height = size
    ground = np.zeros((height, width, 3), np.float32)
    for cells in (12, 50, 200):
        coarse = random.normal(0, 30, (max(2, height * cells // width), cells, 3))
        ground += cv2.resize(coarse.astype(np.float32), size, interpolation=cv2.INTER_CUBIC)
    return np.clip(ground + 120, 0, 255).astype(np.uint8)


def _views(
    matrix: np.ndarray, size: tuple[int, int] = SIZE, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Two frames of the same ground: what is at p in the first is at ``matrix @ p`` in the
    second, in box coordinates, in which the first pixel's middle is at a half."""
    border = max(size) // 4
    ground = _texture(seed, (size[0] + 2 * border, size[1] + 2 * border))
    # warpAffine counts from the middle of the first pixel of the ground
    to_first = np.array([[1, 0, 0.5 - border], [0, 1, 0.5 - border], [0, 0, 1]])
    to_second = np.vstack([matrix, [0, 0, 1]]) @ to_first
    back_to_pixels = np.array([[1, 0, -0.5], [0, 1, -0.5]])
    first, second = (
        cv2.warpAffine(ground, back_to_pixels @ to_frame, size)
        for to_frame in (to_first, to_second)
    )
    return first, second


def _about_centre(turn_deg: float, zoom: float, shift: tuple[float, float]) -> np.ndarray:
    angle = math.radians(turn_deg)
    linear = zoom * np.array(
        [[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]]
    )
    centre = np.divide(SIZE, 2)
    return np.column_stack([linear, centre - linear @ centre + shift])


def _corner_error(matrix: np.ndarray, expected: np.ndarray, size: tuple[int, int] = SIZE) -> float:
    """Largest distance of the frame's corners between the two maps, in pixels."""
    width, height = size
    corners = np.array([[0, width, 0, width], [0, 0, height, height], [1, 1, 1, 1]])
    return float(np.linalg.norm((matrix - expected) @ corners, axis=0).max())


@pytest.mark.parametrize(
    "turn_deg, zoom, shift, within_px",
    [
        (0, 1, (0, 0), 0.1),
        (0, 1, (3.3, -1.7), 0.3),
        (0, 1, (-60, 35), 0.5),
        (0, 1, (120, 0), 0.6),
        (2, 1, (0, 0), 0.8),
        (-6, 1, (10, 10), 0.8),
        (0, 1.04, (0, 0), 0.6),
        (0, 0.93, (5, -20), 0.6),
        (3, 1.05, (-40, 25), 0.6),
    ],
)
def test_recovers_a_known_motion(
    turn_deg: float, zoom: float, shift: tuple[float, float], within_px: float
) -> None:
    expected = _about_centre(turn_deg, zoom, shift)
    first, second = _views(expected)
    camera = CameraMotion()
    assert camera.update(first) is None
    matrix = camera.update(second)
    assert matrix is not None and matrix.shape == (2, 3) and matrix.dtype == np.float64
    assert _corner_error(matrix, expected) < within_px


@pytest.mark.parametrize("size", [(160, 120), (320, 180), (500, 400), (720, 1280), (1919, 1079)])
def test_every_frame_size(size: tuple[int, int]) -> None:
    shift = size[0] * 0.03, -size[1] * 0.02
    expected = np.array([[1, 0, shift[0]], [0, 1, shift[1]]])
    camera = CameraMotion()
    first, second = _views(expected, size)
    camera.update(first)
    matrix = camera.update(second)
    assert matrix is not None
    assert _corner_error(matrix, expected, size) < max(0.5, max(size) / 800)


def test_follows_from_frame_to_frame() -> None:
    ground = _texture(3, (1600, 900))
    camera = CameraMotion()
    camera.update(ground[:720, :1280])
    for step in range(1, 9):
        # the camera moves right and down, so the scene moves left and up
        matrix = camera.update(ground[5 * step : 5 * step + 720, 30 * step : 30 * step + 1280])
        assert matrix is not None
        assert _corner_error(matrix, np.array([[1, 0, -30], [0, 1, -5]])) < 1


def test_a_passing_object_is_not_the_camera() -> None:
    ground, thing = _texture(4, SIZE), _texture(5, (300, 300))
    camera = CameraMotion()
    for x in (400, 440, 480):
        frame = ground.copy()
        frame[200:500, x : x + 300] = thing
        matrix = camera.update(frame)
    assert matrix is not None
    assert _corner_error(matrix, IDENTITY) < 0.5


def test_an_ignored_object_may_fill_most_of_the_frame() -> None:
    ground, thing = _texture(6, SIZE), _texture(7, (900, 650))
    frames = []
    for x in (100, 140):
        frame = ground.copy()
        frame[40:690, x : x + 900] = thing
        frames.append(frame)
    outvoted, camera = CameraMotion(), CameraMotion()
    for frame in frames:
        misled = outvoted.update(frame)
        # where it was in the previous frame, as it is known before this one is searched
        matrix = camera.update(frame, [(100, 40, 1000, 690)])
    assert misled is not None and matrix is not None
    assert _corner_error(misled, np.array([[1, 0, 40], [0, 1, 0]])) < 1
    assert _corner_error(matrix, IDENTITY) < 0.5


def test_ignoring_everything_leaves_nothing_to_follow() -> None:
    first, second = _views(IDENTITY)
    camera = CameraMotion()
    camera.update(first)
    assert camera.update(second, [(0, 0, 640, 720), (640, 0, 1280, 720)]) is None


def test_boxes_off_the_frame_or_inverted_hide_nothing() -> None:
    expected = _about_centre(0, 1, (20, 10))
    first, second = _views(expected)
    camera = CameraMotion()
    camera.update(first)
    boxes = [(-500.0, -500.0, -10.0, -10.0), (2000.0, 0.0, 1e30, 900.0), (800.0, 600.0, 100.0, 9.0)]
    matrix = camera.update(second, boxes)
    assert matrix is not None
    assert _corner_error(matrix, expected) < 1


@pytest.mark.parametrize("value", [0, 114, 255])
def test_a_blank_frame_says_nothing(value: int) -> None:
    camera = CameraMotion()
    blank = np.full((720, 1280, 3), value, np.uint8)
    textured = _texture(0, SIZE)
    answers = [camera.update(frame) for frame in (blank, blank, textured, blank, textured)]
    assert answers == [None] * 5
    assert camera.update(textured) is not None


def test_one_object_in_an_empty_sky_says_nothing() -> None:
    camera = CameraMotion()
    thing = _texture(8, (120, 120))
    for x in (600, 620):
        frame = np.full((720, 1280, 3), 200, np.uint8)
        frame[300:420, x : x + 120] = thing
        assert camera.update(frame) is None


def test_a_scene_cut_says_nothing_and_the_next_frame_counts_from_it() -> None:
    camera = CameraMotion()
    for seed in range(5):
        assert camera.update(_texture(seed, SIZE)) is None
    assert camera.update(_texture(4, SIZE)) is not None


def test_noise_alone_is_not_taken_for_motion() -> None:
    random = np.random.default_rng(9)
    camera = CameraMotion()
    for _ in range(6):
        matrix = camera.update(random.integers(100, 140, (720, 1280, 3), np.uint8))
        assert matrix is None or _corner_error(matrix, IDENTITY) < 10


def test_a_changed_frame_size_starts_anew() -> None:
    camera = CameraMotion()
    # the second is of the first one's size when shrunk
    sizes = [(1280, 720), (640, 360), (720, 1280), (1280, 720)]
    for size in sizes:
        assert camera.update(_texture(0, size)) is None
    assert camera.update(_texture(0, sizes[-1])) is not None


@pytest.mark.parametrize("size", [(1, 1), (2, 1), (1, 500), (4000, 1), (3000, 7), (5, 5), (16, 16)])
def test_tiny_frames(size: tuple[int, int]) -> None:
    random = np.random.default_rng(10)
    camera = CameraMotion()
    for _ in range(3):
        frame = random.integers(0, 256, (size[1], size[0], 3), np.uint8)
        assert camera.update(frame, [(0, 0, 1, 1)]) is None


def test_the_callers_frame_is_neither_kept_nor_changed() -> None:
    expected = _about_centre(0, 1, (24, -12))
    for size in (SIZE, (300, 200)):
        first, second = _views(expected, size)
        untouched = second.copy()
        camera = CameraMotion()
        buffer = first.copy()
        camera.update(buffer)
        buffer[:] = 0  # a camera driver reuses its buffer
        matrix = camera.update(second)
        assert matrix is not None
        assert _corner_error(matrix, expected, size) < 1
        assert (second == untouched).all()


def test_a_view_with_strides_is_as_good() -> None:
    expected = _about_centre(0, 1, (24, -12))
    first, second = _views(expected)
    camera = CameraMotion()
    camera.update(first)
    mirrored = camera.update(second)
    camera.update(first[:, ::-1])
    matrix = camera.update(second[:, ::-1])
    assert mirrored is not None and matrix is not None
    assert _corner_error(matrix, np.array([[1, 0, -24], [0, 1, -12]])) < 1


@pytest.mark.parametrize(
    "frame",
    [
        None,
        "frame.jpg",
        [[1, 2, 3]],
        np.zeros((720, 1280), np.uint8),
        np.zeros((720, 1280, 4), np.uint8),
        np.zeros((0, 1280, 3), np.uint8),
        np.zeros((720, 1280, 3), np.float32),
        np.zeros((1, 72, 128, 3), np.uint8),
    ],
)
def test_what_is_no_frame_is_refused_and_changes_nothing(frame: object) -> None:
    camera = CameraMotion()
    camera.update(_texture(0, SIZE))
    with pytest.raises(RefdetError, match=r"Expected a frame .*\(H, W, 3\).*got"):
        camera.update(frame)  # type: ignore[arg-type]
    assert camera.update(_texture(0, SIZE)) is not None


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_box_that_is_not_finite_is_refused(value: float) -> None:
    camera = CameraMotion()
    with pytest.raises(RefdetError, match="finite"):
        camera.update(_texture(0, SIZE), [(0, 0, 10, 10), (0, 0, value, 10)])
