"""Image messages of every encoding to BGR and back."""

import array

import cv2
import numpy as np
import pytest
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header

from refdet_core.contrast import Contrast
from refdet_ros import conversions
from refdet_ros.conversions import (
    SUPPORTED_ENCODINGS,
    ImageError,
    compressed_to_bgr,
    image_to_bgr,
    to_compressed,
    to_image,
)

WIDTH, HEIGHT = 16, 12
BAYER_TILES = {
    "rggb": ("rg", "gb"),
    "bggr": ("bg", "gr"),
    "gbrg": ("gb", "rg"),
    "grbg": ("gr", "bg"),
}
# Type and full range.
DEEP_GREY = {
    "16SC1": (np.int16, -32768, 32767),
    "32SC1": (np.int32, -(2**31), 2**31 - 1),
    "32FC1": (np.float32, 0, 1),
    "64FC1": (np.float64, 0, 1),
}
# How exact the way there and back is, in grey levels: chroma of yuv is rounded.
EXACT, YUV = 0, 4


def picture():
    """Smooth colours: chroma subsampling and demosaicing keep them."""
    rows, columns = np.mgrid[0:HEIGHT, 0:WIDTH].astype(np.float32)
    planes = (80 + 4 * rows, 60 + 5 * columns, 200 - 3 * rows - 2 * columns)
    return np.stack(planes, axis=-1).astype(np.uint8)


def message(pixels, encoding, padding=0, big_endian=False, height=HEIGHT, width=WIDTH):
    """An Image with ``padding`` bytes after each row of ``pixels`` (rows, ...)."""
    pixels = pixels.astype(pixels.dtype.newbyteorder(">" if big_endian else "<"))
    rows = pixels.reshape(len(pixels), -1).view(np.uint8)
    step = rows.shape[1] + padding
    luma, chroma = (
        (rows[:height], rows[height:].reshape(-1, 2 * width))
        if encoding == "nv24"
        else (rows, rows[:0])
    )
    data = np.pad(luma, ((0, 0), (0, padding)), constant_values=170).tobytes()
    data += np.pad(chroma, ((0, 0), (0, 2 * padding)), constant_values=170).tobytes()
    return Image(
        height=height,
        width=width,
        encoding=encoding,
        is_bigendian=int(big_endian),
        step=step,
        data=array.array("B", data),
    )


def yuv(bgr):
    """Video-range BT.601 planes of a BGR picture, by the definition."""
    b, g, r = (bgr[..., i].astype(np.float64) for i in range(3))
    y = 16 + 0.257 * r + 0.504 * g + 0.098 * b
    u = 128 - 0.148 * r - 0.291 * g + 0.439 * b
    v = 128 + 0.439 * r - 0.368 * g - 0.071 * b
    return (np.round(plane).astype(np.uint8) for plane in (y, u, v))


def encode(bgr, encoding):
    """Pixels of a BGR picture in this encoding, rows first, and the error to expect back."""
    name, wide = encoding, encoding.endswith("16") or encoding.startswith("16U")
    grey = cv2.cvtColor(bgr, cv2.COLOR_BGR2GRAY)
    alpha = np.full((*bgr.shape[:2], 1), 255, np.uint8)
    if name in ("bgr8", "8UC3", "bgr16", "16UC3"):
        pixels = bgr
    elif name in ("rgb8", "rgb16"):
        pixels = bgr[..., ::-1]
    elif name in ("bgra8", "8UC4", "bgra16", "16UC4"):
        pixels = np.concatenate((bgr, alpha), axis=-1)
    elif name in ("rgba8", "rgba16"):
        pixels = np.concatenate((bgr[..., ::-1], alpha), axis=-1)
    elif name in ("mono8", "8UC1", "mono16", "16UC1"):
        pixels = grey
    elif name in DEEP_GREY:
        kind, dark, bright = DEEP_GREY[name]
        return (dark + (bright - dark) / 255 * grey).astype(kind), EXACT
    elif name.startswith("bayer_"):
        pixels = np.empty(bgr.shape[:2], np.uint8)
        for row, tiles in enumerate(BAYER_TILES[name[6:10]]):
            for column, colour in enumerate(tiles):
                pixels[row::2, column::2] = bgr[row::2, column::2, "bgr".index(colour)]
    else:
        return encode_yuv(bgr, name), YUV
    return np.ascontiguousarray(pixels * np.uint16(257) if wide else pixels), EXACT


