"""Parameters: the table, refusals with a reason, changes while running."""

import subprocess
import sys
from dataclasses import fields

import pytest
from rcl_interfaces.srv import DescribeParameters, GetParameters, ListParameters

from refdet_core.backends.config import BackendConfig
from refdet_core.detector_config import DetectorConfig
from refdet_core.errors import ConfigError
from refdet_ros.parameters import OPTIONS, Settings, changed, unknown_names


@pytest.fixture(scope="module")
def client(start_node, connect, tools):
    start_node()
    client = connect()
    tools.wait_for(lambda: client.state() == "active")
    return client


def test_table_covers_the_detectors_settings_with_its_defaults():
    theirs = {item.name: item.default for item in fields(DetectorConfig)}
    assert {name: OPTIONS[name].default for name in theirs} == theirs
    assert all(OPTIONS[name].running for name in theirs)
    assert Settings().detector == DetectorConfig()
    assert Settings(search="auto", nms_iou=0.5).detector == DetectorConfig(
        search="auto", nms_iou=0.5
    )


def test_table_covers_the_backends_settings_with_their_defaults():
    theirs = {item.name: item.default for item in fields(BackendConfig)}
    assert {name: OPTIONS[name].default for name in theirs} == theirs
    assert not any(OPTIONS[name].running for name in theirs)
    assert all(len(OPTIONS[name].description) > 15 for name in theirs)
    assert Settings().backend_config == BackendConfig()
    changed_ones = {"precision": "fp16", "threads": 2, "engine_folder": "/engines"}
    assert Settings(**changed_ones).backend_config == BackendConfig(**changed_ones)
    with pytest.raises(ConfigError, match="engine_max_views must be at least 1"):
        Settings(engine_max_views=0)


NUMBERS = [
    (config, item)
    for config in (DetectorConfig, BackendConfig)
    for item in fields(config)
    if type(item.default) in (int, float)
]
# Not limits of the detector: the widest that a tool should offer.
WIDE = {"tile_width", "tile_height", "tile_overlap", "max_detections", "max_tiles_per_frame"}
WIDE |= {"auto_confirm_frames", "auto_confirm_of", "refine_candidates"}
WIDE |= {"threads", "engine_workspace_mb", "engine_max_views", "engine_max_tiles", "engine_dla"}
WIDE |= {"engine_max_width", "engine_max_height"}
# These go together.
ALONG = {
    "tile_width": {"tile_overlap": 0},
    "tile_height": {"tile_overlap": 0},
    "tile_overlap": {"tile_width": 16385, "tile_height": 16385},
    "auto_confirm_frames": {"auto_confirm_of": 1000},
    "auto_confirm_of": {"auto_confirm_frames": 1},
}


@pytest.mark.parametrize("config, item", NUMBERS, ids=[item.name for _, item in NUMBERS])
def test_ranges_are_those_of_the_detector_and_its_backend(config, item):
    known, along = OPTIONS[item.name], ALONG.get(item.name, {})
    number = type(item.default)
    for value in (known.low, known.high):
        config(**{item.name: number(value), **along})
    beyond = [] if item.name == "score_threshold" else [known.low - 1]
    beyond += [] if item.name in WIDE else [known.high + 1]
    for value in beyond:
        with pytest.raises(ConfigError):
            config(**{item.name: number(value), **along})


def test_every_parameter_is_declared_described_and_has_its_default(client, colour_bundle):
    names = list(OPTIONS)
    listed = client.call(ListParameters, "/detector/list_parameters").result.names
    assert set(names) <= set(listed)
    described = client.call(
        DescribeParameters, "/detector/describe_parameters", DescribeParameters.Request(names=names)
    )
    assert all(len(descriptor.description) > 15 for descriptor in described.descriptors)
    ranges = {item.name: item for item in described.descriptors}
    assert ranges["nms_iou"].floating_point_range[0].to_value == 1.0
    assert ranges["tile_width"].integer_range[0].from_value == 64
    assert "full_frame" in ranges["search"].additional_constraints
    assert ranges["auto_lost_s"].floating_point_range[0].to_value == 3600.0
    assert ranges["auto_lost_s"].description.startswith("A track is lost")
    assert ranges["engine_max_tiles"].integer_range[0].from_value == 1
    assert ranges["precision"].additional_constraints == "one of: auto, fp32, fp16, int8"
    assert ranges["threads"].description.endswith("Only while unconfigured.")
    values = client.call(
        GetParameters,
        "/detector/get_parameters",
        GetParameters.Request(names=["bundle", "nms_iou"]),
    ).values
    assert values[0].string_value == str(colour_bundle)
    assert values[1].double_value == DetectorConfig().nms_iou


