"""Bags: written, read back, restamped and played over DDS."""

from __future__ import annotations

import signal
import struct
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
import video_files
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rclpy.serialization import deserialize_message, serialize_message
from sensor_msgs.msg import CompressedImage, Image

from refdet_core.errors import ConfigError, RefdetError, SourceError
from refdet_core.sources import open_source
from refdet_ros import play_bag, video_to_bag
from refdet_ros.bags.cdr import has_header, read_stamp_ns, restamp
from refdet_ros.bags.frames import frames, frames_at
from refdet_ros.bags.player import BagPlayer, Pacer, message_type, parse_remaps, qos_profile
from refdet_ros.bags.reading import Bag, topic_rate_hz
from refdet_ros.bags.writing import ImageBagWriter
from refdet_ros.video_to_bag import FIRST_STAMP_NS, write_bag

REPOSITORY = Path(__file__).resolve().parents[2]
STAMP_NS = 1_700_000_001_234_567_890


def picture(number):
    image = np.full((24, 40, 3), 10 * number, np.uint8)
    image[:, :20, 1] = 200
    return image


@pytest.fixture
def folder(tmp_path):
    """Five images, each of its own grey."""
    path = tmp_path / "images"
    path.mkdir()
    for number in range(5):
        cv2.imwrite(str(path / f"{number}.png"), picture(number))
    return path


@pytest.fixture
def bag_path(folder, tmp_path):
    """The same as a raw bag at 20 Hz."""
    write_bag(open_source(folder), tmp_path / "bag", fps=20)
    return tmp_path / "bag"


# Writing and reading


@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
@pytest.mark.parametrize("transport", ["raw", "compressed"])
def test_round_trip(folder, tmp_path, storage, transport):
    path = tmp_path / "bag"
    summary = write_bag(
        open_source(folder), path, "cam/image", storage, transport, "front", quality=100, fps=25
    )
    assert (summary.frames, summary.fps, summary.problems) == (5, 25, ())
    assert len(list(path.glob("*.mcap" if storage == "mcap" else "*.db3"))) == 1
    with Bag(path) as bag:
        topic = bag.image_topic()
        assert topic.name == "/cam/image" + ("" if transport == "raw" else "/compressed")
        assert topic.count == 5
        assert topic_rate_hz(bag, topic) == pytest.approx(25)
        for number, (index, time_ns, frame_bgr) in enumerate(frames(bag, topic)):
            assert index == number
            assert time_ns == FIRST_STAMP_NS + number * 40_000_000
            if transport == "raw":
                assert np.array_equal(frame_bgr, picture(number))
            else:
                difference = frame_bgr.astype(int) - picture(number)
                assert abs(difference).mean() < 4
        for message in bag.messages():
            assert read_stamp_ns(message.cdr) == message.time_ns
            ros = deserialize_message(message.cdr, message_type(message.msgtype))
            assert ros.header.frame_id == "front"


def test_a_bag_file_can_be_given_instead_of_its_folder(bag_path):
    with Bag(next(bag_path.glob("*.mcap"))) as bag:
        assert bag.image_topic().count == 5


def test_part_of_a_source(folder, tmp_path):
    source = open_source(folder)
    write_bag(source, tmp_path / "part", fps=10, start_s=0.1, end_s=0.3)
    with Bag(tmp_path / "part") as bag:
        shown = [frame_bgr[0, -1, 0] for _, _, frame_bgr in frames(bag, bag.image_topic())]
        first = next(bag.messages())
    assert shown == [10, 20]
    assert first.time_ns == FIRST_STAMP_NS
    assert write_bag(source, tmp_path / "few", max_frames=2).frames == 2


