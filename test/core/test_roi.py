"""Regions of interest: read from text, cut at the border of the image."""

from __future__ import annotations

import pytest

from refdet_core.errors import BadReferenceError, ConfigError
from refdet_core.roi import clip_roi, parse_roi

SIZE = (1280, 720)


def test_roi():
    assert parse_roi("10,20,30,40") == (10, 20, 40, 60)
    assert parse_roi(" 1.5, 2,3 ,4") == (1.5, 2, 4.5, 6)
    assert parse_roi("-5,10,20,20") == (-5, 10, 15, 30)


@pytest.mark.parametrize(
    "text", ["", "1,2,3", "1,2,3,4,5", "a,b,c,d", "1,2,0,4", "1,2,3,-4", "nan,2,3,4", "1,2,inf,4"]
)
def test_bad_roi(text):
    with pytest.raises(ConfigError, match=r"ROI.*X,Y,W,H"):
        parse_roi(text)


@pytest.mark.parametrize("roi_xyxy", [(0, 0, 1280, 720), (10, 20, 40, 60)])
def test_a_roi_inside_is_taken_without_a_word(roi_xyxy, caplog):
    assert clip_roi(roi_xyxy, SIZE, "The ROI") == roi_xyxy
    assert not caplog.messages


@pytest.mark.parametrize(
    ("roi_xyxy", "inside"),
    [
        ((-5, 10, 15, 30), (0, 10, 15, 30)),
        ((1270, 700, 1320, 750), (1270, 700, 1280, 720)),
        ((-1, -1, 2000, 2000), (0, 0, 1280, 720)),
    ],
)
def test_a_roi_over_the_border_is_clipped_with_a_warning(roi_xyxy, inside, caplog):
    assert clip_roi(roi_xyxy, SIZE, "The ROI of 'car.jpg'") == inside
    (message,) = caplog.messages
    assert "'car.jpg'" in message and "1280x720" in message
    assert f"width={inside[2] - inside[0]:g}" in message


@pytest.mark.parametrize(
    "roi_xyxy",
    [(1280, 0, 1290, 9), (-20, 0, -3, 9), (0, -9, 9, 0), (0, 720, 9, 730), (5, 5, 5, 9)],
)
def test_a_roi_outside_is_refused_with_the_size_of_the_image(roi_xyxy):
    with pytest.raises(BadReferenceError, match="1280x720"):
        clip_roi(roi_xyxy, SIZE, "The ROI")
