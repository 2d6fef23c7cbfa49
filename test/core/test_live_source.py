from __future__ import annotations

import http.server
import re
import subprocess
import sys
import threading
import time

import cv2
import numpy as np
import pytest

from refdet_core.errors import SourceError
from refdet_core.live.source import StreamSource, open_live_source

BOUNDARY = "frame"


def grey(level):
    return np.full((48, 64, 3), level, np.uint8)


@pytest.fixture
def flight(tmp_path):
    """A video of 6 frames at 10 Hz that brighten by 40."""
    path = tmp_path / "flight.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 10, (64, 48))
    for index in range(6):
        writer.write(grey(index * 40))
    writer.release()
    return path


def read_all(source):
    frames = []
    deadline = time.monotonic() + 20
    while not source.ended and time.monotonic() < deadline:
        frame = source.read(0.05)
        if frame is not None:
            frames.append(frame)
    assert source.ended
    return frames


def levels(frames):
    return [round(float(frame.bgr.mean()) / 40) for frame in frames]


class Camera:
    """A camera in the place of ``cv2.VideoCapture``: None in its frames is a failed read, and
    after the last frame it sends nothing until it is released."""

    def __init__(self, *frames):
        self._frames = list(frames)
        self._gone = threading.Event()
        self.released = False

    def get(self, _):
        return 0.0

    def read(self):
        if not self._frames:
            self._gone.wait(5)
            return False, None
        frame = self._frames.pop(0)
        return frame is not None, frame

    def unplug(self):
        self._gone.set()

    def release(self):
        self.released = True


def wait_until(condition):
    deadline = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_a_file_is_read_frame_by_frame_however_slowly(flight):
    with open_live_source(str(flight)) as source:
        assert not source.paced and source.fps == 10 and source.name == "flight.avi"
        first = source.read(0)
        time.sleep(0.3)
        frames = [first, *read_all(source)]
    assert levels(frames) == [0, 1, 2, 3, 4, 5]
    assert [frame.name for frame in frames] == [0, 1, 2, 3, 4, 5]
    assert [frame.time_s for frame in frames] == pytest.approx([0, 0.1, 0.2, 0.3, 0.4, 0.5])
    assert source.left_out == 0


def test_images_have_names_and_no_time(tmp_path):
    for index in (10, 2):
        cv2.imwrite(str(tmp_path / f"{index}.png"), grey(0))
    with open_live_source(str(tmp_path)) as source:
        frames = read_all(source)
    assert [(frame.name, frame.time_s) for frame in frames] == [("2.png", None), ("10.png", None)]


def test_a_camera_shows_the_newest_frame_alone():
    camera = Camera(*(grey(index * 40) for index in range(5)))
    with StreamSource("0", camera, endless=True) as source:
        assert source.paced
        wait_until(lambda: source.left_out == 4)
        newest = source.read(1)
        assert levels([newest]) == [4] and newest.name == 4 and newest.time_s >= 0
        assert source.read(0.01) is None and not source.ended
        camera.unplug()
    assert camera.released


def test_a_camera_that_stops_delivering_is_given_up_after_a_while():
    camera = Camera(grey(0))
    with StreamSource("0", camera, endless=True, stall_s=0.3) as source:
        assert source.read(1) is not None
        began = time.monotonic()
        with pytest.raises(SourceError, match=r"'0' has not delivered a frame for 0\.3 s"):
            while time.monotonic() < began + 5:
                assert source.read(0.02) is None
        assert time.monotonic() - began > 0.25
        camera.unplug()


def test_a_camera_survives_a_frame_that_failed_and_a_stream_ends_with_it():
    camera = Camera(None, grey(40))
    with StreamSource("0", camera, endless=True) as source:
        assert levels([source.read(2)]) == [1]
        camera.unplug()
    with StreamSource("rtsp://camera", Camera(None, grey(40)), endless=False) as source:
        assert read_all(source) == []


