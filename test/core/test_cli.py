from __future__ import annotations

import json
import logging
import subprocess
import sys

import cv2
import fake_cuda
import pytest

from refdet_core.backends.onnxruntime import OnnxRuntimeBackend
from refdet_core.cli import main, make_parser
from refdet_core.photo_arguments import read_references


@pytest.fixture
def flight(tmp_path, square_frame):
    """A folder of frames (red in the first two, none in the third) and a photo of red."""
    folder = tmp_path / "flight"
    folder.mkdir()
    for number, colours in enumerate([("red",), ("red", "blue"), ("green",)]):
        cv2.imwrite(str(folder / f"frame{number}.png"), square_frame(*colours))
    photo = tmp_path / "photo.png"
    cv2.imwrite(str(photo), square_frame("red"))
    return folder, photo


def run(colour_bundle, flight, output, *more):
    folder, photo = flight
    return main(
        [
            "detect",
            "--frames",
            str(folder),
            "--template",
            str(photo),
            "--roi",
            "68,84,32,32",
            "--output",
            str(output),
            "--bundle",
            str(colour_bundle),
            *more,
        ]
    )


def test_detections_jsonl_has_a_line_a_frame_in_order(colour_bundle, flight, tmp_path, capsys):
    assert run(colour_bundle, flight, tmp_path / "out") == 0
    lines = [
        json.loads(line) for line in (tmp_path / "out/detections.jsonl").read_text().splitlines()
    ]
    assert [line["frame"] for line in lines] == ["frame0.png", "frame1.png", "frame2.png"]
    assert [len(line["detections"]) for line in lines] == [1, 1, 0]
    (detection,) = lines[1]["detections"]
    assert detection["bbox_xyxy"] == pytest.approx([68, 84, 100, 116], abs=0.5)
    assert detection["template_id"] == "target" and detection["track_id"] is None
    assert 0 <= detection["score"] <= 1
    summary = capsys.readouterr().out
    assert "frames       3" in summary and "network" in summary


def test_a_video_names_frames_by_index_and_can_be_drawn(
    colour_bundle, flight, tmp_path, square_frame
):
    path = tmp_path / "flight.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 10, (320, 240))
    for _ in range(4):
        writer.write(square_frame("red"))
    writer.release()
    output = tmp_path / "out"
    assert run(colour_bundle, (path, flight[1]), output, "--video", "--heatmaps") == 0
    lines = [json.loads(line) for line in (output / "detections.jsonl").read_text().splitlines()]
    assert [line["frame"] for line in lines] == [0, 1, 2, 3]
    drawn = cv2.VideoCapture(str(output / "annotated.mp4"))
    assert int(drawn.get(cv2.CAP_PROP_FRAME_COUNT)) == 4
    heatmap = cv2.imread(str(output / "heatmaps/000000.png"))
    assert heatmap.shape == (240, 320, 3)
    # A video of another run would not belong to the new lines.
    assert run(colour_bundle, flight, output) == 0
    assert not (output / "annotated.mp4").exists()


def test_several_templates_each_with_its_own_roi(colour_bundle, flight, tmp_path, square_frame):
    # The ROI of the first photo would lie outside this one.
    cut_out = tmp_path / "cut_out.png"
    cv2.imwrite(str(cut_out), square_frame("red")[84:116, 68:100])
    assert run(colour_bundle, flight, tmp_path / "out", "--template", str(cut_out)) == 0
    text = (tmp_path / "out/detections.jsonl").read_text().splitlines()
    assert [len(json.loads(line)["detections"]) for line in text] == [1, 1, 0]


@pytest.mark.parametrize(
    "threshold", [["--score-threshold", "0"], ["--config", "score_threshold=0"]]
)
def test_score_threshold_zero_reports_the_best_guess_of_every_frame(
    colour_bundle, flight, tmp_path, threshold
):
    assert run(colour_bundle, flight, tmp_path / "out", *threshold) == 0
    text = (tmp_path / "out/detections.jsonl").read_text().splitlines()
    assert [len(json.loads(line)["detections"]) for line in text] == [1, 1, 1]


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--init", "1,2,3"], "four numbers"),
        (["--init", "68,84,32,32", "--search", "tiles"], "choose the search 'track' or 'auto'"),
        (["--init", "400,84,32,32", "--search", "track"], "box in the first frame"),
        (["--backend", "tensorrt"], "tensorrt backend needs the Python package"),
        (["--score-threshold", "7"], "between 0 and 1"),
        (["--config", "tile_widht=640"], "Unknown settings ['tile_widht']"),
        (["--config", "precision=fp8"], "valid are auto, fp32, fp16, int8"),
        (["--template", "missing.png"], "does not exist"),
        (["--frames", "missing.mp4"], "does not exist"),
        (["--bundle", "missing"], "not a model bundle"),
    ],
)
def test_wrong_input_gives_one_sentence_and_writes_nothing(
    colour_bundle, flight, tmp_path, capsys, more, message
):
    output = tmp_path / "out"
    with fake_cuda.nothing_installed():
        assert run(colour_bundle, flight, output, *more) == 2
    captured = capsys.readouterr()
    assert message in captured.err
    assert len(captured.err.strip().splitlines()) == 1
    assert not output.exists()


