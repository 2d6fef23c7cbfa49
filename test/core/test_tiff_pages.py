"""TIFF files of several pages: a recording as a source, and one of its pages as a photo."""

from __future__ import annotations

import json
import struct

import cv2
import numpy as np
import pytest

from refdet_core import image_files
from refdet_core.cli import main as refdet
from refdet_core.contrast import Contrast
from refdet_core.errors import SourceError
from refdet_core.image_files import decode_image, read_image
from refdet_core.sources import open_source
from refdet_core.tiff_pages import read_pages

FIRST_COUNT, STEP = 7600, 40
WIDE = Contrast("7600,8600")


def page(number, size=(64, 48), dtype=np.uint16):
    """One grey value a page, as counts of a thermal camera or in 8 bits."""
    value = FIRST_COUNT + STEP * number if dtype == np.uint16 else 10 + number
    return np.full(size[::-1], value, dtype)


def stack(path, count, **kind):
    assert cv2.imwritemulti(str(path), [page(number, **kind) for number in range(count)])
    return path


def grey_of(number):
    return round(255 * STEP * number / 1000)


@pytest.mark.parametrize("count", [2, 5, 20])
def test_the_pages_of_a_file_are_frames_named_by_index(tmp_path, count):
    source = open_source(stack(tmp_path / "flight.tif", count), WIDE)
    assert (len(source), source.fps, source.size) == (count, None, (64, 48))
    for _ in range(2):  # it can be read again
        frames = list(source)
        assert [frame.name for frame in frames] == list(range(count))
        assert all(frame.time_s is None for frame in frames)
        assert all(abs(frame.bgr.mean() - grey_of(frame.name)) <= 1 for frame in frames)
    assert source.problems == []


def test_pages_of_8_bits_are_as_they_are(tmp_path):
    source = open_source(stack(tmp_path / "flight.tiff", 3, dtype=np.uint8))
    assert [frame.bgr[0, 0].tolist() for frame in source] == [[10] * 3, [11] * 3, [12] * 3]


def test_one_page_is_an_image(tmp_path):
    frames = list(open_source(stack(tmp_path / "photo.tif", 1)))
    assert [frame.name for frame in frames] == ["photo.tif"]


def test_in_a_folder_pages_are_named_by_file_and_number(tmp_path):
    stack(tmp_path / "part10.tif", 2)
    stack(tmp_path / "part9.TIF", 3)
    cv2.imwrite(str(tmp_path / "part8.png"), page(0))
    frames = list(open_source(tmp_path, WIDE))
    assert [frame.name for frame in frames] == [
        "part8.png",
        *("part9.TIF#0", "part9.TIF#1", "part9.TIF#2"),
        *("part10.tif#0", "part10.tif#1"),
    ]
    assert [round(frame.bgr.mean()) for frame in frames] == [
        grey_of(number) for number in (0, 0, 1, 2, 0, 1)
    ]


def test_a_photo_is_one_page_that_is_named(tmp_path):
    path = stack(tmp_path / "flight.tif", 12)
    with pytest.raises(SourceError, match=r"12 pages.*'flight\.tif#0'.*'flight\.tif#11'"):
        read_image(path)
    for number in (0, 3, 11):
        picture = read_image(tmp_path / f"flight.tif#{number}", WIDE.still)
        assert abs(picture.mean() - grey_of(number)) <= 1
    with pytest.raises(SourceError, match=r"no page 12.*12 pages"):
        read_image(tmp_path / "flight.tif#12")
    with pytest.raises(SourceError, match=r"missing\.tif' does not exist"):
        read_image(tmp_path / "missing.tif#0")


def test_a_file_of_that_very_name_is_read(tmp_path):
    (tmp_path / "odd.tif#1").write_bytes(cv2.imencode(".png", page(0, dtype=np.uint8))[1])
    assert read_image(tmp_path / "odd.tif#1")[0, 0].tolist() == [10] * 3


def test_a_picture_without_a_file_has_one_page(tmp_path):
    data = np.fromfile(stack(tmp_path / "flight.tif", 2), np.uint8)
    with pytest.raises(SourceError, match="The upload has several pages"):
        decode_image(data, "The upload")


