"""evaluate_bag on a tiny bag whose right answers are known, offline and against the live node."""

from __future__ import annotations

import json
import re

import cv2
import numpy as np
import pytest

from refdet_core.detector import Detector
from refdet_core.errors import ConfigError, RefdetError, SourceError
from refdet_core.metrics import GroundTruth
from refdet_core.types import Detection
from refdet_ros import evaluate_bag
from refdet_ros.bags.live import LiveDetector, detections_from
from refdet_ros.bags.reading import IMAGE_TYPE, Bag
from refdet_ros.bags.replay import Answer, Replay, replay_offline
from refdet_ros.bags.report import as_dict, as_text, count_id_switches, score_targets
from refdet_ros.bags.targets import cut_reference, targets_from_truth
from refdet_ros.bags.truth import load_ground_truth
from refdet_ros.bags.video import write_video
from refdet_ros.bags.writing import ImageBagWriter

OUTSIDE_BOX = {"x1": 10.0, "y1": 10.0, "x2": 42.0, "y2": 42.0}
FRAMES = 10
ABSENT = (6, 7)  # red is not in these


@pytest.fixture(scope="module", params=["raw", "compressed"])
def transport(request):
    return request.param


@pytest.fixture(scope="module")
def scene(tmp_path_factory, square_frame, squares):
    """Folder with two bags of red and green squares at 10 Hz, and their ground truth."""
    folder = tmp_path_factory.mktemp("scene")
    for transport in ("raw", "compressed"):
        with ImageBagWriter(folder / transport, transport=transport, quality=100) as writer:
            for number in range(FRAMES):
                colours = ("green",) if number in ABSENT else ("red", "green")
                writer.write(square_frame(*colours), 10**18 + number * 10**8)
    x, y = squares["red"]
    box = {"x1": x, "y1": y, "x2": x + 32, "y2": y + 32}
    red = {
        "object_id": "red",
        "labelled_frames": [0, FRAMES - 1],
        "bboxes": [{"frame": n, **box} for n in range(FRAMES) if n not in ABSENT],
    }
    x, y = squares["green"]
    box = {"x1": x, "y1": y, "x2": x + 32, "y2": y + 32}
    green = {
        "object_id": "green",
        "labelled_frames": [2, 5],
        "references": [{"frame": 3, **box}],
        "bboxes": [{"frame": n, **box} for n in range(2, 6)],
    }
    truth = [{"video_id": "squares", "annotations": [red, green]}]
    (folder / "truth.json").write_text(json.dumps(truth))
    return folder


def run(capsys, *arguments):
    code = evaluate_bag.main([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


# Ground truth


def test_ground_truth(scene):
    red, green = load_ground_truth(scene / "truth.json")
    assert red.truth.labelled_frames == (0, FRAMES - 1)
    assert set(red.truth.boxes_xyxy) == set(range(FRAMES)) - set(ABSENT)
    assert list(red.spread_references(3, FRAMES)) == [0, 4, 9]
    assert list(red.spread_references(3, 6)) == [0, 2, 5]
    assert list(red.spread_references(1, FRAMES)) == [0]
    assert len(red.spread_references(99, FRAMES)) == 8
    assert list(green.references) == [3] and not red.references
    assert not green.within(3).references
    assert [o.truth.object_id for o in load_ground_truth(scene / "truth.json", ["green"])] == [
        "green"
    ]
    later = green.shifted(2)
    assert later.truth.labelled_frames == (0, 3) and list(later.references) == [1]
    assert later.truth.boxes_xyxy[0] == green.truth.boxes_xyxy[2]


BOX = '{"frame": 0, "x1": 1, "y1": 1, "x2": 5, "y2": 5}'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "not JSON"),
        ("{", "not JSON"),
        ("3", "expected form"),
        ("[]", "no video"),
        ("[3]", "expected form"),
        ('[{"video_id": "a"}]', "'annotations' is missing"),
        ('[{"video_id": "a", "annotations": []}]', "no annotated object"),
        ('[{"video_id": "a", "annotations": [{}]}]', "'bboxes' is missing"),
        (
            '[{"video_id": "a", "annotations": [{"object_id": "o", "labelled_frames": [1],'
            f' "bboxes": [{BOX}]}}]}}]',
            "expected form",
        ),
        (
            '[{"video_id": "a", "annotations": [{"object_id": "o", "labelled_frames": [1, 2],'
            f' "bboxes": [{BOX}]}}]}}]',
            "outside labelled_frames",
        ),
        (
            '[{"video_id": "a", "annotations": [{"object_id": "o", "labelled_frames": [0, 2],'
            ' "bboxes": [{"frame": 0, "x1": 5, "y1": 1, "x2": 5, "y2": 5}]}]}]',
            "no area",
        ),
        (
            '[{"video_id": "a", "annotations": [{"object_id": "o", "labelled_frames": [0, 2],'
            f' "bboxes": [{BOX}], "references": [{BOX[:-2]}1}}]}}]}}]',
            "no area",
        ),
    ],
)
def test_broken_ground_truth(tmp_path, text, message):
    path = tmp_path / "truth.json"
    path.write_text(text)
    with pytest.raises(SourceError, match=message) as caught:
        load_ground_truth(path)
    assert "\n" not in str(caught.value)


