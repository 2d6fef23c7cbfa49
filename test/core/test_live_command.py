from __future__ import annotations

import json
import subprocess
import sys

import cv2
import fake_cuda
import pytest

from refdet_core.cli import main

RED_ROI = "68,84,32,32"


@pytest.fixture
def flight(tmp_path, square_frame):
    """A video of 30 frames at 10 Hz: red is there for one second, then gone."""
    path = tmp_path / "flight.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 10, (320, 240))
    for index in range(30):
        writer.write(square_frame("red" if index < 10 else "green"))
    writer.release()
    return path


@pytest.fixture
def photo(tmp_path, square_frame):
    path = tmp_path / "photo.png"
    cv2.imwrite(str(path), square_frame("red"))
    return path


def live(colour_bundle, *arguments):
    return main(["live", *map(str, arguments), "--bundle", str(colour_bundle)])


def test_without_a_window_lines_go_to_standard_output_and_the_summary_does_not(
    colour_bundle, flight, capsys
):
    assert live(colour_bundle, flight, "--no-window", "--init", RED_ROI) == 0
    captured = capsys.readouterr()
    lines = [json.loads(line) for line in captured.out.splitlines()]
    assert [line["frame"] for line in lines] == list(range(30))
    assert [line["time_s"] for line in lines] == [index / 10 for index in range(30)]
    states = [line["targets"]["target"]["state"] for line in lines]
    assert set(states[:10]) == {"tracking"} and states[29] == "lost"
    assert {item["track_id"] for line in lines[:10] for item in line["detections"]} == {1}
    assert all(len(line["detections"]) == (1 if line["frame"] < 10 else 0) for line in lines)
    assert "'flight.avi' ended." in captured.err and "frames       30" in captured.err


def test_a_first_box_over_the_border_is_clipped_with_a_warning(colour_bundle, flight, caplog):
    assert live(colour_bundle, flight, "--no-window", "--init", "-8,84,40,32") == 0
    assert "partly outside the 320x240" in caplog.text


def test_with_an_output_folder_lines_and_video_go_there(colour_bundle, flight, tmp_path, capsys):
    output = tmp_path / "out"
    options = ("--no-window", "--init", RED_ROI, "--output", output, "--video")
    assert live(colour_bundle, flight, *options, "--max-frames", 4) == 0
    assert len((output / "detections.jsonl").read_text().splitlines()) == 4
    drawn = cv2.VideoCapture(str(output / "annotated.mp4"))
    assert int(drawn.get(cv2.CAP_PROP_FRAME_COUNT)) == 4
    assert sorted(path.name for path in output.iterdir()) == ["annotated.mp4", "detections.jsonl"]
    summary = capsys.readouterr().out
    assert "stopped." in summary and f"written to   {output}" in summary


@pytest.mark.parametrize("search", ["auto", "track"])
def test_a_photo_needs_no_box(colour_bundle, flight, photo, capsys, search):
    options = ("--no-window", "--template", photo, "--roi", RED_ROI, "--search", search)
    assert live(colour_bundle, flight, *options) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    found = [line["frame"] for line in lines if line["detections"]]
    assert found and 5 in found and max(found) == 9


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "--init X,Y,W,H or --template PHOTO"),
        (["--init", "1,2,3"], "four numbers"),
        (["--init", "400,10,30,30"], "box in the first frame"),
        (["--init", RED_ROI, "--video"], "--video needs --output"),
        (["--init", RED_ROI, "--max-frames", "0"], "--max-frames must be at least 1"),
        (["--init", RED_ROI, "--config", "track_size_lr=9"], "track_size_lr must be between"),
        (["--template", "missing.png"], "does not exist"),
        (["--init", RED_ROI, "--backend", "tensorrt"], "tensorrt backend needs the Python package"),
    ],
)
def test_wrong_arguments_give_one_sentence_and_write_nothing(
    colour_bundle, flight, tmp_path, capsys, arguments, message
):
    output = tmp_path / "out"
    if "--video" not in arguments:
        arguments = [*arguments, "--output", output]
    with fake_cuda.nothing_installed():
        assert live(colour_bundle, flight, "--no-window", *arguments) == 2
    captured = capsys.readouterr()
    assert message in captured.err and len(captured.err.strip().splitlines()) == 1
    assert captured.out == "" and not output.exists()


def test_without_a_display_the_way_out_is_said(colour_bundle, flight, monkeypatch, capsys):
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    assert live(colour_bundle, flight) == 2
    assert "no display" in capsys.readouterr().err


def test_an_opencv_without_windows_is_named_with_the_way_to_get_them(
    colour_bundle, flight, monkeypatch, capsys
):
    def no_windows(*_):
        raise cv2.error("The function is not implemented.")

    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.setenv("WAYLAND_DISPLAY", "wayland-0")
    monkeypatch.setattr(cv2, "namedWindow", no_windows)
    assert live(colour_bundle, flight) == 2
    message = capsys.readouterr().err
    assert "make live" in message and "python3-opencv" in message and "--no-window" in message


def test_a_reader_that_has_read_enough_ends_it_quietly(colour_bundle, square_frame, tmp_path):
    path = tmp_path / "long.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 10, (320, 240))
    for _ in range(500):
        writer.write(square_frame("red"))
    writer.release()
    command = [sys.executable, "-m", "refdet_core.cli", "live", str(path), "--no-window"]
    command += ["--init", RED_ROI, "--bundle", str(colour_bundle)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert json.loads(process.stdout.readline())["frame"] == 0
        process.stdout.close()
        errors = process.stderr.read()
    assert process.returncode == 0 and "Traceback" not in errors and "Broken" not in errors
    assert "stopped." in errors and "frames       500" not in errors
