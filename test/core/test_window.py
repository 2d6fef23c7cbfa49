from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from refdet_core.crop_rule import CropRule
from refdet_core.decoding import Candidates
from refdet_core.errors import ConfigError
from refdet_core.imaging import Crop
from refdet_core.search.window import (
    WindowConfig,
    ranking_scores,
    search_windows,
    smoothed_box,
    within_step,
)
from refdet_core.tracking_rule import TrackingRule

RULE = TrackingRule()
SQUARE = (80.0, 80.0, 120.0, 120.0)
WINDOW = Crop(20, 20, 160, 160, 192, 192)


def rule(**setting) -> TrackingRule:
    return WindowConfig(**setting).rule(RULE)


def candidates(*boxes_and_scores) -> Candidates:
    boxes = np.array([box for box, _ in boxes_and_scores], np.float32).reshape(-1, 4)
    scores = np.array([score for _, score in boxes_and_scores], np.float32)
    return Candidates(boxes, scores, np.ones(len(scores), np.float32))


def around(x: float, y: float, width: float = 40, height: float = 40):
    return x - width / 2, y - height / 2, x + width / 2, y + height / 2


@pytest.mark.parametrize(
    ("width", "height", "side"),
    [
        (40, 40, 160),  # padded by 40: sqrt(80 * 80) = 80, twice that
        (60, 20, 155),  # padded by 40: sqrt(100 * 60) = 77.46 -> 154.92
        (30, 10, 77),  # padded by 20: sqrt(50 * 30) = 38.73 -> 77.46
        (400, 400, 1600),
    ],
)
def test_the_window_is_twice_the_box_with_its_context(width, height, side) -> None:
    (window,) = search_windows(around(1000, 500, width, height), RULE, 32)
    assert (window.width, window.height) == (side, side)
    assert (window.out_width, window.out_height) == (192, 192)
    assert window.x + window.width / 2 == pytest.approx(1000, abs=1)
    assert window.y + window.height / 2 == pytest.approx(500, abs=1)


@pytest.mark.parametrize(
    ("setting", "side"),
    [
        ({"track_context": 0.0}, 80),  # 2 * sqrt(40 * 40)
        ({"track_context": 1.0}, 240),  # padded by 80: 2 * 120
        ({"track_search_ratio": 3.0}, 240),
        ({"track_search_ratio": 1.0}, 80),
    ],
)
def test_context_and_ratio_set_the_window(setting, side) -> None:
    (window,) = search_windows(SQUARE, rule(**setting), 32)
    assert (window.width, window.out_width) == (side, 192)


@pytest.mark.parametrize("size", [0, 1, 4, 10, 16])
def test_small_targets_are_not_zoomed_further(size) -> None:
    # 192 network pixels at 3 a frame pixel; a 16 px box would have exactly these 64 px
    (window,) = search_windows(around(50, 50, size, size), RULE, 32)
    assert (window.width, window.out_width) == (64, 192)
    (wider,) = search_windows(around(50, 50, size, size), rule(track_max_zoom=1.0), 32)
    assert (wider.width, wider.out_width) == (192, 192)


@pytest.mark.parametrize(
    ("uncertainty", "least", "side", "out_side"),
    [
        (0.0, 1.0, 160, 192),
        (1.0, 1.0, 164, 192),  # 6.15 cells of 32: a quarter of a cell is not worth another
        (5.0, 1.0, 180, 224),  # 6.75 cells
        (60.0, 1.0, 240, 288),  # the widest, half as wide again as usual: 9 cells
        (1e9, 1.0, 240, 288),
        (0.0, 0.75, 120, 160),  # 4.5 cells
        (5.0, 0.75, 140, 160),  # 5.25 cells
        (1e9, 0.75, 240, 288),
    ],
)
def test_doubt_widens_the_window_up_to_a_limit(uncertainty, least, side, out_side) -> None:
    (window,) = search_windows(SQUARE, RULE, 32, uncertainty, least)
    assert (window.width, window.height) == (side, side)
    assert (window.out_width, window.out_height) == (out_side, out_side)
    assert window.x == 100 - side // 2


@pytest.mark.parametrize(
    ("window_px", "multiple", "out_side"),
    [(192, 16, 192), (200, 32, 192), (210, 32, 224), (192, 64, 192), (64, 128, 128)],
)
def test_network_sides_are_multiples(window_px, multiple, out_side) -> None:
    (window,) = search_windows(SQUARE, rule(track_window_px=window_px), multiple)
    assert window.out_width == window.out_height == out_side


