"""Frames from videos, folders and images; everything that is broken is said, never skipped."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from refdet_core.contrast import Contrast
from refdet_core.errors import SourceError
from refdet_core.image_files import read_image
from refdet_core.imaging import PAD_BGR
from refdet_core.sources import natural_key, open_source


@pytest.fixture
def picture():
    return np.random.default_rng(0).integers(0, 255, (48, 64, 3), np.uint8)


@pytest.fixture
def video(tmp_path):
    return make_video(tmp_path / "video.avi", 50)


def make_video(path, count, size=(64, 48)):
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 20.0, size)
    assert writer.isOpened()
    noise = np.random.default_rng(0).integers(-5, 6, (size[1], size[0], 3))
    for index in range(count):
        writer.write(np.clip(noise + 20 + index * 4, 0, 255).astype(np.uint8))
    writer.release()
    return path


def test_video_frames_are_named_by_index(video):
    source = open_source(video)
    assert (len(source), source.fps, source.size) == (50, 20.0, (64, 48))
    for _ in range(2):  # it can be read again
        frames = list(source)
        assert [frame.name for frame in frames] == list(range(50))
        assert all(abs(frame.bgr.mean() - 20 - 4 * frame.name) <= 2 for frame in frames)
        assert [frame.time_s for frame in frames] == pytest.approx([i / 20 for i in range(50)])
    assert source.problems == []


def test_cut_off_video_says_how_much_is_missing(video, caplog):
    data = video.read_bytes()
    video.write_bytes(data[: len(data) * 6 // 10])
    source = open_source(video)
    count = len(list(source))
    assert 0 < count < len(source) == 50
    assert f"only {count} " in source.problems[0] and "cut off" in source.problems[0]
    assert source.problems[0] in caplog.text


def test_folder_in_natural_order_named_by_file(tmp_path, picture):
    for name in ("img10.png", "img2.png", "img1.PNG", ".hidden.png"):
        cv2.imwrite(str(tmp_path / name), picture)
    (tmp_path / "notes.txt").write_text("not an image")
    source = open_source(tmp_path)
    assert [frame.name for frame in source] == ["img1.PNG", "img2.png", "img10.png"]
    assert (len(source), source.fps, source.size) == (3, None, (64, 48))


def test_one_image_is_not_taken_for_a_numbered_sequence(tmp_path, picture):
    for number in range(3):
        cv2.imwrite(str(tmp_path / f"frame_{number:04d}.png"), picture)
    assert [frame.name for frame in open_source(tmp_path / "frame_0000.png")] == ["frame_0000.png"]


def test_damaged_image_in_a_folder_is_reported_and_left_out(tmp_path, picture, caplog):
    for name in ("1.jpg", "2.jpg", "3.jpg"):
        cv2.imwrite(str(tmp_path / name), picture)
    data = (tmp_path / "2.jpg").read_bytes()
    (tmp_path / "2.jpg").write_bytes(data[: len(data) // 2])
    source = open_source(tmp_path)
    assert [frame.name for frame in source] == ["1.jpg", "3.jpg"]
    assert len(source.problems) == 1 and "2.jpg" in source.problems[0]
    assert "2.jpg" in caplog.text


def test_mixed_grey_colour_alpha_and_16_bit_become_bgr8(tmp_path, picture):
    grey = picture[:, :, 0]
    alpha = np.dstack([picture, np.zeros_like(grey)])
    alpha[:, 32:, 3] = 255
    deep = grey.astype(np.uint16) * 257
    for name, image in (("grey.png", grey), ("alpha.png", alpha), ("deep.tif", deep)):
        cv2.imwrite(str(tmp_path / name), image)
    assert np.array_equal(read_image(tmp_path / "grey.png"), cv2.merge([grey] * 3))
    full = read_image(tmp_path / "deep.tif", Contrast("full_range").still)
    assert np.array_equal(full, cv2.merge([grey] * 3))
    blended = read_image(tmp_path / "alpha.png")
    assert (blended[:, :32] == PAD_BGR).all()
    assert np.array_equal(blended[:, 32:], picture[:, 32:])


def test_exif_orientation_is_applied(tmp_path, picture):
    pillow = pytest.importorskip("PIL.Image")
    image = pillow.fromarray(picture[:, :, ::-1])
    exif = image.getexif()
    exif[0x0112] = 6  # turned by a quarter
    image.save(tmp_path / "phone.jpg", exif=exif)
    assert read_image(tmp_path / "phone.jpg").shape == (64, 48, 3)


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".bmp", ".tif", ".webp"])
@pytest.mark.parametrize("share", [0.02, 0.5])
def test_cut_off_image_is_refused(tmp_path, picture, suffix, share):
    path = tmp_path / ("cut" + suffix)
    cv2.imwrite(str(path), picture)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(SourceError, match="cut"):
        read_image(path)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("missing.mp4", None, "does not exist"),
        ("empty.mp4", b"", "is empty"),
        ("text.mp4", b"hello " * 100, "cannot be opened as a video"),
        ("text.jpg", b"hello " * 100, "complete JPEG"),
        ("noise.avi", bytes(range(256)) * 40, "video"),
    ],
)
def test_what_is_not_a_source_gives_one_sentence(tmp_path, name, content, message):
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(SourceError, match=message) as caught:
        open_source(path)
    assert name in str(caught.value) and "\n" not in str(caught.value)


def test_folder_without_readable_images(tmp_path):
    with pytest.raises(SourceError, match="has no images"):
        open_source(tmp_path)
    (tmp_path / "a.png").write_bytes(b"no")
    (tmp_path / "b.png").write_bytes(b"no")
    with pytest.raises(SourceError, match=r"None of the 2 images.*a\.png"):
        open_source(tmp_path)


def test_natural_order():
    names = ["b1", "a10", "a2", "a02b", "A1"]
    assert sorted(names, key=natural_key) == ["A1", "a02b", "a2", "a10", "b1"] or sorted(
        names, key=natural_key
    ) == ["A1", "a2", "a02b", "a10", "b1"]
