from __future__ import annotations

import pytest

from refdet_core.backends.config import BackendConfig
from refdet_core.detector_config import DetectorConfig
from refdet_core.errors import ConfigError
from refdet_core.settings import with_settings


def test_a_key_goes_to_the_configuration_that_has_it() -> None:
    texts = ["tile_width=640", '{"threads": 2, "nms_iou": 0.5}', " search = full_frame"]
    detector, backend = with_settings(texts, DetectorConfig(max_detections=3), BackendConfig())
    assert detector == DetectorConfig(
        tile_width=640, nms_iou=0.5, search="full_frame", max_detections=3
    )
    assert backend == BackendConfig(threads=2)


def test_nothing_changes_nothing_and_the_last_word_counts() -> None:
    assert with_settings([], DetectorConfig()) == [DetectorConfig()]
    (config,) = with_settings(["nms_iou=0.5", "nms_iou=1"], DetectorConfig())
    assert config.nms_iou == 1.0 and isinstance(config.nms_iou, float)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("tiles", "key=value"),
        ("", "key=value"),
        ("{", "key=value"),
        ("[1]", "JSON object"),
        ("x=[1", "cannot be read"),
        ("tile_widht=3", "Unknown settings .*tile_widht.*did you mean 'tile_width'"),
        ("quux=3", "Unknown settings .*quux.*valid are .*tile_width, "),
        ("search=3", "search must be text, got 3"),
        ("nms_iou=7", "nms_iou must be between"),
        ("tile_width=1.5", "tile_width must be a whole number"),
        ("nms_iou=high", "nms_iou must be a number"),
        ("nms_iou=", "nms_iou must be a number, got None"),
        ("track_camera_motion=1", "must be true or false"),
    ],
)
def test_what_makes_no_sense_is_refused_with_a_sentence(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        with_settings([text], DetectorConfig())