@pytest.mark.parametrize(
    "name, value",
    [
        ("score_threshold", 0.9),
        ("max_detections", 3),
        ("nms_iou", 0.5),
        ("tile_width", 640),
        ("search", "full_frame"),
        ("search", "auto"),
        ("track_scales", 3),
        ("track_camera_motion", True),
        ("auto_check_s", 0.0),
        ("search", "track"),
        ("search", "tiles"),
        ("reference_pooling", "best_view"),
        ("max_frame_age_s", 0.5),
        ("enabled", False),
        ("enabled", True),
        ("bundle", None),
    ],
)
def test_changeable_while_running(client, colour_bundle, name, value):
    with client.parameters(**{name: str(colour_bundle) if value is None else value}):
        pass


@pytest.mark.parametrize(
    "name, value, reason",
    [
        ("score_threshold", 1.5, "range"),
        ("max_detections", 0, "range"),
        ("nms_iou", -0.1, "range"),
        ("tile_overlap", 9000, "tile"),
        ("score_threshold", "high", "type"),
        ("search", "everywhere", "valid are full_frame, tiles"),
        ("reference_pooling", "max", "valid are prototype, best_view"),
        ("bundle", "/elsewhere", "only change while the node is unconfigured"),
        ("image_qos", "reliable", "only change while the node is unconfigured"),
        ("image_transport", "h264", "valid are raw, compressed"),
        ("precision", "int4", "valid are auto, fp32, fp16, int8"),
        ("precision", "fp16", "only change while the node is unconfigured"),
        ("engine_dla", 2, "range"),
        ("build_only", True, "only change while the node is unconfigured"),
        ("template_path", 5, "string"),
    ],
)
def test_refused_with_a_reason(client, name, value, reason):
    result = client.set_parameter(name, value)
    assert not result.successful
    assert reason in result.reason.lower() or reason in result.reason
    assert client.state() == "active"


@pytest.mark.parametrize(
    "parameter, sentence",
    [
        ({"search": "everywhere"}, "search cannot be 'everywhere'; valid are full_frame"),
        ({"score_threshold": 2.0}, "score_threshold"),
        ({"max_detections": "many"}, "max_detections"),
        ({"template_id": ""}, "1 to 64 printable characters"),
        ({"template_id": "a" * 65}, "1 to 64 printable characters"),
        ({"contrast": "9640,7600"}, "LOW below HIGH"),
        ({"precision": "half"}, "precision cannot be 'half'; valid are auto, fp32"),
        ({"threads": -1}, "threads"),
    ],
)
def test_bad_start_values_end_the_node_with_one_sentence(start_node, tools, parameter, sentence):
    node = start_node("refused", **parameter)
    assert node.wait() == 1
    assert sentence in node.output and "Traceback" not in node.output


def test_a_whole_number_will_do_for_a_number(start_node, connect, tools):
    start_node(namespace="whole", auto_lost_s=1, score_threshold=0)
    client = connect("whole")
    tools.wait_for(lambda: client.state("detector") == "active")
    request = GetParameters.Request(names=["auto_lost_s", "score_threshold"])
    values = client.call(GetParameters, "detector/get_parameters", request).values
    assert [value.double_value for value in values] == [1.0, 0.0]


def test_help_is_printed_and_nothing_starts():
    command = [sys.executable, "-m", "refdet_ros", "--help"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0 and done.stdout.startswith("usage: detector")


def test_unknown_names_are_warned_of(start_node, tools, tmp_path):
    params = tmp_path / "params.yaml"
    params.write_text(
        "/**:\n  ros__parameters:\n    score_treshold: 0.4\n    use_sim_time: false\n"
    )
    node = start_node(namespace="typo", arguments=["--params-file", str(params)])
    tools.wait_for(lambda: "'score_treshold'" in node.output)
    assert "Did you mean 'score_threshold'?" in node.output
    assert "use_sim_time" not in node.output


def test_unknown_names_without_a_near_one():
    assert unknown_names(["use_sim_time", "qos_overrides./image.reliability", "search"]) == []
    assert unknown_names(["zzz"]) == ["There is no parameter 'zzz', it is ignored."]


@pytest.mark.parametrize(
    "value, expected",
    [
        ("", ()),
        ("a.jpg", ("a.jpg",)),
        ("a.jpg; b.jpg", ("a.jpg", "b.jpg")),
        (["a.jpg", "b;c.jpg"], ("a.jpg", "b;c.jpg")),
        (None, ()),
        ([], ()),
    ],
)
def test_template_path_as_string_or_array(value, expected):
    assert changed(Settings(), {"template_path": value}).template_path == expected


def test_template_path_of_another_type():
    with pytest.raises(ConfigError, match="array of strings"):
        changed(Settings(), {"template_path": 3})
