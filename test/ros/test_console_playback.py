"""A bag with camera images and results, played to one browser."""

from __future__ import annotations

import array
import asyncio

import cv2
import numpy as np
import pytest

pytest.importorskip("rclpy")
pytest.importorskip("rosbags.rosbag2")

from refdet_core.errors import SourceError
from refdet_ros.bags.types import typestore_for
from refdet_ros.console.playback import Playback, find, recordings

HZ, COUNT, LATENCY_NS = 20, 20, 130_000_000
FIRST_NS = 1_700_000_000_000_000_000
TYPES = {
    "/image/compressed": "sensor_msgs/msg/CompressedImage",
    "/detections": "vision_msgs/msg/Detection2DArray",
    "/targets": "refdet_msgs/msg/TargetArray",
}


def messages(results):
    """Bag time, topic and message; each result comes more than two frames after its frame."""
    from builtin_interfaces.msg import Time
    from refdet_msgs.msg import Target, TargetArray
    from sensor_msgs.msg import CompressedImage
    from std_msgs.msg import Header
    from vision_msgs.msg import Detection2D, Detection2DArray, ObjectHypothesisWithPose

    for number in range(COUNT):
        at_ns = FIRST_NS + number * 1_000_000_000 // HZ
        header = Header(stamp=Time(sec=at_ns // 10**9, nanosec=at_ns % 10**9))
        jpeg = cv2.imencode(".jpg", np.full((48, 64, 3), 9 * number, np.uint8))[1]
        data = array.array("B", jpeg.tobytes())
        yield at_ns, "/image/compressed", CompressedImage(header=header, format="jpeg", data=data)
        if results:
            found = Detection2D(header=header, id="7")
            hypothesis = ObjectHypothesisWithPose()
            hypothesis.hypothesis.class_id, hypothesis.hypothesis.score = "car", number / 100
            found.results = [hypothesis]
            detections = Detection2DArray(header=header, detections=[found])
            yield at_ns + LATENCY_NS, "/detections", detections
            target = Target(template_id="car", state=Target.TRACKING, presence=0.9)
            yield at_ns + LATENCY_NS, "/targets", TargetArray(header=header, targets=[target])


def write_bag(path, results=True):
    from rclpy.serialization import serialize_message
    from rosbags.rosbag2 import StoragePlugin, Writer

    store = typestore_for(TYPES.values())
    with Writer(path, version=8, storage_plugin=StoragePlugin.MCAP) as writer:
        topics = {t: writer.add_connection(t, k, typestore=store) for t, k in TYPES.items()}
        for at_ns, topic, message in sorted(messages(results), key=lambda item: item[0]):
            writer.write(topics[topic], at_ns, bytes(serialize_message(message)))
    return path


class Screen:
    """What a browser would be shown, as numbers of frames, and what it would be told."""

    def __init__(self):
        self.shown, self.told = [], []

    def show(self, shown):
        number = round((shown.frame.stamp_ns - FIRST_NS) * HZ / 1e9)
        if shown.result is not None:
            assert shown.result.boxes[0].score == pytest.approx(number / 100)  # its own
        self.shown.append((number, shown.result is not None))

    @property
    def numbers(self):
        return [number for number, _ in self.shown]


async def until(condition, timeout_s=20):
    for _ in range(timeout_s * 100):
        if condition():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it does not happen")


def play(path, act):
    """Play a bag, and act meanwhile."""
    screen = Screen()

    async def run():
        playback = Playback(path, screen.show, screen.told.append)
        try:
            await act(playback, screen)
        finally:
            await playback.close()

    asyncio.run(run())
    return screen


def test_frames_come_in_order_and_with_their_own_results(tmp_path):
    async def act(playback, screen):
        await until(lambda: screen.told and screen.told[-1]["paused"])

    screen = play(write_bag(tmp_path / "bag"), act)
    assert screen.numbers == sorted(screen.numbers)
    assert sum(matched for _, matched in screen.shown) > COUNT / 2
    assert screen.told[-1]["duration"] == pytest.approx((COUNT - 1) / HZ + 0.13, abs=0.01)


def test_a_bag_without_results_is_shown_frame_by_frame(tmp_path):
    async def act(playback, screen):
        await until(lambda: screen.told and screen.told[-1]["paused"])

    screen = play(write_bag(tmp_path / "bag", results=False), act)
    assert screen.shown == [(number, False) for number in range(COUNT)]


def test_seeking_shows_the_place_and_stays_paused_there(tmp_path):
    async def act(playback, screen):
        await until(lambda: screen.shown)
        playback.pause(True)
        await until(lambda: screen.told and screen.told[-1]["paused"])
        del screen.shown[:]
        playback.seek(0.5)
        await until(lambda: screen.shown)
        await asyncio.sleep(0.3)
        assert set(screen.numbers) == {10}
        playback.pause(False)
        await until(lambda: screen.numbers[-1] >= 15)

    play(write_bag(tmp_path / "bag"), act)


def test_playing_again_after_the_end_begins_at_the_start(tmp_path):
    async def act(playback, screen):
        playback.seek(0.9)
        await until(lambda: screen.told and screen.told[-1]["paused"])
        del screen.shown[:]
        playback.pause(False)
        await until(lambda: screen.shown)
        assert screen.numbers[0] == 0

    play(write_bag(tmp_path / "bag"), act)


def test_recordings_are_listed_and_found_by_their_listed_names_alone(tmp_path):
    assert recordings(tmp_path / "not there") == []
    write_bag(tmp_path / "first")
    assert [entry["name"] for entry in recordings(tmp_path)] == ["first"]
    assert find(tmp_path, "first") == tmp_path / "first"
    for name in ("..", "", ".", "/", "first/../first", None, 5):
        with pytest.raises(SourceError, match="no such"):
            find(tmp_path, name)
