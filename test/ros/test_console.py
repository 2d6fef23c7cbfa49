"""The console over a real node: pictures and their boxes, targets, events, settings."""

from __future__ import annotations

import contextlib
import io
import json
import threading
import time
import urllib.error
import urllib.request
import zipfile

import cv2
import numpy as np
import pytest

pytest.importorskip("rclpy")
pytest.importorskip("starlette")
pytest.importorskip("uvicorn")
pytest.importorskip("websockets")

from console_process import Browser, ConsoleProcess

from benchmarks.console.throttle import Throttle
from refdet_ros.console.link import LADDER


class Film:
    """A camera in a thread: squares of these colours at 10 Hz."""

    def __init__(self, tools, client, topic="image"):
        from rclpy.qos import qos_profile_sensor_data
        from sensor_msgs.msg import Image

        self.colours = ("red", "green")
        self.grain = np.zeros((240, 320, 1), np.uint8)
        self._tools = tools
        self._camera = client.node.create_publisher(Image, topic, qos_profile_sensor_data)
        tools.wait_for(self._camera.get_subscription_count, 100, "the node")
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._play, daemon=True)
        self._thread.start()

    def _play(self):
        while not self._stop.wait(0.1):
            frame = self._tools.square_frame(*self.colours) + self.grain
            self._camera.publish(self._tools.image(frame))

    def stop(self):
        self._stop.set()
        self._thread.join(5)


@pytest.fixture(scope="module")
def console(tmp_path_factory):
    process = ConsoleProcess(tmp_path_factory.mktemp("console"))
    yield process
    process.stop()


@pytest.fixture(scope="module")
def film(start_node, connect, tools):
    start_node(search="auto", auto_lost_s=0.3)
    film = Film(tools, connect())
    yield film
    film.stop()


@pytest.fixture
def browser(console, film):
    """A browser of a console at its beginning, whatever the test before has left behind."""
    film.colours = ("red", "green")
    browser = Browser(console)
    browser.reset()
    yield browser
    browser.close()


def box_of(tools, colour):
    return [*tools.SQUARES_XY[colour], tools.SQUARE, tools.SQUARE]


def hold(browser):
    """Hold the newest picture; returns its header and what comes as a sharper one."""
    browser.wait_for(lambda: browser.pictures, what="a picture")
    before = len(browser.pictures)
    browser.wait_for(lambda: len(browser.pictures) > before)
    header = browser.pictures[-1][0]
    browser.send("hold", number=header["number"])
    still = browser.wait_for(
        lambda: next((p for p in browser.pictures[before:] if p[0]["still"]), None),
        what="the still",
    )
    assert still[0]["stamp"] == header["stamp"]
    return header


def draw(browser, tools, colour, **content):
    hold(browser)
    references = [{"held": True, "box": box_of(tools, colour)}]
    answer = browser.ask("set_template", references=references, **content)
    assert answer["success"], answer
    return answer


def seen(browser, template_id):
    """The newest picture's box of a template."""
    if not browser.pictures:
        return None
    result = browser.pictures[-1][0]["result"] or {"boxes": []}
    return next((box for box in result["boxes"] if box["template_id"] == template_id), None)


def upload(console, content, **headers):
    request = urllib.request.Request(
        console.url + "api/pictures", data=content, headers=headers, method="POST"
    )
    with urllib.request.urlopen(request, timeout=20) as response:
        return json.load(response)


def photo(colour_bgr, size=(64, 48)):
    picture = np.full((size[1], size[0], 3), colour_bgr, np.uint8)
    return cv2.imencode(".png", picture)[1].tobytes()