CANNOT_BE_OPENED = {
    "rtsp://127.0.0.1:9/video": "stream 'rtsp://127.0.0.1:9/video' cannot be opened",
    "97": "camera '97' cannot be opened",
    "/dev/null": "camera '/dev/null' cannot be opened",
    "nosuchelement ! appsink": "GStreamer",
    "missing.mp4": "'missing.mp4' does not exist",
}


@pytest.mark.parametrize("text", CANNOT_BE_OPENED)
def test_what_cannot_be_opened_is_refused_in_one_sentence(text):
    with pytest.raises(SourceError) as failure:
        open_live_source(text)
    assert CANNOT_BE_OPENED[text] in str(failure.value) and "\n" not in str(failure.value)


def test_the_command_ends_with_that_sentence_alone():
    # In a process of its own: FFmpeg's complaints are held back from its first use on.
    program = (
        "import sys; from refdet_core.cli import main\n"
        "for text in sys.argv[1:]: print(main(['live', text, '--no-window', '--init', '0,0,9,9']))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, *CANNOT_BE_OPENED],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == ["2"] * len(CANNOT_BE_OPENED)
    # Those of OpenCV 4.5's FFmpeg, which begin with a bracket, cannot be held back.
    old = tuple(map(int, cv2.__version__.split(".")[:2])) < (4, 6)
    lines = [line for line in done.stderr.splitlines() if not (old and line.startswith("["))]
    assert len(lines) == len(CANNOT_BE_OPENED), done.stderr
    for line, message in zip(lines, CANNOT_BE_OPENED.values()):
        assert line.startswith("refdet: ") and message in line


class Server(http.server.BaseHTTPRequestHandler):
    """Serves a recording, and as a network camera 30 JPEGs of growing brightness at 50 Hz."""

    recording = b""

    def do_GET(self):
        if self.path == "/flight.avi":
            self._send_recording()
        else:
            self._send_camera()

    def _send_recording(self):
        first, last = 0, len(self.recording) - 1
        asked = re.match(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if asked:
            first, last = int(asked[1]), int(asked[2] or last)
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {first}-{last}/{len(self.recording)}")
        else:
            self.send_response(200)
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Length", str(last + 1 - first))
        self.end_headers()
        self.wfile.write(self.recording[first : last + 1])

    def _send_camera(self):
        self.send_response(200)
        self.send_header("Content-Type", f"multipart/x-mixed-replace;boundary={BOUNDARY}")
        self.end_headers()
        for index in range(30):
            jpeg = cv2.imencode(".jpg", grey(index * 8))[1].tobytes()
            head = (
                f"--{BOUNDARY}\r\nContent-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n\r\n"
            )
            self.wfile.write(head.encode() + jpeg + b"\r\n")
            time.sleep(0.02)

    def log_message(self, *_):
        pass


@pytest.fixture
def server(flight):
    if cv2.CAP_FFMPEG not in cv2.videoio_registry.getStreamBackends():
        pytest.skip("this OpenCV has no FFmpeg")
    Server.recording = flight.read_bytes()
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Server) as running:
        running.daemon_threads = True
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield f"127.0.0.1:{running.server_address[1]}"
        running.shutdown()


def test_a_recording_on_a_server_is_read_whole_and_its_password_not_shown(server):
    with open_live_source(f"http://user:secret@{server}/flight.avi") as source:
        assert source.name == f"http://{server}/flight.avi"
        frames = read_all(source)
    assert levels(frames) == [0, 1, 2, 3, 4, 5]


def test_a_network_camera_is_followed_at_its_newest_frame_until_it_ends(server):
    with open_live_source(f"http://{server}/camera.mjpg") as source:
        assert source.paced
        first = source.read(10)
        time.sleep(0.2)
        later = source.read(10)
        rest = read_all(source)
    # 10 frames came in the meantime; the one that was shown is not the next.
    assert later.name - first.name >= 3
    assert later.time_s - first.time_s >= 0.1
    assert later.bgr.mean() > first.bgr.mean()
    assert [frame.name for frame in rest] == sorted(frame.name for frame in rest)