def test_ground_truth_saved_by_a_windows_editor(scene, tmp_path):
    path = tmp_path / "truth.json"
    path.write_bytes(b"\xef\xbb\xbf" + (scene / "truth.json").read_bytes())
    assert load_ground_truth(path) == load_ground_truth(scene / "truth.json")


def test_choices_in_the_ground_truth(scene, tmp_path):
    with pytest.raises(SourceError, match="cannot be read"):
        load_ground_truth(tmp_path / "no.json")
    with pytest.raises(ConfigError, match=r"no object 'blue'.*red, green"):
        load_ground_truth(scene / "truth.json", ["blue"])
    content = json.loads((scene / "truth.json").read_text())
    both = tmp_path / "two.json"
    both.write_text(json.dumps([*content, {"video_id": "other", "annotations": []}]))
    with pytest.raises(ConfigError, match=r"--video-id: squares, other"):
        load_ground_truth(both)
    assert len(load_ground_truth(both, video_id="squares")) == 2


def test_reference_is_cut_with_its_surroundings():
    frame = np.zeros((100, 200, 3), np.uint8)
    frame[40:50, 100:120] = 255
    reference = cut_reference(frame, (100, 40, 120, 50))
    assert reference.image_bgr.shape == (50, 60, 3)
    assert reference.same_camera
    x1, y1, x2, y2 = (int(value) for value in reference.roi_xyxy)
    assert (reference.image_bgr[y1:y2, x1:x2] == 255).all()
    assert reference.image_bgr.sum() == 255 * 3 * 200
    with pytest.raises(ConfigError, match="outside the 200x100 frame"):
        cut_reference(frame, (500, 40, 520, 50))


# Offline


def test_a_truth_that_may_be_of_other_frames_is_told(
    scene, colour_bundle, tmp_path, capsys, caplog
):
    content = json.loads((scene / "truth.json").read_text())
    content[0]["annotations"][0]["labelled_frames"][1] = 500
    content[0]["annotations"][1]["references"].append({"frame": 400, **OUTSIDE_BOX})
    longer = tmp_path / "longer.json"
    longer.write_text(json.dumps(content))
    options = ("--references-from-ground-truth", "--bundle", colour_bundle)
    assert run(capsys, scene / "raw", "--ground-truth", longer, *options)[0] == 0
    first, second = (record.getMessage() for record in caplog.records)
    assert "continues to frame 500, the bag has 10 images" in first and "--first-frame" in first
    assert second == "green: only 1 of its 2 annotated references are in this bag."
    caplog.clear()
    assert run(capsys, scene / "raw", "--ground-truth", scene / "truth.json", *options)[0] == 0
    assert not caplog.records


def test_offline(scene, transport, colour_bundle, tmp_path, capsys):
    code, output, errors = run(
        capsys,
        scene / transport,
        *("--ground-truth", scene / "truth.json", "--references-from-ground-truth"),
        *("--offline", "--bundle", colour_bundle, "--output", tmp_path / "out"),
    )
    assert code == 0, errors
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert (report["mode"], report["frames_sent"], report["frames_dropped"]) == ("offline", 10, 0)
    red, green = report["targets"]
    # Without references the first box is the reference, and not scored.
    assert red["scores"]["frames"] == 9 and green["scores"]["frames"] == 3
    assert (red["scores"]["present"], red["scores"]["absent"]) == (7, 2)
    for target in (red, green):
        assert target["scores"]["recall"] == 1
        assert target["scores"]["mean_iou"] > 0.9
        assert target["scores"]["st_iou"] > 0.9
    assert red["scores"]["false_alarm_rate"] == 0
    assert (red["frames_found"], green["frames_found"]) == (8, 10)
    assert "recall@0.5" in output and "annotated.mp4" in output
    video = cv2.VideoCapture(str(tmp_path / "out" / "annotated.mp4"))
    assert video.get(cv2.CAP_PROP_FRAME_COUNT) == FRAMES
    assert video.get(cv2.CAP_PROP_FPS) == pytest.approx(10)


