"""The window itself, on a virtual screen: a mouse draws the box, keys are pressed."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

from refdet_core.live.layout import layout_for
from refdet_core.live.picture import NO_TARGET, colour_of_state

FULL_OPENCV = Path(sys.prefix) / "full_opencv"  # made by bootstrap/, beside the one without windows
FRAMES, FPS = 1200, 20
PATIENCE_S = 60


def opencv_with_windows():
    """The environment for a Python whose OpenCV has windows; None: there is none."""
    has_windows = (
        "import cv2, re; raise SystemExit("
        "re.search(r'GUI: +NONE', cv2.getBuildInformation()) is not None)"
    )
    inherited = os.environ.get("PYTHONPATH")
    for path in (inherited, os.pathsep.join(filter(None, [str(FULL_OPENCV), inherited]))):
        env = dict(os.environ) if path is None else dict(os.environ, PYTHONPATH=path)
        command = [sys.executable, "-c", has_windows]
        if subprocess.run(command, env=env, capture_output=True, check=False).returncode == 0:
            return env
    return None


class Screen:
    """A virtual screen with a mouse and a keyboard."""

    def __init__(self, display, memory, env):
        self.env = dict(env, DISPLAY=display)
        self.env.pop("WAYLAND_DISPLAY", None)
        self._memory = memory

    def do(self, *command):
        done = subprocess.run(
            ["xdotool", *map(str, command)],
            env=self.env,
            capture_output=True,
            text=True,
            check=False,
            timeout=20,
        )
        return done.stdout.strip()

    def picture(self):
        """A screenshot, ``(H, W, 3)`` BGR, from the XWD file that Xvfb keeps its screen in."""
        data = self._memory.read_bytes()
        header = np.frombuffer(data, ">u4", count=25)
        height, row_bytes = int(header[5]), int(header[12])
        start = int(header[0] + 12 * header[19])
        rows = np.frombuffer(data, np.uint8, count=height * row_bytes, offset=start)
        return rows.reshape(height, -1, 4)[:, : int(header[4]), :3]


@pytest.fixture
def screen(tmp_path):
    for program in ("Xvfb", "xdotool"):
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed (apt-get install xvfb xdotool)")
    env = opencv_with_windows()
    if env is None:
        pytest.skip("no OpenCV with windows that can be imported (make setup-window)")
    read, write = os.pipe()
    # A reset, when its last client leaves, would end whoever connects just then.
    command = ["Xvfb", "-displayfd", str(write), "-screen", "0", "1440x900x24", "-noreset"]
    server = subprocess.Popen(
        [*command, "-nolisten", "tcp", "-fbdir", str(tmp_path)],
        pass_fds=[write],
        stderr=subprocess.DEVNULL,
    )
    os.close(write)
    try:
        with os.fdopen(read) as answer:
            display = answer.readline().strip()
        assert display, "Xvfb did not start"
        yield Screen(f":{display}", tmp_path / "Xvfb_screen0", env)
    finally:
        server.terminate()
        server.wait(10)


@pytest.fixture
def flight(tmp_path):
    """A red square that goes to and fro."""
    path = tmp_path / "flight.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), FPS, (320, 240))
    for index in range(FRAMES):
        frame = np.full((240, 320, 3), 114, np.uint8)
        x = 100 + abs(index % 160 - 80)
        frame[100:132, x : x + 32] = (0, 0, 255)
        writer.write(frame)
    writer.release()
    return path


def wait_for(condition, what, process, patience_s=PATIENCE_S):
    deadline = time.monotonic() + patience_s
    while True:
        value = condition()
        if value:
            return value
        assert process.poll() is None, f"refdet ended while waiting for {what}"
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(0.1)


# Qt sometimes leaves its first window black where there is no window manager to map it again.
@pytest.mark.flaky(reruns=3)
@pytest.mark.timeout(300)
def test_draw_a_box_follow_pause_save_quit(screen, flight, colour_bundle, tmp_path):
    output = tmp_path / "out"
    command = [sys.executable, "-m", "refdet_core.cli", "live", flight, "--bundle", colour_bundle]
    process = subprocess.Popen(
        [*map(str, command), "--output", str(output)],
        env=screen.env,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        drive(screen, process, output)
        text, _ = process.communicate(timeout=PATIENCE_S)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 0, text
    assert "stopped." in text and "Traceback" not in text


def drive(screen, process, output):
    layout = layout_for((320, 240))
    wait_for(lambda: screen.do("search", "--onlyvisible", "--name", "refdet live"), "it", process)

    def lines():
        file = output / "detections.jsonl"
        return [json.loads(line) for line in file.read_text().splitlines()]

    def bar_is(state):
        # Without a window manager the window is in the corner of the screen.
        return (screen.picture()[4, 4] == colour_of_state(state)).all()

    def to(x, y):
        place = layout.frame
        screen.do("mousemove", round(place.x + x * layout.scale), round(place.y + y * layout.scale))
        time.sleep(0.2)

    # The first frame stays: red begins at 180, and is nowhere else.
    wait_for(lambda: bar_is(NO_TARGET), "the first frame", process, patience_s=20)
    time.sleep(0.5)
    first = screen.picture()
    assert tuple(map(int, first[_at(layout, 196, 116)])) == pytest.approx((0, 0, 255), abs=40)
    to(180, 100)
    screen.do("mousedown", 1)
    to(200, 120)
    to(212, 132)
    assert lines() == []
    screen.do("mouseup", 1)

    wait_for(lambda: bar_is("tracking"), "the track", process)
    wait_for(lambda: len(lines()) >= 10, "ten frames", process)
    assert all(line["targets"]["target"]["state"] == "tracking" for line in lines())
    for line in lines():
        x1, _, x2, _ = line["detections"][0]["bbox_xyxy"]
        left = 100 + abs(line["frame"] % 160 - 80)
        assert left < (x1 + x2) / 2 < left + 32

    def stands_still():
        before = len(lines())
        time.sleep(0.5)
        return len(lines()) == before

    screen.do("key", "space")
    wait_for(stands_still, "the pause", process)
    paused = screen.picture()
    screen.do("key", "h")
    wait_for(lambda: (screen.picture() != paused)[100:600, 50:800].any(), "the help", process)
    screen.do("key", "s")
    saved = wait_for(lambda: list(output.glob("*_target.png")), "the saved target", process)
    view = cv2.imread(str(saved[0]).replace("_target", "_view"))
    assert view.shape[1::-1] == layout.size
    assert (view[4, 4] == colour_of_state("tracking")).all()
    screen.do("key", "space")
    count = len(lines())
    wait_for(lambda: len(lines()) > count, "more frames", process)
    screen.do("key", "q")


def _at(layout, x, y):
    """Row and column of a frame's point on the screen."""
    return round(layout.frame.y + y * layout.scale), round(layout.frame.x + x * layout.scale)