def test_a_cut_off_recording_shows_the_pages_it_has(tmp_path):
    path = stack(tmp_path / "flight.tif", 20, size=(640, 480))
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    source = open_source(path, WIDE)
    frames = list(source)
    assert 5 < len(frames) < 20
    assert [frame.name for frame in frames] == list(range(len(frames)))
    assert any("cut off" in problem for problem in source.problems)


def test_a_damaged_page_is_left_out_and_named(tmp_path):
    path = stack(tmp_path / "flight.tif", 4)
    data = bytearray(path.read_bytes())
    offset = read_pages(bytes(data)).offsets[2]
    strip = data.index(struct.pack("<H", 273), offset)  # the tag that says where the pixels are
    struct.pack_into("<I", data, strip + 8, len(data) + 999)
    path.write_bytes(data)
    source = open_source(path, WIDE)
    assert [frame.name for frame in source] == [0, 1, 3]
    assert len(source.problems) == 1 and "Page 2" in source.problems[0]


@pytest.mark.parametrize("big", [False, True])
@pytest.mark.parametrize("order", ["<", ">"])
def test_other_layouts_thumbnails_and_pages_of_another_size(tmp_path, big, order):
    tifffile = pytest.importorskip("tifffile", reason="writes what OpenCV does not")
    path = tmp_path / "flight.tif"
    with tifffile.TiffWriter(path, bigtiff=big, byteorder=order) as writer:
        for number in range(3):
            writer.write(page(number), contiguous=False)
            writer.write(page(number, (16, 12)), contiguous=False, subfiletype=1)
        writer.write(page(0, (32, 24)), contiguous=False)
    source = open_source(path, WIDE)
    frames = list(source)
    assert [frame.name for frame in frames] == [0, 1, 2]
    assert [round(frame.bgr.mean()) for frame in frames] == [grey_of(n) for n in range(3)]
    assert len(source.problems) == 1 and "number 6" in source.problems[0]


def test_a_photo_with_a_thumbnail_has_one_page(tmp_path):
    tifffile = pytest.importorskip("tifffile", reason="writes what OpenCV does not")
    path = tmp_path / "photo.tif"
    with tifffile.TiffWriter(path) as writer:
        writer.write(page(1), contiguous=False)
        writer.write(page(1, (16, 12)), contiguous=False)
    assert read_image(path).shape == (48, 64, 3)


def test_every_page_has_the_bound_of_pixels(tmp_path, monkeypatch):
    path = stack(tmp_path / "flight.tif", 2)
    monkeypatch.setattr(image_files, "MAX_PIXELS", 64 * 48 - 1)
    with pytest.raises(SourceError, match="64x48"):
        open_source(path)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"II*\0",
        b"II*\0\xff\xff\xff\xff",
        b"II+\0" + bytes(12),
        struct.pack("<2sHIHI", b"II", 42, 8, 0, 8),  # a chain that leads back to itself
        struct.pack("<2sHIHI", b"II", 42, 8, 65535, 8),
        b"\x89PNG\r\n\x1a\n" + bytes(40),
    ],
)
def test_hostile_files_have_at_most_one_page(data):
    assert len(read_pages(data).offsets) <= 1


def test_detect_searches_every_page_for_one_of_them(tmp_path, colour_bundle, square_frame):
    frames = [square_frame("red", "green") for _ in range(3)]
    assert cv2.imwritemulti(str(tmp_path / "flight.tif"), frames)
    output = tmp_path / "found"
    code = refdet(
        [
            *("detect", "--frames", str(tmp_path / "flight.tif"), "--bundle", str(colour_bundle)),
            *("--template", str(tmp_path / "flight.tif#1"), "--output", str(output)),
            *("--heatmaps", "--search", "full_frame"),
        ]
    )
    assert code == 0
    lines = (output / "detections.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["frame"] for line in lines] == [0, 1, 2]
    assert len(list((output / "heatmaps").iterdir())) == 3
