"""evaluate and publish end to end on the toy model, and the report they leave behind."""

from __future__ import annotations

import argparse
import base64
import csv
import json
import re
import shutil
from html.parser import HTMLParser

import cv2
import numpy as np
import pytest

pytest.importorskip("torch", reason="publishing writes bundles")
pytest.importorskip("pandas", reason="prepared data needs pandas")
pytest.importorskip("sklearn", reason="evaluation needs scikit-learn")
pytest.importorskip("matplotlib", reason="the report has plots")
pytest.importorskip("jinja2", reason="the report is made of templates")
pytest.importorskip("onnx", reason="the toy model is an ONNX graph")

from refdet_core.bundle import load_bundle
from refdet_core.detector_config import DetectorConfig
from refdet_core.errors import ConfigError, SourceError
from refdet_core.types import Reference
from refdet_training.commands import evaluate, publish
from refdet_training.datasets.index import load_instances, write_index
from refdet_training.evaluation import held_out
from refdet_training.evaluation.detection_protocol import DetectionProtocol
from refdet_training.evaluation.held_out import raw_predictions
from refdet_training.evaluation.overrides import detector_config

SIDE = 32
FRAMES = 30
GONE = (20, 21)
COLOURS_BGR = {"red": (0, 0, 255), "dark": (0, 0, 200), "green": (0, 255, 0), "blue": (255, 0, 0)}
SPLITS = {
    "tune": ["red", "dark", "green"],
    "val": ["dark", "blue", "green"],
    "alone": ["blue"],
    "empty": [],
}
SOURCE = "squares"