def test_pictures_come_with_the_boxes_of_their_own_stamp(browser, tools):
    draw(browser, tools, "red", template_id="red one")
    box = browser.wait_for(lambda: seen(browser, "red one"), what="the box")
    header, jpeg, _ = browser.pictures[-1]
    assert header["size"] == [320, 240]
    np.testing.assert_allclose(box["xywh"], box_of(tools, "red"), atol=3)
    # The box lies on the square in the very picture it came with.
    picture = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
    x, y, width, height = (int(value) for value in box["xywh"])
    assert picture[y + height // 2, x + width // 2, 2] > 200
    target = header["result"]["targets"][0]
    assert target["template_id"] == "red one"


def test_the_box_applies_to_the_frame_that_was_held(browser, film, tools):
    hold(browser)
    # While the operator draws, the object leaves the picture.
    film.colours = ("green",)
    time.sleep(0.5)
    references = [{"held": True, "box": box_of(tools, "red")}]
    assert browser.ask("set_template", references=references, template_id="gone")["success"]
    content = browser.wait_for(
        lambda: browser.newest["templates"]["templates"], what="the template"
    )
    import base64

    thumbnail = base64.b64decode(content[0]["thumbnails"][0])
    picture = cv2.imdecode(np.frombuffer(thumbnail, np.uint8), cv2.IMREAD_COLOR)
    blue, green, red = picture[picture.shape[0] // 2, picture.shape[1] // 2]
    assert red > 180 and green < 80 and blue < 80


def test_found_lost_and_back_are_noted_with_pictures_and_saved(browser, film, console, tools):
    draw(browser, tools, "red", template_id="=cmd|'/c calc'!A1")
    name = "=cmd|'/c calc'!A1"

    def pictured(kind):
        return any(
            m["type"] == "event" and m["kind"] == kind and m["picture"] for m in browser.seen
        )

    browser.wait_for(lambda: ("found", name) in browser.events() and pictured("found"))
    film.colours = ("green",)
    browser.wait_for(lambda: ("lost", name) in browser.events() and pictured("lost"))
    film.colours = ("red", "green")
    browser.wait_for(lambda: ("back", name) in browser.events())
    number = next(m["number"] for m in browser.seen if m["type"] == "event" and m["picture"])
    with urllib.request.urlopen(f"{console.url}api/events/{number}.jpg", timeout=10) as response:
        assert cv2.imdecode(np.frombuffer(response.read(), np.uint8), 1).shape == (240, 320, 3)
    with urllib.request.urlopen(f"{console.url}api/events.zip", timeout=10) as response:
        archive = zipfile.ZipFile(io.BytesIO(response.read()))
    lines = archive.read("events.csv").decode().splitlines()
    assert any("found" in line and "'=cmd" in line for line in lines)
    assert not any("cmd" in entry for entry in archive.namelist())
    assert any(entry.startswith("pictures/") for entry in archive.namelist())


def test_presence_and_last_seen_are_told(browser, film, tools):
    draw(browser, tools, "red", template_id="car")
    browser.wait_for(lambda: seen(browser, "car"))
    film.colours = ("green",)

    def points():
        return [v["car"] for m in browser.seen if m["type"] == "presence" for _, v in m["points"]
                if "car" in v]  # fmt: skip

    browser.wait_for(lambda: len(points()) > 4 and points()[-1] < 0.3, what="the curve")
    last = browser.newest["presence"]["seen"]["car"]
    np.testing.assert_allclose(last["box"], box_of(tools, "red"), atol=4)
    assert abs(last["time"] - time.time()) < 30


def test_photos_are_marked_and_used(browser, console, tools):
    ids = [upload(console, photo(tools.COLOURS_BGR["green"]))["picture"] for _ in range(2)]
    references = [{"picture": ids[0], "box": [8, 4, 40, 40]}, {"picture": ids[1], "box": None}]
    answer = browser.ask("set_template", template_id="green", references=references)
    assert answer["success"], answer
    browser.wait_for(lambda: seen(browser, "green"), what="the green square")
    assert browser.newest["templates"]["templates"][0]["references"] == 2
    answer = browser.ask("set_template", template_id="green", references=references)
    assert not answer["success"] and "again" in answer["message"]


def test_clearing_and_undo(browser, tools):
    draw(browser, tools, "red", template_id="one")
    draw(browser, tools, "green", template_id="one", append=True)
    draw(browser, tools, "green", template_id="two")

    def counts():
        return {t["template_id"]: t["references"] for t in browser.newest["templates"]["templates"]}

    browser.wait_for(lambda: counts() == {"one": 2, "two": 1})
    browser.ask("clear_template", template_id="")
    browser.wait_for(lambda: counts() == {})
    assert browser.ask("undo")["success"]
    browser.wait_for(lambda: counts() == {"one": 2, "two": 1})
    browser.ask("undo")
    browser.wait_for(lambda: counts() == {"one": 2})
    browser.ask("undo")
    browser.wait_for(lambda: counts() == {"one": 1})


def test_what_somebody_else_set_cannot_be_brought_back(browser, connect, tools):
    from refdet_msgs.srv import SetTemplate

    request = tools.set_template_request(tools.colour_reference("red"), template_id="theirs")
    assert connect().call(SetTemplate, "set_template", request).success
    browser.wait_for(lambda: browser.templates() == ["theirs"])
    assert browser.ask("clear_template", template_id="theirs")["success"]
    answer = browser.ask("undo")
    assert not answer["success"] and "theirs" in answer["message"]


def test_settings_come_with_ranges_and_are_changed_by_the_node(browser):
    settings = {s["name"]: s for s in browser.ask("settings")["settings"]}
    assert settings["search"]["value"] == "auto" and "tiles" in settings["search"]["choices"]
    threshold = settings["score_threshold"]
    assert (threshold["low"], threshold["high"]) == (-1, 1) and threshold["description"]
    assert browser.ask("set_setting", name="score_threshold", value=1)["success"]
    answer = browser.ask("set_setting", name="score_threshold", value=7)
    assert not answer["success"] and answer["message"]
    assert not browser.ask("set_setting", name="search", value="magic")["success"]
    assert not browser.ask("set_setting", name="bundle", value="/etc/passwd")["success"]
    assert browser.ask("set_setting", name="score_threshold", value=0.5)["success"]
    assert browser.ask("set_setting", name="enabled", value=False)["success"]
    browser.wait_for(lambda: browser.newest["status"]["enabled"] is False)
    before = len(browser.pictures)
    # A paused detector answers nothing, the picture goes on.
    browser.wait_for(lambda: len(browser.pictures) > before + 10)
    assert browser.pictures[-1][0]["result"] is None
    assert browser.ask("set_setting", name="enabled", value=True)["success"]


def test_the_heatmap_is_computed_only_while_somebody_wants_it(browser, connect, tools):
    client = connect()
    topic = "/heatmap/compressed"
    draw(browser, tools, "red", template_id="hot")
    assert client.node.count_subscribers(topic) == 0
    browser.send("heatmap", on=True)
    heat = browser.wait_for(lambda: browser.pictures[-1][2], what="a heatmap")
    grey = cv2.imdecode(np.frombuffer(heat, np.uint8), cv2.IMREAD_GRAYSCALE)
    y, x = np.unravel_index(grey.argmax(), grey.shape)
    left, top, side, _ = box_of(tools, "red")
    assert (
        left < x * 320 / grey.shape[1] < left + side and top < y * 240 / grey.shape[0] < top + side
    )
    browser.send("heatmap", on=False)
    browser.wait_for(lambda: client.node.count_subscribers(topic) == 0)


def test_two_browsers_see_the_same_and_one_may_leave(browser, console, tools):
    other = Browser(console)
    other.wait_for(lambda: other.pictures)
    draw(browser, tools, "red", template_id="shared")
    other.wait_for(lambda: other.templates() == ["shared"])
    other.wait_for(lambda: seen(other, "shared"))
    other.close()
    before = len(browser.pictures)
    browser.wait_for(lambda: len(browser.pictures) > before + 3)


def test_a_browser_that_draws_nothing_gets_no_pile_of_pictures(browser, console):
    slow = Browser(console, acknowledge=False)
    slow.wait_for(lambda: slow.pictures)
    time.sleep(2)
    assert len(slow.pictures) <= 2
    slow.close()


def test_over_a_thin_link_pictures_are_small_and_young(browser, console, film):
    # Noise, of which a picture takes many bytes.
    film.grain = np.random.default_rng(1).integers(0, 100, (240, 320, 1), np.uint8)
    with Throttle(console.port, kbit_per_s=250) as radio:
        far = Browser(radio)
        far.wait_for(lambda: len(far.pictures) > 15)
        lags_s = []
        for _ in range(10):
            newest = [int(b.pictures[-1][0]["stamp"]) for b in (browser, far)]
            lags_s.append((newest[0] - newest[1]) / 1e9)
            time.sleep(0.2)
        width, _ = far.pictures[-1][0]["quality"]
        far.close()
    film.grain[:] = 0
    assert width == LADDER[0].width
    # A pile of three seconds' pictures would take as long to come.
    assert np.median(lags_s) < 1.5


@pytest.mark.parametrize(
    "references",
    [
        None,
        [],
        [{}] * 6,
        ["x"],
        [{"picture": "../../etc/passwd", "box": None}],
        [{"held": True, "box": [0, 0, 5, 5]}],  # nothing is held
    ],
)
def test_references_that_are_none_are_refused_with_a_sentence(browser, references):
    answer = browser.ask("set_template", template_id="x", references=references)
    assert not answer["success"] and answer["message"].endswith(".")


@pytest.mark.parametrize("box", [None, [], [1, 2, 3], ["a"] * 4, [5, 5, 0, 0], [900, 900, 9, 9],
                                 [True] * 4, [1e9, 0, 1, 1], {"x": 1}])  # fmt: skip
def test_boxes_that_are_none_are_refused_and_the_frame_stays_held(browser, tools, box):
    hold(browser)
    answer = browser.ask("set_template", references=[{"held": True, "box": box}])
    assert not answer["success"] and answer["message"].endswith(".")
    references = [{"held": True, "box": box_of(tools, "red")}]
    assert browser.ask("set_template", references=references)["success"]


def test_names_are_passed_on_as_they_are_and_have_a_limit(browser, tools):
    hostile = "<img src=x onerror=alert(1)>"
    draw(browser, tools, "red", template_id=hostile)
    browser.wait_for(lambda: browser.templates() == [hostile])
    hold(browser)
    references = [{"held": True, "box": box_of(tools, "red")}]
    answer = browser.ask("set_template", references=references, template_id="x" * 65)
    assert not answer["success"] and "64" in answer["message"]


@pytest.mark.parametrize(
    ("content", "status"),
    [
        (b"", 400),
        (b"GIF89a", 400),
        (b"\xff\xd8\xff", 400),
        (b"\x89PNG\r\n\x1a\n" + b"\0" * 4, 400),
        # Promises 60000x60000 pixels in a few bytes.
        (b"\x89PNG\r\n\x1a\n" + b"\0\0\0\rIHDR" + b"\0\0\xea\x60" * 2 + b"\x08\2\0\0\0", 400),
        (b"\xff\xd8" + b"\0" * (17 * 2**20), 413),
    ],
    ids=["empty", "gif", "cut jpeg", "cut png", "bomb", "large"],
)
def test_uploads_that_are_no_photos_are_refused(console, content, status):
    with pytest.raises((urllib.error.HTTPError, OSError)) as refusal:
        upload(console, content)
    if isinstance(refusal.value, urllib.error.HTTPError):
        assert refusal.value.code == status
        assert json.load(refusal.value)["message"].endswith(".")


@pytest.mark.parametrize("text", ["", "{", "[]", '{"type": 3}', "[" * 9000])
def test_what_is_no_command_ends_the_connection(console, text):
    browser = Browser(console)
    browser._socket.send(text)
    assert browser.closed.wait(60)


def test_strange_commands_are_survived(browser):
    for content in ({"type": "nonsense"}, {"type": "ack", "number": "x"}, {"type": "ping"},
                    {"type": "hold", "number": None}, {"type": "choose", "node": "/nobody"},
                    {"type": "choose", "node": 1}, {"type": "heatmap", "on": "yes"}):  # fmt: skip
        browser.send(content.pop("type"), **content)
    before = len(browser.pictures)
    browser.wait_for(lambda: len(browser.pictures) > before + 3)


def test_a_flood_of_commands_ends_the_connection(console, film):
    browser = Browser(console)
    with contextlib.suppress(Exception):  # whatever websockets raises on a closed one
        for _ in range(3000):
            browser.send("undo")
    assert browser.closed.wait(60)


def test_another_detector_is_found_and_chosen(browser, console, start_node, connect, tools):
    start_node("drone2", search="tiles")
    film = Film(tools, connect("drone2"))
    try:
        other = Browser(console)
        names = lambda: [d["node"] for d in other.newest.get("detectors", {}).get("detectors", [])]  # noqa: E731
        other.wait_for(lambda: names() == ["/detector", "/drone2/detector"])
        other.send("choose", node="/drone2/detector")
        other.wait_for(lambda: other.newest.get("chosen", {}).get("node") == "/drone2/detector")
        other.wait_for(lambda: other.newest["status"].get("state") == "active", 100)
        draw(other, tools, "green", template_id="second")
        other.wait_for(lambda: seen(other, "second"))
        assert browser.templates() == []
        # A search that tells no states: found by what is seen.
        other.wait_for(lambda: ("found", "second") in other.events())
        other.close()
    finally:
        film.stop()


@pytest.fixture(scope="module")
def watcher(connect):
    """A client that sees who subscribes."""
    return connect()


def begin_recording(browser, watcher):
    """Record, and return when the recorder's subscriptions have been discovered."""
    topics = ("/detections", "/targets", "/templates")
    before = {topic: watcher.node.count_subscribers(topic) for topic in topics}
    assert browser.ask("record", on=True)["success"]
    for topic, count in before.items():
        browser.wait_for(lambda t=topic, c=count: watcher.node.count_subscribers(t) > c, what=topic)
    # The node may discover them a little later than the watcher does.
    browser.pictures.clear()
    browser.wait_for(lambda: sum(bool(p[0]["result"]) for p in browser.pictures) > 15)


def end_recording(browser):
    """End the recording; its name."""
    answer = browser.ask("record", on=False)
    assert answer["success"]
    return answer["message"].split()[-1].rstrip(".")


def recordings(browser):
    """What is listed now: the folder, and the names in it."""
    browser.newest.pop("recordings", None)
    browser.send("recordings")
    told = browser.wait_for(lambda: browser.newest.get("recordings"))
    return told["folder"], [entry["name"] for entry in told["recordings"]]


def stamps(browser):
    return {int(picture[0]["stamp"]) for picture in list(browser.pictures)}


def test_a_recording_is_made_played_and_deleted(browser, film, watcher, tools):
    draw(browser, tools, "red", template_id="filmed")
    browser.wait_for(lambda: seen(browser, "filmed"))
    begin_recording(browser, watcher)
    assert not browser.ask("record", on=True)["success"]
    state = browser.wait_for(lambda: browser.newest.get("recording", {}).get("recording"))
    assert state["name"] and state["seconds"] > 0
    name = end_recording(browser)
    assert name in recordings(browser)[1]
    film.colours = ("green",)  # live, the red square is gone
    browser.wait_for(lambda: not seen(browser, "filmed"))
    live = max(stamps(browser))
    browser.pictures.clear()
    assert browser.ask("play", name=name)["success"]

    def box_in_bag():
        shown = [p[0] for p in list(browser.pictures) if int(p[0]["stamp"]) < live]
        results = [header["result"] or {"boxes": []} for header in shown]
        return next((box for result in results for box in result["boxes"]), None)

    box = browser.wait_for(box_in_bag, what="the bag")
    np.testing.assert_allclose(box["xywh"], box_of(tools, "red"), atol=3)
    state = browser.wait_for(lambda: browser.newest.get("playback"))
    assert state["name"] == name and state["duration"] > 1
    browser.wait_for(lambda: browser.newest["playback"]["paused"], what="the end")
    # Seek: the very frame that is sought is shown, and it stands still.
    earliest = min(stamps(browser))
    browser.pictures.clear()
    browser.send("seek", seconds=0)
    first = browser.wait_for(
        lambda: next((p[0] for p in browser.pictures if int(p[0]["stamp"]) <= earliest), None),
        what="the first frame",
    )
    browser.pictures.clear()
    time.sleep(0.5)
    assert stamps(browser) <= {int(first["stamp"])}
    # A target may be set from the recording, too.
    browser.send("hold", number=first["number"])
    references = [{"held": True, "box": box_of(tools, "red")}]
    assert browser.ask("set_template", references=references, template_id="old")["success"]
    browser.send("stop")
    browser.wait_for(lambda: max(stamps(browser), default=0) > live, what="the camera")
    assert browser.ask("delete_recording", name=name)["success"]
    assert name not in recordings(browser)[1]


def test_a_recording_is_an_ordinary_bag(browser, watcher, tools):
    from pathlib import Path

    from refdet_ros.bags.reading import Bag

    draw(browser, tools, "red", template_id="kept")
    browser.wait_for(lambda: seen(browser, "kept"))
    begin_recording(browser, watcher)
    name = end_recording(browser)
    folder, names = recordings(browser)
    assert name in names
    with Bag(Path(folder) / name) as bag:
        counts = {topic.name: topic.count for topic in bag.topics}
        types = {topic.name: topic.msgtype for topic in bag.topics}
    assert counts["/image/compressed"] > 3 and counts["/detections"] > 3 and counts["/targets"] > 3
    assert counts["/templates"] >= 1  # latched: what was looked for when it began
    assert types["/targets"] == "refdet_msgs/msg/TargetArray"
    assert browser.ask("delete_recording", name=name)["success"]


@pytest.mark.parametrize("name", ["..", "../..", "/etc", "", None, 3, ["x"], "a\0b"])
def test_recordings_are_found_by_what_is_listed_only(browser, name):
    for command in ("play", "delete_recording"):
        answer = browser.ask(command, name=name)
        assert not answer["success"] and "no such" in answer["message"]
