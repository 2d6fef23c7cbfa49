"""Pictures of more than 8 bits: enough grey levels, steady over time, photos like frames."""

from __future__ import annotations

import numpy as np
import pytest

from refdet_core.contrast import Contrast
from refdet_core.errors import ConfigError

DEEP_TYPES = (np.uint16, np.int16, np.int32, np.float32, np.float64)


def thermal(seed=0, low=7600, high=9640, dtype=np.uint16):
    """A scene of a cool half and a warm half, with sensor noise."""
    random = np.random.default_rng(seed)
    scene = np.full((120, 160), low + 0.2 * (high - low))
    scene[:, 80:] = low + 0.8 * (high - low)
    return (scene + random.normal(0, (high - low) / 200, scene.shape)).astype(dtype)


def test_8_bits_stay_as_they_are():
    picture = np.arange(12, dtype=np.uint8).reshape(3, 4)
    for setting in ("auto", "full_range", "3,9"):
        assert Contrast(setting).frame(picture) is picture
        assert Contrast(setting).still(picture) is picture


@pytest.mark.parametrize("dtype", DEEP_TYPES)
def test_a_narrow_range_gets_most_of_the_grey_levels(dtype):
    picture = thermal(dtype=dtype)
    grey = Contrast().frame(picture)
    assert grey.dtype == np.uint8 and grey.shape == picture.shape
    assert float(grey[:, 80:].mean()) - float(grey[:, :80].mean()) > 120
    assert np.mean(grey[:, :80] == 0) < 0.01 and np.mean(grey[:, 80:] == 255) < 0.01


@pytest.mark.parametrize("offset", [-20.0, 0.0, 273.15])
def test_temperatures_in_celsius_and_kelvin(offset):
    grey = Contrast().frame(thermal(low=offset, high=offset + 12, dtype=np.float32))
    assert float(grey[:, 80:].mean()) - float(grey[:, :80].mean()) > 120


def test_the_same_count_keeps_its_grey_although_the_noise_changes():
    contrast = Contrast()
    levels = [contrast.frame(thermal(seed))[:, :80].mean() for seed in range(30)]
    assert np.abs(np.diff(levels)).max() < 0.5


def test_a_hot_thing_that_comes_into_view_does_not_make_the_rest_flicker():
    contrast = Contrast()
    levels = []
    for seed in range(40):
        picture = thermal(seed)
        if seed >= 20:
            picture[:20, :30] = 16000  # 3 % of the picture
        levels.append(contrast.frame(picture)[60:, :80].mean())
    steps = np.abs(np.diff(levels))
    assert steps[:19].max() < 0.5
    assert steps.max() < 8
    # In the end the range holds it.
    assert contrast.frame(picture)[0, 0] > contrast.frame(picture)[60:, 80:].mean()


def test_another_gain_is_followed_within_a_few_frames():
    contrast = Contrast()
    contrast.frame(thermal())
    for seed in range(8):
        grey = contrast.frame(thermal(seed, low=1000, high=1400))
    assert float(grey[:, 80:].mean()) - float(grey[:, :80].mean()) > 100


def test_dead_pixels_and_missing_values_do_not_count():
    picture = thermal()
    picture[::7, ::9] = 0
    picture[3, 5] = 65535
    assert Contrast().frame(picture)[60, 100] > 150
    kelvin = thermal(dtype=np.float32)
    kelvin[::5, ::5] = np.nan
    kelvin[0, :2] = np.inf, -np.inf
    grey = Contrast().frame(kelvin)
    assert grey[61, 101] > 150 and (grey[0, 0], grey[0, 1], grey[5, 5]) == (255, 0, 0)


@pytest.mark.parametrize("dtype", DEEP_TYPES)
def test_a_flat_picture_does_not_become_black_and_white(dtype):
    picture = np.full((20, 30), 8000, dtype)
    picture[0, 0] += 1
    grey = Contrast().frame(picture)
    assert int(grey.max()) - int(grey.min()) <= 32 and 100 < grey.mean() < 156


@pytest.mark.parametrize("shape", [(1, 1), (1, 50), (3, 2)])
def test_small_pictures(shape):
    for dtype in DEEP_TYPES:
        assert Contrast().frame(np.zeros(shape, dtype)).shape == shape


def test_a_photo_takes_the_range_of_the_frames():
    contrast = Contrast()
    frame = thermal()
    expected = contrast.frame(frame)
    photo = frame[20:60, 90:130]  # warm pixels only
    np.testing.assert_array_equal(contrast.still(photo), expected[20:60, 90:130])
    # And does not change it.
    np.testing.assert_array_equal(contrast.still(frame), expected)


def test_a_photo_of_another_camera_has_its_own_range():
    contrast = Contrast()
    contrast.frame(thermal())
    other = contrast.still(thermal(low=20000, high=30000))
    assert float(other[:, 80:].mean()) - float(other[:, :80].mean()) > 120
    celsius = contrast.still(thermal(low=10, high=30, dtype=np.float32))
    assert float(celsius[:, 80:].mean()) - float(celsius[:, :80].mean()) > 120


@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
def test_colours_keep_their_balance_whatever_the_bits_of_the_sensor(bits):
    most = (1 << bits) - 1
    picture = np.zeros((40, 60, 3), np.uint16)
    picture[..., 0], picture[..., 1], picture[..., 2] = most // 4, most // 2, most
    np.testing.assert_allclose(Contrast().frame(picture, colour=True)[0, 0], (64, 128, 255), atol=1)


def test_the_bits_of_a_colour_camera_only_grow():
    contrast = Contrast()
    bright = np.full((8, 8, 3), 4000, np.uint16)
    dark = np.full((8, 8, 3), 200, np.uint16)
    before = contrast.frame(bright, colour=True).copy()
    assert contrast.frame(dark, colour=True).max() < 20
    np.testing.assert_array_equal(contrast.frame(bright, colour=True), before)


def test_full_range_and_given_values():
    counts = np.array([[0, 257, 65535]], np.uint16)
    assert Contrast("full_range").frame(counts).tolist() == [[0, 1, 255]]
    assert Contrast("full_range").frame(np.array([[0, 0.5, 2]], np.float32)).tolist() == [
        [0, 128, 255]
    ]
    given = Contrast("-20,60")
    assert given.frame(np.array([[-30, -20, 20, 60, 90]], np.float32)).tolist() == [
        [0, 0, 128, 255, 255]
    ]
    assert given.still(np.array([[-30, -20, 60, 90]], np.int16)).tolist() == [[0, 0, 255, 255]]
    assert Contrast("100,200").frame(np.array([[0, 100, 160, 9999]], np.uint16)).tolist() == [
        [0, 0, 153, 255]
    ]


@pytest.mark.parametrize("setting", ["", "automatic", "1", "1,2,3", "5,5", "9,2", "nan,3", "0,inf"])
def test_other_settings_are_refused(setting):
    with pytest.raises(ConfigError, match="contrast"):
        Contrast(setting)


def test_it_says_which_range_is_in_force():
    contrast = Contrast()
    assert str(contrast) == "auto"
    contrast.frame(thermal())
    assert str(contrast).startswith("auto, 7") and "uint16" in str(contrast)
    assert str(Contrast("7600,9640")) == "7600,9640"