def place(number: int) -> tuple[int, int]:
    """Left upper corner: 4 mod 8, where a cell of the toy network is centred."""
    return 4 + 8 * (number % 12), 4 + 8 * (number // 4)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """A prepared data set: squares of one colour each that wander and are gone for two frames."""
    root = tmp_path_factory.mktemp("prepared")
    folder = root / SOURCE
    rows = []
    for colour, bgr in COLOURS_BGR.items():
        (folder / colour).mkdir(parents=True)
        for number in range(FRAMES):
            frame = np.full((112, 144, 3), 114, np.uint8)
            box = (np.nan,) * 4
            if number not in GONE:
                x, y = place(number)
                frame[y : y + SIDE, x : x + SIDE] = bgr
                box = (x, y, x + SIDE, y + SIDE)
            cv2.imwrite(str(folder / colour / f"{number}.png"), frame)
            row = {"source": SOURCE, "kind": "", "video_frame": -1, "frame": number}
            row |= dict.fromkeys(("video_id", "object_id", "family"), colour)
            row |= {"picture": f"{colour}/{number}.png"}
            rows.append(row | dict(zip(("x1", "y1", "x2", "y2"), map(float, box), strict=True)))
    write_index(folder, rows)
    (folder / "splits.json").write_text(json.dumps(SPLITS))
    return root


def run(command, *arguments: object) -> None:
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    command.run(parser.parse_args([str(item) for item in arguments]))


@pytest.fixture(scope="module")
def report(prepared, colour_bundle, tmp_path_factory):
    """Folder of a report on the tuning videos, with a threshold that lets the look-alike pass."""
    folder = tmp_path_factory.mktemp("report")
    run(
        evaluate,
        *("--bundle", colour_bundle, "--data", prepared, "--split", "tune", "--output", folder),
        *("--frames", 12, "--baselines", "--config", "score_threshold=0.3", "search=tiles"),
    )
    return folder


def lines(path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_the_numbers_are_those_of_a_model_that_knows_colours(report) -> None:
    numbers = json.loads((report / "report.json").read_text())
    assert numbers["search"]["score_threshold"] == 0.3 and numbers["sources"] == [SOURCE]
    found = numbers["detection"]["overall"]["refdet"]
    # 12 own and 20 absent frames for each of three objects; frames 20 and 21 show nothing
    gone = sum(row["frame"] in {str(n) for n in GONE} for row in own_frames(report))
    assert gone > 0
    assert found["frames"] == 3 * 32 and found["present"] == 36 - gone
    assert found["recall_iou50"] == found["centre_hit"] == found["found"] == 1.0
    assert found["presence_auroc"] == found["ap50"] == 1.0
    # Red and dark are taken for each other: exp(-20 (55 / 255)^2) = 0.394 lies above 0.3. (Dark is
    # even more like red mixed with some background.)
    alarms = [row for row in frames(report) if row["present"] == "False"]
    expected = [row for row in alarms if {row["object_id"], row["video_id"]} == {"red", "dark"}]
    assert found["fpr"] == pytest.approx(len(expected) / len(alarms), abs=1e-4)
    of_red = [float(row["score"]) for row in expected if row["object_id"] == "red"]
    assert len(of_red) == 10 and of_red == pytest.approx([0.394] * 10, abs=1e-3)
    tracked = numbers["tracking"]["overall"]["refdet"]
    assert tracked["sequences"] == 3 and tracked["frames"] == 3 * 29
    assert tracked["presence_f1"] == 1.0
    assert tracked["ao"] > 0.97 and tracked["st_iou"] > 0.97


def frames(report, protocol="detection", method="refdet"):
    return [
        row
        for row in lines(report / "predictions.csv")
        if (row["protocol"], row["method"]) == (protocol, method)
    ]


def own_frames(report):
    return [row for row in frames(report) if row["video_id"] == row["object_video"]]


def test_every_looked_at_frame_is_one_line(report) -> None:
    numbers = json.loads((report / "report.json").read_text())
    for method in ("refdet", "match_template"):
        detection = numbers["detection"]["overall"][method]
        assert len(frames(report, "detection", method)) == detection["frames"]
        tracking = numbers["tracking"]["overall"][method]
        rows = frames(report, "tracking", method)
        assert len(rows) == tracking["frames"] + tracking["sequences"]
    silent = [row for row in frames(report, "tracking") if row["frame"] in ("20", "21")]
    assert silent and all(row["x1"] == row["true_x1"] == "" for row in silent)
    assert {row["reported"] for row in silent} == {"False"}


def test_every_object_is_one_line_per_protocol_and_method(report) -> None:
    rows = lines(report / "sequences.csv")
    assert len(rows) == 3 * 2 * 2
    red = [row for row in rows if row["object_id"] == "red" and row["method"] == "refdet"]
    assert [row["protocol"] for row in red] == ["detection", "tracking"]
    assert float(red[0]["recall_iou50"]) == 1.0 and float(red[1]["ao"]) > 0.97
    assert red[0]["ao"] == red[1]["recall_iou50"] == ""


class Page(HTMLParser):
    """Text, images and whether every tag is closed where it should be."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.images: list[str] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attributes) -> None:
        if tag == "img":
            self.images.append(dict(attributes)["src"])
        elif tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data) -> None:
        self.words.append(data)


def test_the_page_is_valid_and_needs_no_other_file(report) -> None:
    page = Page((report / "report.html").read_text())
    assert page.open == []
    assert len(page.images) >= 6
    for source in page.images:
        kind, _, content = source.partition(";base64,")
        assert kind in ("data:image/png", "data:image/jpeg")
        image = cv2.imdecode(np.frombuffer(base64.b64decode(content), np.uint8), cv2.IMREAD_COLOR)
        assert min(image.shape[:2]) > 200
    text = " ".join(page.words)
    fpr = json.loads((report / "report.json").read_text())["detection"]["overall"]["refdet"]["fpr"]
    for expected in (SOURCE, "match_template", "presence AUROC", f"{fpr:.3f}", "ST-IoU", "red"):
        assert expected in text


def test_the_markdown_has_the_numbers_and_its_pictures_exist(report) -> None:
    text = (report / "report.md").read_text()
    fpr = json.loads((report / "report.json").read_text())["detection"]["overall"]["refdet"]["fpr"]
    row = next(line for line in text.splitlines() if line.startswith("| all | refdet |"))
    assert f"| {fpr:.3f} |" in row
    tables = [line for line in text.splitlines() if line.startswith("|")]
    heading = next(line for line in tables if "presence AUROC" in line)
    assert heading.count("|") == row.count("|")
    links = re.findall(r"\]\((pictures/[^)]+)\)", text)
    assert len(links) >= 6 and all((report / link).is_file() for link in links)


def test_the_worst_cases_show_truth_and_answer(report) -> None:
    alarms = sorted((report / "pictures").glob("false_alarm_*.jpg"))
    # two of each of the two objects that look alike
    assert len(alarms) == 4
    image = cv2.imread(str(alarms[0])).astype(int)
    orange = np.abs(image - (0, 170, 255)).sum(axis=2) < 60
    assert orange.sum() > 100  # the answer's box
    assert not list((report / "pictures").glob("missed_*"))


def test_a_second_report_leaves_no_picture_of_the_first(
    prepared, colour_bundle, report, tmp_path
) -> None:
    folder = tmp_path / "report"
    shutil.copytree(report, folder)
    run(
        evaluate,
        *("--bundle", colour_bundle, "--data", prepared, "--source", SOURCE, "--output", folder),
        *("--protocol", "tracking", "--track-frames", 10),
    )
    assert {path.stem for path in (folder / "pictures").iterdir()} == {"success", "precision"}
    numbers = json.loads((folder / "report.json").read_text())
    assert "detection" not in numbers and numbers["split"] == "val"
    assert numbers["tracking"]["overall"]["refdet"]["frames"] == 3 * 9
    assert "Worst cases" not in (folder / "report.html").read_text()


def test_what_one_video_alone_cannot_tell_is_explained(
    prepared, colour_bundle, report, tmp_path, capsys
) -> None:
    # of two frames looked at, the first and the last one, neither lies in the object's gap
    run(
        evaluate,
        *("--bundle", colour_bundle, "--data", prepared, "--split", "alone"),
        *("--protocol", "detection", "--frames", 2, "--output", tmp_path),
    )
    numbers = json.loads((tmp_path / "report.json").read_text())
    found = numbers["detection"]["by_source"][SOURCE]["refdet"]
    assert found["presence_auroc"] is None and found["fpr"] is None
    (sentence,) = numbers["not_measured"]
    assert f"presence AUROC and FPR of {SOURCE}" in sentence
    assert "split 'alone' needs two families" in sentence
    assert f"not measured: {sentence}" in capsys.readouterr().out.splitlines()
    assert f"Not measured: {sentence}" in (tmp_path / "report.md").read_text().splitlines()
    assert f"Not measured: {sentence}" in Page((tmp_path / "report.html").read_text()).words
    assert json.loads((report / "report.json").read_text())["not_measured"] == []


def test_publish_stores_calibration_threshold_and_scores(
    prepared, colour_bundle, tmp_path, capsys
) -> None:
    folder = tmp_path / "bundle"
    shutil.copytree(colour_bundle, folder)
    run(publish, "--bundle", folder, "--data", prepared, "--baselines")
    bundle = load_bundle(folder)
    assert bundle.calibration != load_bundle(colour_bundle).calibration
    # the look-alike is the strongest answer in a frame without the object
    raw = np.array([0.5845, 1.0])
    highest_absent, right = bundle.calibration(raw, raw)
    assert highest_absent < bundle.score_threshold <= min(right, highest_absent + 0.002)
    assert "too few pairs" in capsys.readouterr().out
    stored = bundle.scores
    assert stored["protocol"].startswith("detection, val split")
    assert stored["calibration"]["split"] == "tune"
    # three families, each seen as absent in the two others and in its own gap
    assert stored["calibration"]["absent_pairs"] == 9
    assert set(stored[SOURCE]) == {"refdet", "match_template"}
    assert stored[SOURCE]["refdet"]["recall_iou50"] == 1.0
    assert stored[SOURCE]["refdet"]["threshold"] == bundle.score_threshold

    run(publish, "--bundle", folder, "--data", prepared, "--keep-calibration")
    again = load_bundle(folder)
    assert again.calibration == bundle.calibration
    assert again.score_threshold == bundle.score_threshold
    assert again.scores["calibration"] == stored["calibration"]
    assert again.scores[SOURCE]["refdet"] == stored[SOURCE]["refdet"]
    assert set(again.scores[SOURCE]) == {"refdet"}


def test_publish_changes_nothing_when_measuring_fails(prepared, colour_bundle, tmp_path) -> None:
    folder = tmp_path / "bundle"
    shutil.copytree(colour_bundle, folder)
    before = (folder / "bundle.yaml").read_text()
    with pytest.raises(SourceError, match="empty"):
        run(publish, "--bundle", folder, "--data", prepared, "--scores-split", "empty")
    assert (folder / "bundle.yaml").read_text() == before


def test_many_objects_at_once_get_the_answers_each_gets_alone(
    prepared, colour_bundle, monkeypatch
) -> None:
    instances = load_instances(prepared, "tune")
    protocol = DetectionProtocol(frames=4)
    together = raw_predictions(load_bundle(colour_bundle), instances, protocol, DetectorConfig())
    monkeypatch.setattr(held_out, "_TEMPLATES_AT_ONCE", 1)
    alone = raw_predictions(load_bundle(colour_bundle), instances, protocol, DetectorConfig())
    assert together[1] == alone[1] == []

    def by_query(predictions):
        return {(item.prediction.object_id, item.prediction.picture): item for item in predictions}

    # three objects, each looked for in four frames of all three videos
    assert len(together[0]) == len(by_query(together[0])) == 3 * 3 * 4
    assert by_query(together[0]) == by_query(alone[0])
    green = [item for item in together[0] if item.object_family == "green"]
    assert {item.shown_family for item in green} == {"red", "dark", "green"}
    for item in green:
        assert (item.prediction.score > 0.99) == item.prediction.present


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["--source", "cars"], "cars"),
        (["--split", "empty"], "empty"),
        (["--config", "searching=tiles"], "searching"),
        (["--references", "9"], "1 to 5"),
        (["--backbone-weights", "no.pth"], "baselines"),
        (["--baselines", "--backbone-weights", "no.pth"], "no.pth"),
        (["--baselines", "--backbone-weights", __file__], "which backbone"),
        (["--protocol", "tracking", "--track-frames", "3"], "at least 10"),
    ],
)
def test_what_cannot_be_measured_is_refused(
    prepared, colour_bundle, tmp_path, arguments, word
) -> None:
    common = ("--bundle", colour_bundle, "--data", prepared, "--output", tmp_path / "report")
    with pytest.raises((ConfigError, SourceError), match=word):
        run(evaluate, *common, *arguments)
    assert not (tmp_path / "report").exists()


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["--config", "score_threshold=0.4"], "omit score_threshold"),
        (["--allowed-fpr", "0"], "between 0 and 1"),
        (["--split", "empty"], "empty"),
    ],
)
def test_what_cannot_be_published_is_refused(
    prepared, colour_bundle, tmp_path, arguments, word
) -> None:
    with pytest.raises((ConfigError, SourceError), match=word):
        run(publish, "--bundle", colour_bundle, "--data", prepared, *arguments)


def test_detector_settings_from_the_command_line() -> None:
    assert detector_config([]) == DetectorConfig()
    chosen = detector_config(['{"search": "full_frame", "nms_iou": 0.5}', "score_threshold=1"])
    assert (chosen.search, chosen.nms_iou, chosen.score_threshold) == ("full_frame", 0.5, 1.0)


@pytest.mark.parametrize(
    "text",
    ["tiles", "{", "[1]", "search=3", "tile_width=1.5", "nms_iou=high", "max_detections=2", "x=[1"],
)
def test_detector_settings_that_make_no_sense_are_refused(text: str) -> None:
    with pytest.raises(ConfigError):
        detector_config([text])


def textured(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    coarse = rng.integers(0, 255, (height // 8, width // 8, 3), dtype=np.uint8)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)


@pytest.mark.parametrize("name", ["match_template", "untrained_backbone"])
def test_baselines_find_a_copy_of_the_reference(name: str, tmp_path) -> None:
    timm = pytest.importorskip("timm")
    import torch

    from refdet_training.evaluation.baselines import MatchTemplate, UntrainedBackbone

    if name == "match_template":
        detector, tolerance = MatchTemplate(), 0.5
    else:
        torch.manual_seed(0)
        backbone = timm.create_model("mobilenetv3_large_075")
        torch.save(backbone.state_dict(), tmp_path / "weights.pth")
        detector = UntrainedBackbone("mobilenetv3_large_075", tmp_path / "weights.pth", level=0)
        tolerance = 8.0
    rng = np.random.default_rng(0)
    photo, frame = textured(rng, 160, 160), textured(rng, 192, 256)
    frame[64:104, 128:168] = photo[56:96, 64:104]
    detector.set_references([Reference(photo, (64.0, 56.0, 104.0, 96.0))])
    box_xyxy, score = detector.detect(frame)
    assert np.abs(np.array(box_xyxy) - (128, 64, 168, 104)).max() <= tolerance
    assert 0.5 < score <= 1
    assert detector.detect(textured(rng, 192, 256))[1] < score
    # So large a frame cannot be shown at the scale at which the object has 48 pixels.
    large = textured(rng, 2400, 3200)
    detector.set_references([Reference(large, (1088.0, 2072.0, 1128.0, 2112.0))])
    box_xyxy, at_another_scale = detector.detect(large)
    assert np.abs(np.array(box_xyxy) - (1088, 2072, 1128, 2112)).max() <= 2 * tolerance
    assert at_another_scale > 0.7