def test_offline_with_a_photo_and_its_roi(
    scene, colour_bundle, tmp_path, capsys, square_frame, squares
):
    photo = tmp_path / "photo.png"
    cv2.imwrite(str(photo), square_frame("red", "green"))
    x, y = squares["red"]
    common = ("--offline", "--bundle", colour_bundle, "--template", photo)
    roi = ("--roi", f"{x},{y},32,32")
    truth = ("--ground-truth", scene / "truth.json", "--object-id", "red")
    code, output, _ = run(capsys, scene / "raw", *common, *roi, *truth)
    assert code == 0 and "1.000" in output and "AUC" in output
    # Without ground truth: what was found, and how fast.
    code, output, _ = run(capsys, scene / "raw", *common, *roi)
    assert code == 0 and "8/10" in output and "AUC" not in output


def test_refusals(scene, colour_bundle, tmp_path, capsys):
    photo = tmp_path / "photo.png"
    cv2.imwrite(str(photo), np.zeros((64, 64, 3), np.uint8))
    truth = ("--ground-truth", scene / "truth.json")
    for arguments, message in (
        ((), "Say what to look for"),
        (("--references-from-ground-truth",), "needs --ground-truth"),
        ((*truth, "--template", photo), "--object-id: red, green"),
        ((*truth, "--template", photo, "--references-from-ground-truth"), "Choose one"),
        ((*truth, "--references-from-ground-truth", "-2"), "1-5"),
        ((*truth, "--references-from-ground-truth", "--first-frame", "9"), "no box"),
        (("--template", tmp_path / "no.png"), "does not exist"),
        (("--template", photo, "--topic", "left"), "no image topic 'left'"),
        (("--template", photo, "--roi", "500,500,9,9"), "ROI"),
        (("--template", photo, "--live", "/x", "--search", "tiles"), "--search is for --offline"),
        (("--template", photo, "--iou-threshold", "0"), "--iou-threshold"),
        (("--template", photo, "--output", photo), "Cannot write to"),
    ):
        if "--live" not in arguments:
            arguments = (*arguments, "--offline", "--bundle", colour_bundle)
        code, _, errors = run(capsys, scene / "raw", *arguments)
        assert code == 1, arguments
        assert re.search(message, errors.replace("\n", " ")), errors
        assert "Traceback" not in errors
    for arguments in (["--roi", "1,2,3,4"], ["--template", str(photo), "--roi", "1,2"]):
        with pytest.raises(SystemExit):
            evaluate_bag.main([str(scene / "raw"), *arguments])
        assert "roi" in capsys.readouterr().err.lower()


# The report


def test_report_with_drops_misses_and_false_alarms(scene, colour_bundle, tmp_path):
    with Bag(scene / "raw") as bag:
        topic = bag.image_topic()
        targets = targets_from_truth(bag, topic, load_ground_truth(scene / "truth.json", ["red"]))
        box = targets[0].truth.boxes_xyxy[0]
        answers = {
            number: Answer((Detection("red", 0.9, box), Detection("red", 0.2, (0, 0, 9, 9))), 20.0)
            for number in (0, 1, 2, 6)
        }
        answers[3] = Answer((), 40.0)
        answers[4] = Answer((Detection("somebody else's", 0.9, box),), 40.0)
        replay = Replay("live", FRAMES, answers, wall_s=1.0, camera_hz=10.0)
        results = score_targets(replay, targets)
        write_video(tmp_path / "video.mp4", bag, topic, replay, targets)
    scores = results[0].scores
    # Frame 0 is the reference, 5 and 7-9 were dropped: 1, 2 found; 3, 4 missed; 6 false alarm.
    assert (scores.frames, scores.present, scores.absent) == (5, 4, 1)
    assert (scores.recall, scores.st_iou, scores.false_alarm_rate) == (0.5, 2 / 5, 1.0)
    assert (results[0].found, results[0].answered) == (4, 6)
    assert results[0].mean_score == pytest.approx(0.9)
    report = as_dict(replay, results)
    assert (report["frames_dropped"], report["latency_ms"]["p50"]) == (4, 20.0)
    json.dumps(report)
    text = as_text(replay, results)
    assert "4 dropped" in text and "p50 20.0 ms" in text and "not scored" in text
    assert (tmp_path / "video.mp4").stat().st_size > 1000


