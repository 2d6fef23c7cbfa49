"""The times of a video's frames, and its pixels of more than 8 bits."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest
import video_files

from refdet_core.cli import main
from refdet_core.live.source import MOST_JITTER_S, StreamClock, open_live_source
from refdet_core.sources import open_source
from refdet_core.video import is_raw_stream

VARIABLE_S = [0.0, 0.1, 0.2, 0.3, 0.35, 0.9, 3.1, 3.2, 3.3, 10.0]


@pytest.fixture
def variable(tmp_path):
    """A video of ten frames at these times: a faster stretch, and two pauses."""
    path = video_files.write_video(tmp_path / "variable.mp4", range(0, 200, 20))
    return video_files.set_times(path, VARIABLE_S)


def test_times_are_those_of_the_frames_not_of_a_rate(variable):
    source = open_source(variable)
    for _ in range(2):
        frames = list(source)
        assert [frame.name for frame in frames] == list(range(10))
        assert [frame.time_s for frame in frames] == pytest.approx(VARIABLE_S, abs=2e-3)
        assert [round(frame.bgr.mean() / 20) for frame in frames] == list(range(10))
    assert source.problems == []


def test_live_has_the_same_times(variable):
    with open_live_source(str(variable)) as source:
        times = []
        while not source.ended:
            frame = source.read(0)
            if frame is not None:
                times.append(frame.time_s)
    assert times == pytest.approx(VARIABLE_S, abs=2e-3)


def test_detect_writes_them_and_loses_a_target_in_a_pause(tmp_path, colour_bundle, square_frame):
    path = tmp_path / "pause.mp4"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"mp4v"), 10, (320, 240))
    for index in range(12):
        writer.write(square_frame("red" if index < 10 else "green"))
    writer.release()
    times_s = [index / 10 for index in range(10)] + [3.1, 3.2]
    video_files.set_times(path, times_s)
    output = tmp_path / "out"
    options = ("--frames", path, "--init", "68,84,32,32", "--output", output, "--search", "auto")
    assert main(["detect", *map(str, options), "--bundle", str(colour_bundle)]) == 0
    lines = [json.loads(line) for line in (output / "detections.jsonl").read_text().splitlines()]
    assert [line["time_s"] for line in lines] == pytest.approx(times_s, abs=2e-3)
    states = [line["targets"]["target"]["state"] for line in lines]
    assert set(states[1:10]) == {"tracking"}
    assert "tracking" not in states[10:]  # nobody saw it for two seconds


def test_a_raw_stream_has_no_times_and_that_is_said(tmp_path):
    path = tmp_path / "raw.mjpeg"
    jpeg = cv2.imencode(".jpg", np.zeros((48, 64, 3), np.uint8))[1].tobytes()
    path.write_bytes(jpeg * 8)
    source = open_source(path)
    times = [frame.time_s for frame in source]
    assert len(times) == 8 and times == sorted(times)
    assert any("no timestamps" in problem for problem in source.problems)


@pytest.mark.parametrize(
    ("start", "raw"),
    [
        (b"\0\0\0\1\x67", True),  # H.264
        (b"\0\0\1\xb3", True),  # MPEG-2
        (b"\0\0\1\xba", False),  # a program stream, which has a clock
        (b"\0\0\0\x20ftyp", False),
        (b"", False),
    ],
)
def test_raw_streams_are_known_by_their_first_bytes(tmp_path, start, raw):
    (tmp_path / "video").write_bytes(start)
    assert is_raw_stream(tmp_path / "video") is raw


@pytest.mark.parametrize("suffix", [".avi", ".mp4", ".mkv"])
def test_a_container_is_no_raw_stream(tmp_path, suffix):
    path = video_files.write_video(tmp_path / ("video" + suffix), range(4))
    assert not is_raw_stream(path)
    source = open_source(path)
    assert [frame.time_s for frame in source] == pytest.approx([0, 0.1, 0.2, 0.3], abs=1e-3)
    assert source.problems == []


def test_16_bit_grey_keeps_its_counts(tmp_path):
    ramp = (7600 + np.arange(64 * 48).reshape(48, 64) * 2040 // 3071).astype(np.uint16)
    if not video_files.write_deep_grey(tmp_path / "thermal.mkv", [ramp] * 4):
        pytest.skip("this OpenCV cannot write 16-bit video")
    source = open_source(tmp_path / "thermal.mkv")
    frames = list(source)
    assert len(frames) == 4 and source.problems == []
    for frame in frames:
        assert frame.bgr.shape == (48, 64, 3)
        assert len(np.unique(frame.bgr)) > 150


S = 10**9


@pytest.mark.parametrize(
    ("stamps_ns", "arrivals_s", "expected_s"),
    [
        # The network delays the second frame; the stamps know better.
        ([S, S + S // 10, S + S // 5], [50.0, 50.3, 50.3], [0.0, 0.1, 0.2]),
        # The camera stood still for three seconds.
        ([S, S + S // 10, 4 * S], [50.0, 50.1, 53.0], [0.0, 0.1, 3.0]),
        # Stamps made up at 25 Hz for a camera of 1 Hz.
        ([S, S + S // 25, S + 2 * S // 25], [50.0, 51.0, 52.0], [0.0, 0.5, 1.5]),
        # A server whose clock jumped by an hour.
        ([S, 3600 * S, 3601 * S], [50.0, 51.0, 52.0], [0.0, 1.5, 2.5]),
        # No stamps.
        ([None, None, None], [50.0, 50.1, 50.3], [0.0, 0.1, 0.3]),
    ],
)
def test_a_streams_stamps_count_as_long_as_they_agree_with_the_arrivals(
    stamps_ns, arrivals_s, expected_s
):
    assert MOST_JITTER_S == 0.5
    clock = StreamClock()
    seconds = [clock.time_s(*frame) for frame in zip(stamps_ns, arrivals_s)]
    assert seconds == pytest.approx(expected_s)
