"""Search views cut as a tracker cuts its windows."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch", reason="training needs torch")

from refdet_core.boxes import mean_side
from refdet_core.errors import ConfigError
from refdet_training.pairs import PairConfig, WindowPairs
from refdet_training.pairs.crops import place, to_network, window_crop
from refdet_training.pairs.views import search_view, template_view

FRAME = np.full((400, 600, 3), (10, 60, 200), np.uint8)
BOX = (280.0, 180.0, 320.0, 220.0)  # 40 px, centre (300, 200)


def config(**window) -> PairConfig:
    sizes = {"img_size": 255, "template_size": 127, "max_object_px": 100.0}
    still = dict.fromkeys(("turn_share", "any_turn_share", "tilt_share", "occluded_share"), 0.0)
    return PairConfig(window=WindowPairs(**window), **sizes, **still)


def middle(box_xyxy):
    return np.array([(box_xyxy[0] + box_xyxy[2]) / 2, (box_xyxy[1] + box_xyxy[3]) / 2])


def test_a_still_window_shows_the_object_in_its_middle_as_large_as_the_template() -> None:
    settings = config(shift_px=0, scale=0)
    crop = window_crop(BOX, settings, settings.window, np.random.default_rng(0))
    # SiamFC: 2 x 40 px of context, times 255 / 127
    assert crop.width == round(80 * 255 / 127)
    shown = to_network(crop, BOX)
    assert mean_side(shown) == pytest.approx(63.5, abs=0.5)
    assert middle(shown) == pytest.approx([127.5, 127.5], abs=1.0)


def test_shift_and_scale_stay_within_their_bounds_and_reach_them() -> None:
    settings, rng = config(shift_px=64, scale=0.18), np.random.default_rng(0)
    crops = [window_crop(BOX, settings, settings.window, rng) for _ in range(300)]
    sides = np.array([crop.width for crop in crops]) / (80 * 255 / 127)
    offsets = np.array([middle(to_network(crop, BOX)) for crop in crops]) - 127.5
    assert 0.81 < sides.min() < 0.84 and 1.16 < sides.max() < 1.19
    assert 60 < np.abs(offsets).max() < 66


def test_the_context_is_drawn_and_the_factor_can_be_given() -> None:
    settings = config(shift_px=0, scale=0, context=(0.0, 1.0), factor=1.0)
    rng = np.random.default_rng(0)
    sides = [window_crop(BOX, settings, settings.window, rng).width for _ in range(200)]
    assert 40 <= min(sides) < 45 and 115 < max(sides) <= 120


def test_windows_outside_the_frame_have_its_mean_colour() -> None:
    settings = config(shift_px=0, scale=0, border="mean")
    corner = (0.0, 0.0, 40.0, 40.0)
    view = search_view(FRAME, corner, corner, settings, np.random.default_rng(0))
    assert view.box_xyxy is not None and view.tight
    assert view.image[:, 0, 0].tolist() == [200, 60, 10]  # RGB, in a padded corner


def test_a_template_is_a_little_off_and_never_turned() -> None:
    settings = config(template_shift_px=0, template_scale=0)
    picture = FRAME.copy()
    picture[180:220, 280:320] = 255
    view = template_view(picture, BOX, settings, np.random.default_rng(0), keep_colours=True)
    assert view.shape == (3, 127, 127)
    bright = (view.float().mean(dim=0) > 150).nonzero().float()
    assert bright.mean(dim=0).numpy() == pytest.approx([63, 63], abs=2)


def test_a_window_on_a_look_alike_does_not_show_the_target() -> None:
    settings = config(shift_px=8, scale=0)
    other = (500.0, 300.0, 540.0, 340.0)
    crop = place(FRAME, other, BOX, settings, np.random.default_rng(0), True, False)
    assert middle(to_network(crop, other)) == pytest.approx([127.5, 127.5], abs=10)


@pytest.mark.parametrize(
    ("window", "message"),
    [
        ({"context": (0.5, 0.1)}, "least and the most share"),
        ({"scale": 1.5}, "shares below 1"),
        ({"border": "mirror"}, "valid are grey, black, mean"),
    ],
)
def test_impossible_windows_are_refused(window: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        WindowPairs(**window)