def encode_yuv(bgr, name):
    y, u, v = yuv(bgr)
    if name in ("yuv422", "uyvy", "yuv422_yuy2", "yuyv"):
        chroma = np.empty_like(y)
        chroma[:, 0::2], chroma[:, 1::2] = u[:, 0::2], v[:, 0::2]
        order = (chroma, y) if name in ("yuv422", "uyvy") else (y, chroma)
        return np.stack(order, axis=-1)
    if name == "nv24":
        return np.concatenate((y, np.stack((u, v), axis=-1).reshape(2 * HEIGHT, WIDTH)))
    first, second = (u, v) if name == "nv12" else (v, u)
    chroma = np.stack((first[0::2, 0::2], second[0::2, 0::2]), axis=-1)
    return np.concatenate((y, chroma.reshape(HEIGHT // 2, WIDTH)))


def expected(bgr, encoding):
    if encoding in ("mono8", "8UC1", "mono16", "16UC1", *DEEP_GREY):
        return cv2.cvtColor(cv2.cvtColor(bgr, cv2.COLOR_BGR2GRAY), cv2.COLOR_GRAY2BGR)
    return bgr


@pytest.mark.parametrize("padding", [0, 6, 7])
@pytest.mark.parametrize("encoding", SUPPORTED_ENCODINGS)
def test_every_encoding_gives_the_picture_back(encoding, padding):
    bgr = picture()
    pixels, error = encode(bgr, encoding)
    result = image_to_bgr(message(pixels, encoding, padding), Contrast("full_range").frame)
    assert result.shape == bgr.shape and result.dtype == np.uint8
    difference = np.abs(result.astype(int) - expected(bgr, encoding))
    if error == YUV or encoding.startswith("bayer_"):  # the border is extrapolated
        difference = difference[2:-2, 2:-2]
        error = max(error, 4)
        assert difference.mean() < 2.5
        error += 8  # subsampled chroma of a slope
    assert difference.max() <= error + (encoding in DEEP_GREY)  # rounded on the way there


@pytest.mark.parametrize("encoding", ["mono16", "16UC1", "16SC1", "32SC1", "32FC1", "64FC1"])
@pytest.mark.parametrize("big_endian", [False, True])
def test_raw_thermal_counts_have_contrast(encoding, big_endian):
    kind = np.uint16 if encoding in ("mono16", "16UC1") else DEEP_GREY[encoding][0]
    counts = np.linspace(7600, 9640, WIDTH * HEIGHT).reshape(HEIGHT, WIDTH).astype(kind)
    result = image_to_bgr(message(counts, encoding, padding=8, big_endian=big_endian))
    assert len(np.unique(result)) > 150 and (np.diff(result[..., 0], axis=1) >= 0).all()


@pytest.mark.parametrize("encoding", ["bgr16", "rgba16", "bayer_rggb16"])
def test_12_bits_of_colour_in_16_are_not_dark(encoding):
    pixels, _ = encode(picture(), encoding)
    full = image_to_bgr(message(pixels, encoding), Contrast("full_range").frame)
    shifted = image_to_bgr(message(pixels >> 4, encoding))
    np.testing.assert_allclose(shifted.astype(int), full, atol=1)


def test_a_thermal_camera_compressed_as_16_bit_png():
    counts = np.linspace(7600, 9640, 48 * 64).reshape(48, 64).astype(np.uint16)
    png = cv2.imencode(".png", counts)[1].tobytes()
    message = CompressedImage(format="mono16; png compressed mono16", data=array.array("B", png))
    assert len(np.unique(compressed_to_bgr(message))) > 150


@pytest.mark.parametrize(
    "encoding", [name for name in SUPPORTED_ENCODINGS if name.endswith("16") or name[:3] == "16U"]
)
def test_big_endian_16_bit(encoding):
    pixels, _ = encode(picture(), encoding)
    little = image_to_bgr(message(pixels, encoding))
    big = image_to_bgr(message(pixels, encoding, padding=4, big_endian=True))
    np.testing.assert_array_equal(little, big)


@pytest.mark.parametrize("pattern", sorted(BAYER_TILES))
@pytest.mark.parametrize("colour", [(255, 0, 0), (0, 255, 0), (0, 0, 255)])
def test_bayer_patterns_are_not_mixed_up(pattern, colour):
    bgr = np.full((HEIGHT, WIDTH, 3), colour, np.uint8)
    pixels, _ = encode(bgr, f"bayer_{pattern}8")
    result = image_to_bgr(message(pixels, f"bayer_{pattern}8"))
    np.testing.assert_array_equal(result, bgr)


@pytest.mark.parametrize("encoding", ["32FC2", "", "h264"])
def test_unknown_encoding_names_the_supported(encoding):
    with pytest.raises(ImageError, match="supported are bgr8"):
        image_to_bgr(Image(height=1, width=1, encoding=encoding, step=4, data=[0, 0, 0, 0]))


@pytest.mark.parametrize(
    "changes",
    [
        {"height": 0},
        {"width": 0},
        {"step": 3},
        {"height": HEIGHT + 1},
        {"width": 2 * WIDTH},
        {"data": array.array("B", b"12")},
    ],
)
@pytest.mark.parametrize("encoding", ["bgr8", "mono16", "nv12", "nv24", "bayer_rggb8", "yuv422"])
def test_broken_messages_are_refused(encoding, changes):
    broken = message(encode(picture(), encoding)[0], encoding)
    for name, value in changes.items():
        setattr(broken, name, value)
    with pytest.raises(ImageError):
        image_to_bgr(broken)


@pytest.mark.parametrize("encoding", ["nv12", "yuv422", "yuv422_yuy2"])
def test_odd_sizes_of_subsampled_chroma_are_refused(encoding):
    pixels = np.zeros((9, 6), np.uint8)
    with pytest.raises(ImageError, match=r"even|odd"):
        image_to_bgr(message(pixels, encoding, padding=20, height=5, width=5))


def test_last_row_may_come_without_its_padding():
    bgr = picture()
    short = message(bgr, "bgr8", padding=10)
    short.data = short.data[:-10]
    np.testing.assert_array_equal(image_to_bgr(short), bgr)


@pytest.mark.parametrize("encoding", ["bgr8", "mono8"])
def test_array_to_message_and_back(encoding):
    bgr = picture()
    pixels = bgr if encoding == "bgr8" else cv2.cvtColor(bgr, cv2.COLOR_BGR2GRAY)
    header = Header(frame_id="camera")
    sent = to_image(pixels[:, 2:-2], encoding, header)  # not contiguous
    assert sent.header == header and sent.step * sent.height == len(sent.data)
    np.testing.assert_array_equal(image_to_bgr(sent), expected(bgr, encoding)[:, 2:-2])


def test_compressed_there_and_back():
    sent = to_compressed(picture(), "bgr8", Header(frame_id="camera"))
    assert sent.format == "bgr8; jpeg compressed bgr8"
    assert np.abs(compressed_to_bgr(sent).astype(int) - picture()).mean() < 6


def test_png_is_exact():
    png = cv2.imencode(".png", picture())[1].tobytes()
    message = CompressedImage(format="png", data=array.array("B", png))
    np.testing.assert_array_equal(compressed_to_bgr(message), picture())


@pytest.mark.parametrize("data", [b"", b"no jpeg", b"\xff\xd8\xff"])
def test_undecodable_file_is_refused(data):
    with pytest.raises(ImageError, match="cannot be decoded"):
        compressed_to_bgr(CompressedImage(format="jpeg", data=array.array("B", data)))


@pytest.mark.parametrize("encoding", sorted(conversions._CV_BRIDGE_ENCODINGS))
def test_same_pixels_as_cv_bridge(encoding, monkeypatch):
    if conversions._cv_bridge is None:
        pytest.skip("cv_bridge is not installed here, or not usable with this NumPy")
    sent = message(encode(picture(), encoding)[0], encoding, padding=6)
    theirs = image_to_bgr(sent)
    monkeypatch.setattr(conversions, "_cv_bridge", None)
    np.testing.assert_allclose(image_to_bgr(sent).astype(int), theirs, atol=1)
