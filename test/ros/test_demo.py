"""The demo as a user runs it: a process of its own, with the node as its child."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

from refdet_core.errors import RefdetError
from refdet_core.sources import open_source
from refdet_ros.demo import __main__ as demo
from refdet_ros.node_process import NodeProcess

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def flight(tmp_path_factory, square_frame):
    """Two seconds of a red square moving, as the user's own video, and a photo of it."""
    folder = tmp_path_factory.mktemp("flight")
    writer = cv2.VideoWriter(
        str(folder / "flight.avi"), cv2.VideoWriter.fourcc(*"MJPG"), 10.0, (320, 240)
    )
    for number in range(20):
        writer.write(np.roll(square_frame("red"), 8 * number, axis=1))
    writer.release()
    cv2.imwrite(str(folder / "photo.png"), square_frame("red"))
    return folder


def start_demo(*arguments):
    return subprocess.Popen(
        [sys.executable, "-m", "refdet_ros.demo", *map(str, arguments)],
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def own_run(flight, squares, bundle, output, *more):
    x, y = squares["red"]
    return start_demo(
        *("--video", flight / "flight.avi", "--template", flight / "photo.png"),
        *("--roi", f"{x},{y},32,32", "--bundle", bundle, "--output", output, *more),
    )


def children_of(output):
    """Processes whose output goes to the demo's node.log."""
    log = (output / "node.log").resolve()
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and (entry / "fd" / "1").readlink() == log:
                found.append(int(entry.name))
        except OSError:
            continue
    return found


def test_with_the_users_own_video(flight, squares, colour_bundle, tmp_path):
    (tmp_path / "out" / "bag").mkdir(parents=True)  # of an earlier run
    process = own_run(flight, squares, colour_bundle, tmp_path / "out")
    output, errors = process.communicate(timeout=100)
    assert process.returncode == 0, output + errors
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert report["frames_sent"] == 20 and report["frames_answered"] > 0
    assert report["targets"][0]["scores"] is None
    # Nearly always in view, but halfway out of it once.
    assert report["targets"][0]["frames_found"] > 0.6 * report["frames_answered"]
    for name in (
        "report.html",
        "annotated.mp4",
        "contact_sheet.png",
        "report.json",
        "references",
        "bag",
    ):
        assert (tmp_path / "out" / name).exists() and name in output
    assert cv2.imread(str(tmp_path / "out" / "contact_sheet.png")) is not None
    assert len(list(open_source(tmp_path / "out" / "annotated.mp4"))) == 20
    assert not children_of(tmp_path / "out")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_demo_leaves_no_process(
    flight, squares, colour_bundle, tmp_path, tools, number
):
    process = own_run(flight, squares, colour_bundle, tmp_path, "--search", "auto")
    tools.wait_for((tmp_path / "node.log").exists, what="the node's start")
    (node,) = tools.wait_for(lambda: children_of(tmp_path), what="the node")
    command = Path(f"/proc/{node}/cmdline")  # a process has its parent's until it runs its program
    tools.wait_for(lambda: b"search:=auto" in command.read_bytes(), what="the node's program")
    time.sleep(0.5)
    process.send_signal(number)
    _, errors = process.communicate(timeout=100)
    assert process.returncode == 130
    assert errors.strip().endswith("demo: stopped.") and "Traceback" not in errors
    assert not children_of(tmp_path)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--video", "{}/flight.avi"], "both a video and a photo"),
        (["--template", "{}/photo.png"], "both a video and a photo"),
        (["--video", "{}/no.avi", "--template", "{}/photo.png"], "no.avi' does not exist"),
        (["--video", "{}/flight.avi", "--template", "{}/no.png"], "no.png' does not exist"),
        (
            ["--video", "{}/flight.avi", "--template", "{}/photo.png", "--seconds", "0"],
            "--seconds must be above 0",
        ),
    ],
)
def test_refusals(flight, tmp_path, arguments, message, monkeypatch, capsys):
    monkeypatch.setattr(demo, "stop_on_sigterm", lambda: None)
    monkeypatch.setattr(demo, "prepare_dds", lambda domain: None)
    code = demo.main([*(text.format(flight) for text in arguments), "--output", str(tmp_path)])
    errors = capsys.readouterr().err
    assert code == 1
    assert message in errors and "Traceback" not in errors


def test_a_node_that_cannot_start_is_explained(flight, squares, tmp_path):
    process = own_run(flight, squares, tmp_path / "no_bundle", tmp_path / "out")
    _, errors = process.communicate(timeout=100)
    assert process.returncode == 1
    assert "no_bundle" in errors and "Traceback" not in errors
    assert not children_of(tmp_path / "out")


def test_a_node_that_ends_by_itself_is_noticed(tmp_path):
    with NodeProcess({"no such name": "1"}, tmp_path / "node.log") as node:
        deadline = time.monotonic() + 20
        with pytest.raises(RefdetError, match="ended with code"):
            while time.monotonic() < deadline:
                node.check()
                time.sleep(0.05)


@pytest.mark.slow
def test_full_demo(tmp_path):
    process = start_demo("--output", tmp_path)
    output, errors = process.communicate(timeout=110)
    assert process.returncode == 0, output + errors
    report = json.loads((tmp_path / "report.json").read_text())
    assert len(report["targets"]) >= 2 and report["frames_sent"] >= 150
    assert all(target["scores"]["frames"] for target in report["targets"])