def test_what_takes_long_is_told_while_the_detector_opens(
    colour_bundle, flight, tmp_path, capsys, monkeypatch
):
    backend = OnnxRuntimeBackend.open

    def slow(*arguments):
        logging.getLogger("refdet_core.backends.engines").info("The engine is built now.")
        return backend(*arguments)

    monkeypatch.setattr(OnnxRuntimeBackend, "open", slow)
    assert run(colour_bundle, flight, tmp_path / "out") == 0
    assert "refdet: The engine is built now.\n" in capsys.readouterr().err
    assert logging.getLogger("refdet_core").handlers == []


@pytest.fixture
def departure(tmp_path, square_frame):
    """A video of 30 frames at 10 Hz: red for one second, then blue alone."""
    path = tmp_path / "departure.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 10, (320, 240))
    for index in range(30):
        writer.write(square_frame("red" if index < 10 else "blue"))
    writer.release()
    return path


def lines_of(output):
    return [json.loads(line) for line in (output / "detections.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("search", [[], ["--search", "track"], ["--search", "auto"]])
def test_init_follows_what_is_in_the_box_without_any_photo(
    colour_bundle, departure, tmp_path, search
):
    output = tmp_path / "out"
    arguments = ["--frames", str(departure), "--init", "68,84,32,32", "--output", str(output)]
    assert main(["detect", *arguments, *search, "--bundle", str(colour_bundle)]) == 0
    lines = lines_of(output)
    assert [line["time_s"] for line in lines] == [index / 10 for index in range(30)]
    assert [len(line["detections"]) for line in lines] == [1] * 10 + [0] * 20
    (first,) = lines[0]["detections"]
    x1, y1, x2, y2 = first["bbox_xyxy"]
    assert 68 < (x1 + x2) / 2 < 100 and 84 < (y1 + y2) / 2 < 116
    assert {line["detections"][0]["track_id"] for line in lines[:10]} == {1}
    # Half a second without it is a loss; until then it may be hidden.
    states = [line["targets"]["target"] for line in lines]
    presences = [state.pop("presence") for state in states]
    assert min(presences[:10]) > 0.9 and max(presences[10:]) < 0.5
    assert states[12] == {"state": "tracking", "track_id": 1}
    assert states[20] == {"state": "lost", "track_id": 1}


def test_init_with_a_photo_follows_what_the_photo_shows(colour_bundle, flight, departure, tmp_path):
    arguments = ("--init", "68,84,32,32", "--search", "auto")
    assert run(colour_bundle, (departure, flight[1]), tmp_path / "out", *arguments) == 0
    lines = lines_of(tmp_path / "out")
    assert [len(line["detections"]) for line in lines] == [1] * 10 + [0] * 20


def test_a_search_that_follows_nothing_has_no_targets(colour_bundle, flight, tmp_path):
    assert run(colour_bundle, flight, tmp_path / "out") == 0
    assert [(line["targets"], line["time_s"]) for line in lines_of(tmp_path / "out")] == [
        ({}, None)
    ] * 3


def test_without_photo_and_box_there_is_nothing_to_look_for(flight, tmp_path, capsys):
    assert main(["detect", "--frames", str(flight[0]), "--output", str(tmp_path / "out")]) == 2
    assert "give --template PHOTO, or --init" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def with_roi(colour_bundle, flight, tmp_path, roi):
    folder, photo = flight
    return main(
        [
            *("detect", "--frames", str(folder), "--template", str(photo), "--roi", roi),
            *("--output", str(tmp_path / "out"), "--bundle", str(colour_bundle)),
        ]
    )


@pytest.mark.parametrize("roi", ["1,2,3", "0,0,0,5", "a,b,c,d"])
def test_a_roi_that_is_no_rectangle_is_a_usage_error(colour_bundle, flight, tmp_path, capsys, roi):
    with pytest.raises(SystemExit) as stop:
        with_roi(colour_bundle, flight, tmp_path, roi)
    assert stop.value.code == 2
    assert "X,Y,W,H" in capsys.readouterr().err


def test_a_roi_outside_its_photo_is_refused(colour_bundle, flight, tmp_path, capsys):
    assert with_roi(colour_bundle, flight, tmp_path, "1000,1000,50,50") == 2
    height, width = cv2.imread(str(flight[1])).shape[:2]
    assert f"{width}x{height}" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_roi_that_begins_left_of_its_photo_is_clipped_with_a_warning(
    colour_bundle, flight, tmp_path, caplog
):
    assert with_roi(colour_bundle, flight, tmp_path, "-5,-5,30,30") == 0
    assert "partly outside" in caplog.text and "width=25 height=25" in caplog.text


def test_a_roi_without_template_is_a_usage_error(tmp_path):
    with pytest.raises(SystemExit) as stop:
        main(["detect", "--roi", "1,2,3,4", "--frames", "x", "--output", str(tmp_path)])
    assert stop.value.code == 2


def test_the_command_runs_as_a_process(colour_bundle, flight, tmp_path):
    folder, photo = flight
    command = [
        sys.executable,
        "-m",
        "refdet_core.cli",
        "detect",
        "--frames",
        folder,
        "--template",
        photo,
        "--output",
        tmp_path / "out",
        "--bundle",
        colour_bundle,
    ]
    done = subprocess.run(
        [str(part) for part in command], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "3/3" in done.stderr  # the progress bar


@pytest.mark.parametrize("options", [[], ["--same-camera"]])
def test_photos_are_of_the_same_camera_when_that_is_said(flight, options):
    parser = make_parser()
    folder, photo = flight
    given = ["detect", "--frames", str(folder), "--template", str(photo), "--output", "out"]
    parsed = parser.parse_args([*given, *options])
    (reference,) = read_references(parsed.photos, parsed.same_camera)
    assert reference.same_camera == bool(options)
