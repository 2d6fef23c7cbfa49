"""``make console``: camera, node and console in one go, in processes of their own."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

pytest.importorskip("rclpy")
pytest.importorskip("starlette")
pytest.importorskip("uvicorn")

from console_process import PATIENCE_S
from video_files import write_video

REPOSITORY = Path(__file__).resolve().parents[2]


def start(source, folder, *options):
    module = "refdet_ros.console.standalone"
    return subprocess.Popen(
        [sys.executable, "-m", module, str(source), "--port", "0", *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=str(REPOSITORY),
        env={**os.environ, "TMPDIR": str(folder)},
    )


@pytest.mark.parametrize(
    ("content", "words"), [(None, "does not exist"), (b"", "is empty"), (b"no video", "flight.mp4")]
)
def test_a_source_that_cannot_be_opened_ends_it(tmp_path, content, words):
    source, kept = tmp_path / "flight.mp4", tmp_path / "kept"
    kept.mkdir()
    if content is not None:
        source.write_bytes(content)
    process = start(source, kept)
    output, errors = process.communicate(timeout=2 * PATIENCE_S)
    assert words in errors and "Traceback" not in errors
    assert process.returncode == 1 and output == "" and list(kept.iterdir()) == []


def test_it_serves_a_video_until_interrupted(tmp_path):
    video = write_video(tmp_path / "flight.mp4", [90] * 20)
    process = start(video, tmp_path, "--bundle", "base")
    lines = iter(process.stdout)
    log = re.search(r"showing .*flight.mp4; the detector's log: (\S+)", next(lines)).group(1)
    url = re.search(r"open (\S+)", next(lines)).group(1)
    with urllib.request.urlopen(url, timeout=PATIENCE_S) as page:
        assert b"<title>" in page.read()
    deadline = time.monotonic() + PATIENCE_S
    while "refdet-base" not in Path(log).read_text():
        assert time.monotonic() < deadline, Path(log).read_text()
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    assert process.wait(PATIENCE_S) == 0
    assert Path(log).exists()
