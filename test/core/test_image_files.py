"""Reading pictures: depth, channels, and a bound before anything is decoded."""

from __future__ import annotations

import struct
import zlib

import cv2
import numpy as np
import pytest

from refdet_core import image_files
from refdet_core.contrast import Contrast
from refdet_core.errors import SourceError
from refdet_core.image_files import decode_image, read_image, to_bgr8
from refdet_core.imaging import PAD_BGR


def bomb(width, height):
    """A valid PNG of one grey, some kilobytes for any size."""
    packer = zlib.compressobj(9)
    rows = b"".join(packer.compress(bytes(width + 1)) for _ in range(height)) + packer.flush()

    def chunk(kind, content):
        check = struct.pack(">I", zlib.crc32(kind + content))
        return struct.pack(">I", len(content)) + kind + content + check

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")
    )


def test_a_bomb_is_refused_by_its_header(tmp_path, monkeypatch):
    path = tmp_path / "bomb.png"
    path.write_bytes(bomb(12000, 12000))
    assert path.stat().st_size < 400_000

    def decode(*_):
        raise AssertionError("it must not be decoded")

    monkeypatch.setattr(cv2, "imdecode", decode)
    with pytest.raises(SourceError, match=r"12000x12000.*67 million"):
        read_image(path)
    with pytest.raises(SourceError, match="The frame is 12000x12000"):
        decode_image(np.frombuffer(path.read_bytes(), np.uint8), "The frame")


def test_the_bound_is_in_pixels_not_in_sides(monkeypatch):
    data = np.frombuffer(cv2.imencode(".png", np.zeros((10, 2000), np.uint8))[1], np.uint8)
    monkeypatch.setattr(image_files, "MAX_PIXELS", 20_000)
    assert decode_image(data, "it").shape == (10, 2000)
    monkeypatch.setattr(image_files, "MAX_PIXELS", 19_999)
    with pytest.raises(SourceError, match="2000x10"):
        decode_image(data, "it")


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_a_thermal_photo_has_contrast(tmp_path, suffix):
    ramp = (7600 + np.arange(48 * 64).reshape(48, 64) % 2040).astype(np.uint16)
    path = tmp_path / ("photo" + suffix)
    cv2.imwrite(str(path), ramp)
    picture = read_image(path)
    assert picture.shape == (48, 64, 3) and len(np.unique(picture)) > 150
    assert len(np.unique(read_image(path, Contrast("full_range").still))) < 12


def test_temperatures_in_a_float_tiff(tmp_path):
    path = tmp_path / "photo.tif"
    cv2.imwrite(str(path), np.linspace(18, 32, 48 * 64).reshape(48, 64).astype(np.float32))
    assert len(np.unique(read_image(path))) > 150


def test_deep_colours_and_transparency(tmp_path):
    picture = np.zeros((8, 8, 4), np.uint16)
    picture[..., :3] = 4000, 2000, 1000  # 12 bits
    picture[:, 4:, 3] = 65535
    cv2.imwrite(str(tmp_path / "deep.png"), picture)
    read = read_image(tmp_path / "deep.png")
    np.testing.assert_allclose(read[0, 7], (249, 125, 62), atol=1)
    assert tuple(read[0, 0]) == PAD_BGR


def test_grey_of_any_shape_becomes_bgr():
    grey = np.arange(12, dtype=np.uint8).reshape(3, 4)
    for picture in (grey, grey[:, :, None]):
        np.testing.assert_array_equal(to_bgr8(picture), cv2.merge([grey] * 3))
    with pytest.raises(SourceError, match="2 channels"):
        to_bgr8(np.zeros((3, 4, 2), np.uint8))