def test_a_video_keeps_the_times_of_its_frames(tmp_path):
    times_s = [0.0, 0.1, 0.15, 0.9, 3.1, 3.2]
    video = video_files.write_video(tmp_path / "variable.mp4", range(0, 120, 20))
    video_files.set_times(video, times_s)
    summary = write_bag(open_source(video), tmp_path / "bag")
    assert summary.frames == 6 and summary.fps == pytest.approx(5 / 3.2, rel=1e-2)
    write_bag(open_source(video), tmp_path / "part", start_s=0.12, end_s=3.15)
    write_bag(open_source(video), tmp_path / "constant", fps=10)
    expected = {
        "bag": times_s,
        "part": [0.0, 0.75, 2.95],
        "constant": [0.0, 0.1, 0.2, 0.3, 0.4, 0.5],
    }
    for name, seconds in expected.items():
        with Bag(tmp_path / name) as bag:
            stamps = [message.time_ns for message in bag.messages()]
        assert [(stamp - FIRST_STAMP_NS) * 1e-9 for stamp in stamps] == pytest.approx(
            seconds, abs=2e-3
        )


@pytest.mark.parametrize("transport", ["raw", "compressed"])
def test_counts_of_a_thermal_camera_stay_what_they_are(tmp_path, transport):
    counts = (7600 + np.arange(24 * 40).reshape(24, 40)).astype(np.uint16)
    (tmp_path / "thermal").mkdir()
    for number in range(3):
        cv2.imwrite(str(tmp_path / "thermal" / f"{number}.png"), counts + number)
    arguments = [str(tmp_path / "thermal"), str(tmp_path / "bag"), "--transport", transport]
    assert video_to_bag.main(arguments) == 0
    with Bag(tmp_path / "bag") as bag:
        messages = list(bag.messages())
        shown = [frame_bgr for _, _, frame_bgr in frames(bag, bag.image_topic())]
    assert len(shown) == 3 and all(np.ptp(frame_bgr) > 200 for frame_bgr in shown)
    if transport == "raw":
        for number, message in enumerate(messages):
            image = deserialize_message(message.cdr, Image)
            assert image.encoding == "mono16" and image.step == 80
            kept = np.frombuffer(image.data, np.uint16).reshape(24, 40)
            np.testing.assert_array_equal(kept, counts + number)


def test_frames_at(bag_path):
    with Bag(bag_path) as bag:
        found = frames_at(bag, bag.image_topic(), [3, 1])
        assert {number: image[0, -1, 0] for number, image in found.items()} == {1: 10, 3: 30}
        with pytest.raises(ConfigError, match=r"Frame 9 is wanted.*0-4"):
            frames_at(bag, bag.image_topic(), [9])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"fps": 0.0}, "frame rate"),
        ({"fps": float("nan")}, "frame rate"),
        ({"start_s": -1}, "part"),
        ({"start_s": 2, "end_s": 1}, "part"),
        ({"start_s": 99}, "no frame in the chosen part"),
        ({"max_frames": 0}, "At least one frame"),
        ({"quality": 0}, "quality"),
        ({"storage": "rosbag1"}, "mcap, sqlite3"),
        ({"transport": "h264"}, "raw, compressed"),
    ],
)
def test_refused_settings_leave_nothing_behind(folder, tmp_path, options, message):
    with pytest.raises(RefdetError, match=message):
        write_bag(open_source(folder), tmp_path / "bag", **options)
    assert not (tmp_path / "bag").exists()


def test_an_existing_bag_is_not_overwritten(folder, bag_path):
    before = sorted(bag_path.iterdir())
    with pytest.raises(SourceError, match="exists already"):
        write_bag(open_source(folder), bag_path)
    assert sorted(bag_path.iterdir()) == before


def test_command_line(folder, tmp_path, capsys):
    arguments = [str(folder), str(tmp_path / "bag"), "--fps", "5", "--transport", "compressed"]
    assert video_to_bag.main(arguments) == 0
    assert "5 frames on /image/compressed at 5 Hz" in capsys.readouterr().out
    assert video_to_bag.main(arguments) == 1
    assert "exists already" in capsys.readouterr().err
    assert video_to_bag.main([str(tmp_path / "no.mp4"), str(tmp_path / "b")]) == 1
    error = capsys.readouterr().err
    assert "no.mp4' does not exist" in error and error.count("\n") == 1


# Bags that are none


def test_missing_bag(tmp_path):
    with pytest.raises(SourceError, match="does not exist"):
        Bag(tmp_path / "nothing")


def test_a_folder_that_is_no_bag(tmp_path):
    with pytest.raises(SourceError, match=r"metadata\.yaml.*ros2 bag record"):
        Bag(tmp_path)


