"""The size of a picture from its file's header, checked against files that OpenCV writes."""

from __future__ import annotations

import struct

import cv2
import numpy as np
import pytest

from refdet_core.image_header import image_size

WIDTH, HEIGHT = 301, 77
COLOUR = np.random.default_rng(0).integers(0, 255, (HEIGHT, WIDTH, 3), np.uint8)
GREY_16 = COLOUR[:, :, 0].astype(np.uint16) * 100

FILES = {
    "jpg": (COLOUR, ".jpg", []),
    "progressive": (COLOUR, ".jpg", [cv2.IMWRITE_JPEG_PROGRESSIVE, 1]),
    "restarts": (COLOUR, ".jpg", [cv2.IMWRITE_JPEG_RST_INTERVAL, 2]),
    "png": (COLOUR, ".png", []),
    "png16": (GREY_16, ".png", []),
    "bmp": (COLOUR, ".bmp", []),
    "webp": (COLOUR, ".webp", [cv2.IMWRITE_WEBP_QUALITY, 80]),
    "webp lossless": (COLOUR, ".webp", [cv2.IMWRITE_WEBP_QUALITY, 101]),
    "webp alpha": (np.dstack([COLOUR, COLOUR[:, :, 0]]), ".webp", [cv2.IMWRITE_WEBP_QUALITY, 80]),
    "tif": (COLOUR, ".tif", []),
    "tif16": (GREY_16, ".tif", []),
    "tif32f": (GREY_16.astype(np.float32), ".tif", []),
    "pgm": (COLOUR[:, :, 0], ".pgm", []),
    "ppm": (COLOUR, ".ppm", []),
}


def encoded(name):
    picture, suffix, options = FILES[name]
    written, data = cv2.imencode(suffix, picture, options)
    assert written
    return data.tobytes()


@pytest.mark.parametrize("name", sorted(FILES))
def test_as_opencv_writes_it(name):
    data = encoded(name)
    assert image_size(data) == (WIDTH, HEIGHT)
    assert image_size(np.frombuffer(data, np.uint8)) == (WIDTH, HEIGHT)  # an array, too


@pytest.mark.parametrize("name", sorted(FILES))
def test_a_cut_off_header_is_no_size_and_no_crash(name):
    data = encoded(name)
    for length in range(64):
        assert image_size(data[:length]) in (None, (WIDTH, HEIGHT))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"RIFF",
        b"\xff\xd8\xff",
        b"\xff\xd8" + b"\xff" * 99,
        b"BM" + bytes(40),
        b"no picture",
        b"II*\0\xff\xff\xff\xff",
        b"P5 x y",
    ],
)
def test_what_is_no_picture(data):
    assert image_size(data) in (None, (0, 0))


def test_the_thumbnail_in_a_photos_exif_is_not_taken_for_the_photo():
    thumbnail = cv2.imencode(".jpg", COLOUR[:20, :30])[1].tobytes()
    photo = encoded("jpg")
    segment = b"\xff\xe1" + struct.pack(">H", len(thumbnail) + 8) + b"Exif\0\0" + thumbnail
    assert image_size(photo[:2] + segment + photo[2:]) == (WIDTH, HEIGHT)


def test_other_layouts_of_the_same_formats():
    assert image_size(b"P6 # a comment\n# another\n 640\n480 255\n") == (640, 480)
    bmp = b"BM" + bytes(12) + struct.pack("<Iii", 40, 640, -480)
    assert image_size(bmp) == (640, 480)
    assert image_size(b"BM" + bytes(12) + struct.pack("<IHH", 12, 640, 480)) == (640, 480)
    big = struct.pack(">2sHHHQQ", b"MM", 43, 8, 0, 16, 2)
    for tag, side in ((256, 640), (257, 480)):
        big += struct.pack(">HHQII", tag, 4, 1, side, 0)
    assert image_size(big) == (640, 480)