@pytest.mark.parametrize(
    ("count", "sides"),
    [(1, [160]), (3, [160, 154, 166]), (5, [160, 154, 166, 149, 172])],  # 160 * 1.0375 ** n
)
def test_scales_step_around_the_usual_size(count, sides) -> None:
    windows = search_windows(SQUARE, rule(track_scales=count), 32)
    assert [window.width for window in windows] == sides
    for window in windows:
        assert (window.out_width, window.out_height) == (192, 192)
        assert window.x + window.width / 2 == pytest.approx(100, abs=0.5)
        assert window.y + window.height / 2 == pytest.approx(100, abs=0.5)


@settings(deadline=None)
@given(
    x=st.floats(-1e4, 1e4),
    y=st.floats(-1e4, 1e4),
    width=st.floats(0, 8000),
    height=st.floats(0, 8000),
    uncertainty=st.floats(0, 1e5),
    count=st.sampled_from([1, 3, 5]),
    multiple=st.sampled_from([8, 16, 32]),
)
def test_any_box_has_windows_of_one_network_size_around_it(
    x, y, width, height, uncertainty, count, multiple
) -> None:
    several = rule(track_scales=count)
    windows = search_windows(around(x, y, width, height), several, multiple, uncertainty)
    assert len(windows) == count
    assert len({(window.out_width, window.out_height) for window in windows}) == 1
    assert windows[0].out_width % multiple == 0
    assert windows[0].out_width <= 2.5 * 192 + multiple
    for window in windows:
        assert window.width == window.height >= 2
        assert abs(window.x + window.width / 2 - x) <= 1
        assert abs(window.y + window.height / 2 - y) <= 1


@pytest.mark.parametrize(
    ("candidate", "score", "expected"),
    [
        # (1 - 0.44) * score * penalty + 0.44 * hann
        (SQUARE, 0.9, 0.56 * 0.9 + 0.44),
        (SQUARE, 0.0, 0.44),
        # twice or half as large: s = 2, r = 1
        (around(100, 100, 80, 80), 0.9, 0.56 * 0.9 * math.exp(-0.055) + 0.44),
        (around(100, 100, 20, 20), 0.9, 0.56 * 0.9 * math.exp(-0.055) + 0.44),
        # 80x20: padded sqrt(130 * 70) against 80, and four times as wide for its height
        (
            around(100, 100, 80, 20),
            0.9,
            0.56 * 0.9 * math.exp(-0.055 * (4 * math.sqrt(9100) / 80 - 1)) + 0.44,
        ),
        # a quarter of the window aside, half the cosine window; both ways: a quarter
        (around(140, 100), 0.9, 0.56 * 0.9 + 0.22),
        (around(60, 140), 0.9, 0.56 * 0.9 + 0.11),
        # at its border and beyond
        (around(180, 100), 0.9, 0.56 * 0.9),
        (around(100, -500), 0.9, 0.56 * 0.9),
    ],
)
def test_worth_is_siamrpns_formula(candidate, score, expected) -> None:
    (value,) = ranking_scores(candidates((candidate, score)), SQUARE, WINDOW, RULE)
    assert value == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        ({"track_window_influence": 0.0}, 0.9 * math.exp(-0.055)),
        ({"track_window_influence": 1.0}, 0.5),
        ({"track_penalty_k": 0.0}, 0.56 * 0.9 + 0.22),
        ({"track_penalty_k": 10.0}, 0.56 * 0.9 * math.exp(-10) + 0.22),
    ],
)
def test_worth_takes_its_weights_from_the_settings(setting, expected) -> None:
    seen = candidates((around(140, 100, 80, 80), 0.9))
    (value,) = ranking_scores(seen, SQUARE, WINDOW, rule(**setting))
    assert value == pytest.approx(expected, abs=1e-6)


def test_worth_prefers_the_near_one_of_two_alike_and_the_sure_one_of_two_near() -> None:
    near, far, unsure = around(104, 100), around(150, 120), around(98, 100)
    values = ranking_scores(
        candidates((far, 0.95), (near, 0.9), (unsure, 0.3)), SQUARE, WINDOW, RULE
    )
    assert int(values.argmax()) == 1


def test_no_candidates_are_worth_nothing() -> None:
    assert ranking_scores(candidates(), SQUARE, WINDOW, RULE).shape == (0,)