def test_bag_without_messages(tmp_path):
    with ImageBagWriter(tmp_path / "bag"):
        pass
    with pytest.raises(SourceError, match="no messages"):
        Bag(tmp_path / "bag")


@pytest.mark.parametrize("text", ["", "][", "rosbag2_bagfile_information: {version: 5}", "a: 1"])
def test_broken_metadata_is_told_and_the_storage_is_read(bag_path, text):
    (bag_path / "metadata.yaml").write_text(text)
    with Bag(bag_path) as bag:
        assert bag.image_topic().count == 5 and len(bag.problems) == 1


def test_which_image_topic(bag_path):
    with Bag(bag_path) as bag:
        assert bag.image_topic("image").name == "/image"
        with pytest.raises(ConfigError, match=r"no image topic 'left'.*/image"):
            bag.image_topic("left")


# Stamps inside serialised messages


@pytest.mark.parametrize("frame_id", ["", "c", "cam", "camera_optical_frame"])
def test_restamp_changes_the_stamp_and_nothing_else(frame_id):
    image = Image(height=1, width=2, encoding="rgb8", step=6)
    image.header.frame_id = frame_id
    image.header.stamp.sec, image.header.stamp.nanosec = 5, 6
    image.data.frombytes(b"abcdef")
    cdr = serialize_message(image)
    changed = restamp(cdr, STAMP_NS)
    assert isinstance(changed, bytes) and len(changed) == len(cdr)
    assert changed[:4] == cdr[:4] and changed[12:] == cdr[12:]
    after = deserialize_message(changed, Image)
    assert (after.header.stamp.sec, after.header.stamp.nanosec) == divmod(STAMP_NS, 10**9)
    assert read_stamp_ns(changed) == STAMP_NS
    image.header.stamp = after.header.stamp
    assert after == image


def test_restamp_keeps_the_byte_order():
    little, big = b"\0\1\0\0" + bytes(8) + b"rest", b"\0\0\0\0" + bytes(8) + b"rest"
    assert restamp(little, STAMP_NS)[4:] == struct.pack("<iI", *divmod(STAMP_NS, 10**9)) + b"rest"
    assert restamp(big, STAMP_NS)[4:] == struct.pack(">iI", *divmod(STAMP_NS, 10**9)) + b"rest"
    assert read_stamp_ns(restamp(big, STAMP_NS)) == STAMP_NS


@pytest.mark.parametrize("cdr", [b"", b"\0\1\0\0", b"\0\x07" + bytes(20), b"\1\1" + bytes(20)])
def test_restamp_refuses_what_is_not_plain_cdr(cdr):
    with pytest.raises(RefdetError, match="not plain CDR"):
        restamp(cdr, STAMP_NS)


def test_which_types_have_a_header():
    assert has_header(Image) and has_header(CompressedImage)
    assert not has_header(message_type("std_msgs/msg/String"))
    assert message_type("no_such_msgs/msg/Thing") is None
    assert message_type("nonsense") is None


# Playing


def test_pacer():
    pacer = Pacer(rate=2.0)
    assert pacer.delay_s(5_000_000_000, now_s=100.0) == 0
    assert pacer.delay_s(6_000_000_000, now_s=100.0) == pytest.approx(0.5)
    assert pacer.delay_s(6_000_000_000, now_s=100.7) == pytest.approx(-0.2)
    pacer.restart()
    assert pacer.delay_s(9_000_000_000, now_s=200.0) == 0


def test_remaps():
    assert parse_remaps(["image:=/cam/image", "/a:=b"]) == {"/image": "/cam/image", "/a": "b"}
    for text in ("image", "image:=", ":=x"):
        with pytest.raises(ConfigError, match="FROM:=TO"):
            parse_remaps([text])


def test_offers_what_was_recorded(bag_path):
    with Bag(bag_path) as bag:
        recorded = bag.image_topic().qos
    assert qos_profile(recorded).reliability == ReliabilityPolicy.RELIABLE
    assert qos_profile(None).reliability == ReliabilityPolicy.RELIABLE
    assert qos_profile(recorded, "best_effort").reliability == ReliabilityPolicy.BEST_EFFORT


@pytest.fixture(scope="module")
def client(connect):
    return connect()