@pytest.mark.parametrize(
    "ids, expected",
    [
        ([1, 1, 1, 1], 0),
        ([1, 1, 2, 2], 1),
        ([1, 2, 1, 2], 3),
        ([1, None, None, 1], 0),  # lost in between
        ([1, "elsewhere", 1, 1], 0),  # another id, but not on the object
        ([None, None, None, None], None),
    ],
)
def test_id_switches(ids, expected):
    box, elsewhere = (0.0, 0.0, 10.0, 10.0), (50.0, 0.0, 60.0, 10.0)
    truth = GroundTruth("car", (0, 3), dict.fromkeys(range(4), box))
    found = {
        number: Detection("car", 0.9, elsewhere, 9)
        if track == "elsewhere"
        else Detection("car", 0.9, box, track)
        for number, track in enumerate(ids)
        if track is not None or expected is None
    }
    assert count_id_switches(truth, found, 0.5) == expected


def test_offline_following_reports_id_switches(scene, colour_bundle, tmp_path, capsys):
    code, output, errors = run(
        capsys,
        *(scene / "raw", "--ground-truth", scene / "truth.json", "--object-id", "red"),
        *("--references-from-ground-truth", "1", "--offline", "--bundle", colour_bundle),
        *("--search", "auto", "--output", tmp_path),
    )
    assert code == 0, errors
    assert "id switches" in output.splitlines()[0] and output.splitlines()[2].endswith(" 0")
    target = json.loads((tmp_path / "report.json").read_text())["targets"][0]
    assert target["id_switches"] == 0 and target["frames_found"] >= 4


def test_offline_replay_leaves_no_earlier_templates(scene, colour_bundle):
    with Bag(scene / "raw") as bag, Detector.open(colour_bundle) as detector:
        topic = bag.image_topic()
        red, green = targets_from_truth(bag, topic, load_ground_truth(scene / "truth.json"))
        detector.set_template(red.references, "red")
        replay = replay_offline(bag, topic, detector, [green])
    assert not replay.best("red") and len(replay.best("green")) == FRAMES


# Against the live node


@pytest.fixture(scope="module")
def node(start_node):
    return start_node("drone7")


def test_live(node, scene, tmp_path, capsys):
    code, output, errors = run(
        capsys,
        scene / "raw",
        *("--ground-truth", scene / "truth.json", "--references-from-ground-truth"),
        *("--live", "/drone7", "--output", tmp_path / "out"),
    )
    assert code == 0, errors + node.output
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert report["mode"] == "live" and report["frames_sent"] == FRAMES
    assert report["frames_answered"] + report["frames_dropped"] == FRAMES
    assert report["frames_answered"] > 0
    assert report["latency_ms"]["p50"] > 0
    red = report["targets"][0]
    assert red["scores"]["recall"] == 1 and red["scores"]["mean_iou"] > 0.9
    assert red["scores"]["false_alarm_rate"] in (0, None)
    assert "stamp to detections received" in output


def test_live_refusal_of_a_template_is_passed_on(node, scene, capsys, tmp_path):
    photo = tmp_path / "photo.png"
    cv2.imwrite(str(photo), np.zeros((64, 64, 3), np.uint8))
    code, _, errors = run(
        capsys,
        scene / "raw",
        *("--template", photo, "--roi", "500,500,9,9", "--live", "drone7"),
    )
    assert code == 1 and "ROI" in errors and "64x64" in errors


def test_live_without_a_node():
    with LiveDetector("/nobody", start_timeout_s=0.3) as detector:
        with pytest.raises(RefdetError, match=r"No detector answers on '/nobody/set_template'"):
            detector.wait_until_active(IMAGE_TYPE)
        detector.close()  # twice is harmless


def test_live_with_the_wrong_transport(node):
    wrong = pytest.raises(RefdetError, match=r"/drone7/image/compressed.*image_transport")
    with LiveDetector("drone7", start_timeout_s=4.0) as detector, wrong:
        detector.wait_until_active("sensor_msgs/msg/CompressedImage")


def test_detections_from_a_message():
    from vision_msgs.msg import Detection2D, Detection2DArray, ObjectHypothesisWithPose

    def item(template_id, score, track=""):
        detection = Detection2D(id=track)
        detection.bbox.center.position.x, detection.bbox.center.position.y = 20.0, 30.0
        detection.bbox.size_x, detection.bbox.size_y = 8.0, 4.0
        result = ObjectHypothesisWithPose()
        result.hypothesis.class_id, result.hypothesis.score = template_id, score
        detection.results = [result]
        return detection

    message = Detection2DArray(detections=[item("a", 0.2), item("b", 0.9, "7"), Detection2D()])
    assert detections_from(message) == (
        Detection("b", 0.9, (16.0, 28.0, 24.0, 32.0), 7),
        Detection("a", 0.2, (16.0, 28.0, 24.0, 32.0), None),
    )