@settings(deadline=None)
@given(
    x=st.floats(-500, 500),
    y=st.floats(-500, 500),
    width=st.floats(-5, 2000),
    height=st.floats(-5, 2000),
    score=st.floats(0, 1),
)
def test_worth_is_a_share_whatever_the_box(x, y, width, height, score) -> None:
    seen = candidates((around(x, y, width, height), score))
    (value,) = ranking_scores(seen, SQUARE, WINDOW, RULE)
    assert 0 <= value <= 1


@pytest.mark.parametrize(
    ("score", "rate", "expected"),
    [
        (0.5, 0.33, (108.35, 91.65, 151.65, 128.35)),  # 43.3 x 36.7 around (130, 110)
        (0.0, 0.33, (110, 90, 150, 130)),
        (1.0, 1.0, (100, 100, 160, 120)),
        (1.0, 0.0, (110, 90, 150, 130)),
    ],
)
def test_the_size_follows_slowly_and_the_place_at_once(score, rate, expected) -> None:
    box = smoothed_box((100, 100, 160, 120), rate * score, (40, 40))
    assert box == pytest.approx(expected)


@pytest.mark.parametrize(
    ("max_step_px", "expected"),
    [
        (0, (110, 120, 150, 160)),  # anywhere
        (50, (110, 120, 150, 160)),  # exactly as far
        (20, (92, 96, 132, 136)),  # two fifths of the way
    ],
)
def test_a_step_may_have_a_limit(max_step_px, expected) -> None:
    box = within_step((110, 120, 150, 160), SQUARE, max_step_px)
    assert box == pytest.approx(expected)


@pytest.mark.parametrize("measured", [(100, 100, 100, 100), (110, 105, 100, 100)])
def test_a_box_without_extent_counts_as_one_pixel(measured) -> None:
    x1, y1, x2, y2 = smoothed_box(measured, 1.0, (40, 40))
    assert (x2 - x1, y2 - y1) == pytest.approx((1, 1))


@pytest.mark.parametrize(
    "setting",
    [
        {"track_context": -0.1},
        {"track_search_ratio": 0.5},
        {"track_window_px": 32},
        {"track_max_zoom": 0.0},
        {"track_scale_step": 0.9},
        {"track_window_influence": 1.1},
        {"track_penalty_k": -0.5},
        {"track_size_lr": 1.5},
        {"track_keep_score": float("nan")},
        {"track_keep_drop": float("inf")},
    ],
)
def test_a_setting_out_of_range_is_refused_by_name(setting) -> None:
    (name,) = setting
    with pytest.raises(ConfigError, match=f"{name} must be between"):
        WindowConfig(**setting)


@pytest.mark.parametrize("count", [0, 2, 7])
def test_only_one_three_or_five_scales(count) -> None:
    with pytest.raises(ConfigError, match="one of 1, 3, 5"):
        WindowConfig(track_scales=count)


def test_what_is_not_set_is_the_bundle_s() -> None:
    window = CropRule(256, context=0.0, factor=5.0, stretched=True, border="mean")
    bundled = TrackingRule(window, window_influence=0.38, penalty_k=0.062, size_lr=0.765)
    assert WindowConfig().rule(bundled) == bundled
    changed = WindowConfig(track_window_px=320, track_size_lr=0.5).rule(bundled)
    assert changed == replace(bundled, window=replace(window, size=320), size_lr=0.5)


def test_a_stretched_window_has_the_target_s_shape() -> None:
    window = CropRule(256, context=0.0, factor=5.0, stretched=True, border="mean")
    (crop,) = search_windows(around(100, 100, 40, 20), TrackingRule(window), 16)
    assert crop == Crop(0, 50, 200, 100, 256, 256, "mean")


@pytest.mark.parametrize(
    ("persistence", "keep_score", "keep_drop", "always"),
    [("cautious", 0.3, 2.0, False), ("balanced", 0.15, 3.0, False), ("stubborn", 0.0, 20.0, True)],
)
def test_persistence_is_one_word_for_two_numbers(
    persistence, keep_score, keep_drop, always
) -> None:
    config = WindowConfig(track_persistence=persistence)
    assert (config.keep_score, config.keep_drop) == (keep_score, keep_drop)
    assert config.always_reports == always
    own = WindowConfig(track_persistence=persistence, track_keep_score=0.4, track_keep_drop=1.0)
    assert (own.keep_score, own.keep_drop, own.always_reports) == (0.4, 1.0, False)


def test_an_unknown_persistence_is_refused_with_the_valid_ones() -> None:
    with pytest.raises(ConfigError, match="cautious, balanced, stubborn"):
        WindowConfig(track_persistence="brave")