def play(client, bag_path, tools, name, **options):
    """Play over DDS; the report and what arrived."""
    qos = QoSProfile(depth=50, reliability=ReliabilityPolicy.RELIABLE)
    received = client.collect(Image, name, qos)
    with Bag(bag_path) as bag:
        player = BagPlayer(client.node, bag, remap={"/image": name}, **options)
        assert player.wait_for_subscribers(10)
        report = player.play()
        tools.wait_for(lambda: len(received) == report.counts["/image"], what="all images")
        player.close()
    return report, received


def test_plays_in_real_time_and_keeps_stamps(client, bag_path, tools):
    report, received = play(client, bag_path, tools, "/kept")
    assert report.counts == {"/image": 5} and not report.stopped
    assert report.wall_s >= 0.19  # five frames at 20 Hz
    for number, message in enumerate(received):
        stamp = message.header.stamp
        assert stamp.sec * 10**9 + stamp.nanosec == FIRST_STAMP_NS + number * 50_000_000
        assert message.header.frame_id == "camera"
        assert np.frombuffer(message.data, np.uint8).tobytes() == picture(number).tobytes()


def test_restamps_with_the_time_of_publishing(client, bag_path, tools):
    published = []
    before = time.time_ns()
    report, received = play(
        client,
        bag_path,
        tools,
        "/restamped",
        restamp_now=True,
        rate=4.0,
        on_publish=lambda *call: published.append(call),
    )
    assert report.wall_s >= 0.04
    stamps = [m.header.stamp.sec * 10**9 + m.header.stamp.nanosec for m in received]
    assert [stamp_ns for _, stamp_ns, _ in published] == stamps
    assert [number for _, _, number in published] == list(range(5))
    assert before <= stamps[0] < stamps[-1] <= time.time_ns()
    assert {m.header.frame_id for m in received} == {"camera"}


def test_player_refuses(client, bag_path):
    with Bag(bag_path) as bag:
        with pytest.raises(ConfigError, match="rate"):
            BagPlayer(client.node, bag, rate=0)
        with pytest.raises(ConfigError, match=r"no topic '/left'.*/image"):
            BagPlayer(client.node, bag, topics=["/left"])
        with pytest.raises(ConfigError, match="reliable"):
            BagPlayer(client.node, bag, reliability="perfect")


def start_play_bag(*arguments):
    return subprocess.Popen(
        [sys.executable, "-m", "refdet_ros.play_bag", *map(str, arguments)],
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_command_loops_until_sigint_and_ends_with_code_0(client, bag_path, tools):
    received = client.collect(Image, "/looped", 50)
    process = start_play_bag(
        bag_path, "--loop", "--restamp", "--remap", "/image:=/looped", "--wait-for-subscribers", 10
    )
    try:
        tools.wait_for(lambda: len(received) > 12, what="a second round")
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate(timeout=100)
    finally:
        process.kill()
    assert process.returncode == 0, errors
    assert "/image:" in output and "Hz" in output and "Stopped" in output
    assert "Traceback" not in errors


def test_command_publishes_clock(client, bag_path, tools):
    clock = client.collect(message_type("rosgraph_msgs/msg/Clock"), "/clock", 50)
    process = start_play_bag(bag_path, "--clock", "--loop", "--qos", "best_effort")
    try:
        tools.wait_for(lambda: clock, what="/clock")
        process.send_signal(signal.SIGTERM)
        output, errors = process.communicate(timeout=100)
    finally:
        process.kill()
    assert process.returncode == 0, errors
    assert "messages" in output and "Traceback" not in errors
    seconds = [message.clock.sec for message in clock]
    assert set(seconds) == {FIRST_STAMP_NS // 10**9}


def test_command_refuses_with_one_sentence(bag_path, tmp_path, capsys):
    for arguments, message in (
        ([tmp_path / "no"], "does not exist"),
        ([bag_path, "--clock", "--restamp"], "choose one"),
        ([bag_path, "--remap", "/image"], "FROM:=TO"),
        ([bag_path, "--rate", "0"], "rate"),
    ):
        assert play_bag.main([str(argument) for argument in arguments]) == 1
        error = capsys.readouterr().err
        assert message in error and error.count("\n") == 1
