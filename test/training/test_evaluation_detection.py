"""Detection protocol: which frames are chosen, and the numbers of hand-made predictions."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("sklearn", reason="evaluation needs scikit-learn")
pytest.importorskip("pandas", reason="prepared data needs pandas")

from refdet_core.errors import ConfigError
from refdet_training.datasets.instance import FrameRef, Instance
from refdet_training.evaluation.detection_numbers import (
    as_answers,
    average_precision,
    expected_calibration_error,
    precision_recall,
    recall_by_size,
    reliability,
    summarise,
)
from refdet_training.evaluation.detection_protocol import (
    DetectionProtocol,
    FrameDetector,
    Prediction,
    absent_queries,
    long_enough,
    own_queries,
    reference_frames,
    run_protocol,
)

TRUTH = (100.0, 100.0, 120.0, 120.0)  # 20 px
ANSWERS = {
    # 20 of 20 rows and columns, 16 of 20 rows, 8 of 20 rows, nothing
    1.0: TRUTH,
    0.8: (100.0, 100.0, 120.0, 116.0),
    0.4: (100.0, 100.0, 120.0, 108.0),
    0.0: (0.0, 0.0, 20.0, 20.0),
}


def prediction(present: bool, score: float, iou: float = 0.0, truth=TRUTH) -> Prediction:
    return Prediction(
        source="made",
        object_video="v",
        object_id="o",
        video_id="v",
        frame=0,
        picture=FrameRef(Path("no.jpg")),
        score=score,
        box_xyxy=ANSWERS[iou],
        truth_xyxy=truth if present else None,
    )


def test_an_outcome_knows_overlap_centre_and_size() -> None:
    right = prediction(True, 0.9, 0.8)
    assert right.iou == pytest.approx(0.8) and right.centre_hit and right.object_px == 20
    wrong = prediction(True, 0.9, 0.0)
    assert wrong.iou == 0 and not wrong.centre_hit
    absent = prediction(False, 0.9, 1.0)
    assert absent.iou == 0 and not absent.centre_hit and absent.object_px == 0


def test_summary_of_hand_made_outcomes() -> None:
    numbers = summarise(
        [
            prediction(True, 0.9, 0.8),
            prediction(True, 0.8, 0.4),
            prediction(True, 0.2, 0.0),
            prediction(False, 0.7),
            prediction(False, 0.1),
        ],
        threshold=0.5,
    )
    assert (numbers["frames"], numbers["present"]) == (5, 3)
    assert numbers["recall_iou50"] == pytest.approx(1 / 3, abs=1e-4)
    assert numbers["recall_iou30"] == pytest.approx(2 / 3, abs=1e-4)
    assert numbers["centre_hit"] == pytest.approx(2 / 3, abs=1e-4)
    assert numbers["mean_iou"] == pytest.approx(0.4)
    assert numbers["fpr"] == 0.5
    assert numbers["found"] == pytest.approx(2 / 3, abs=1e-4)
    # present 0.9 0.8 0.2 against absent 0.7 0.1: 5 of 6 pairs in the right order
    assert numbers["presence_auroc"] == pytest.approx(5 / 6, abs=1e-4)
    # precision is 1 up to both right ones, which are two of three objects
    assert numbers["ap30"] == pytest.approx(2 / 3, abs=1e-4)
    assert numbers["ap50"] == pytest.approx(1 / 3, abs=1e-4)
    # bins 0.1, 0.2, 0.7, 0.8, 0.9 with one frame each: |0.1| |0.2| |0.7| |-0.2| |-0.1| over 5
    assert numbers["ece"] == pytest.approx(1.3 / 5, abs=1e-4)
    assert numbers["recall_by_size"] == {
        "16-32 px": {
            "present": 3,
            "recall_iou50": 0.3333,
            "recall_iou30": 0.6667,
            "centre_hit": 0.6667,
        }
    }


def test_a_score_at_the_threshold_is_reported() -> None:
    numbers = summarise([prediction(True, 0.5, 1.0), prediction(False, 0.5)], threshold=0.5)
    assert numbers["found"] == 1.0 and numbers["fpr"] == 1.0


@pytest.mark.parametrize(
    ("predictions", "missing"),
    [
        ([], {"recall_iou30", "centre_hit", "ap30", "presence_auroc", "fpr", "found", "ece"}),
        ([prediction(True, 0.4, 0.8)], {"presence_auroc", "fpr"}),
        ([prediction(True, 0.4, 0.0)] * 3, {"presence_auroc", "fpr"}),
        ([prediction(False, 0.4)] * 3, {"recall_iou30", "centre_hit", "ap30", "found"}),
    ],
    ids=["empty", "one, present", "all present, all wrong", "all absent"],
)
def test_a_share_of_nothing_is_none_and_never_nan(predictions, missing) -> None:
    numbers = summarise(predictions, 0.5)
    json.dumps(numbers, allow_nan=False)
    nothing = {key for key, value in numbers.items() if value is None}
    assert missing <= nothing
    kept = {"recall_iou30", "ap30", "fpr", "ece"} - missing
    assert not kept & nothing


def test_average_precision_counts_what_was_never_found() -> None:
    scores = np.array([0.9, 0.8, 0.7, 0.6])
    correct = np.array([True, False, True, False])
    # precisions at the two right answers: 1/1 and 2/3, over four objects
    assert average_precision(scores, correct, 4) == pytest.approx((1 + 2 / 3) / 4, abs=1e-4)
    assert average_precision(scores, np.zeros(4, bool), 4) == 0.0
    assert average_precision(scores, np.zeros(4, bool), 0) is None


def test_the_drawn_curve_has_the_reported_area() -> None:
    rng = np.random.default_rng(3)
    predictions = [
        prediction(
            bool(rng.random() < 0.6), round(float(rng.random()), 3), float(rng.choice([0.8, 0]))
        )
        for _ in range(200)
    ]
    answers = as_answers(predictions)
    recall, precision = precision_recall(answers, 0.3)
    assert (np.diff(recall) >= 0).all() and recall[0] == 0 and precision[0] == 1
    area = float((np.diff(recall) * precision[1:]).sum())
    assert area == pytest.approx(summarise(predictions, 0.5)["ap30"], abs=1e-4)
    recall, precision = precision_recall(as_answers([prediction(False, 0.4)]), 0.3)
    assert len(recall) == len(precision) == 0


def test_calibration_error_of_a_confident_liar_and_of_an_honest_one() -> None:
    assert expected_calibration_error(np.full(10, 0.95), np.zeros(10)) == pytest.approx(0.95)
    correct = np.array([True] * 8 + [False] * 2)
    assert expected_calibration_error(np.full(10, 0.8), correct) == pytest.approx(0.0, abs=1e-6)
    assert expected_calibration_error(np.zeros(0), np.zeros(0)) is None


def test_reliability_keeps_the_edges_of_the_score_range() -> None:
    bins = reliability(np.array([0.0, 1.0, 0.95]), np.array([False, True, False]))
    assert [(item.frames, item.share_right) for item in bins] == [(1, 0.0), (2, 0.5)]
    assert bins[1].mean_score == pytest.approx(0.975)


def test_objects_fall_into_the_bin_that_starts_at_their_size() -> None:
    sizes = {15.9: "0-16 px", 16.0: "16-32 px", 128.0: "128 px and more"}
    for size, name in sizes.items():
        answers = as_answers([prediction(True, 0.5, 0.0, (0.0, 0.0, size, size))])
        assert list(recall_by_size(answers)) == [name]
    assert recall_by_size(as_answers([prediction(False, 0.5)])) == {}


def instance(name: str, frames: int, absent=(), family: str = "", video: str = "") -> Instance:
    numbers = range(frames)
    return Instance(
        name,
        video or name,
        "made",
        family or name,
        "",
        {number: FrameRef(Path(f"{name}/{number}.jpg")) for number in numbers},
        {number: TRUTH for number in numbers if number not in absent},
    )


def test_references_are_early_and_looked_at_frames_later() -> None:
    protocol = DetectionProtocol(references=3, frames=5)
    one = instance("a", 100, absent=range(90, 100))
    # the first tenth of the 90 frames with the object: 0 to 8
    assert reference_frames(one, protocol) == [0, 4, 8]
    queries = own_queries(one, protocol)
    assert [query.frame for query in queries] == [9, 31, 54, 76, 99]
    assert [query.truth_xyxy for query in queries] == [TRUTH] * 4 + [None]


def test_absent_frames_are_of_other_families_and_never_of_the_same_video() -> None:
    protocol = DetectionProtocol(references=1, absent=4)
    one = instance("a", 30)
    others = [
        instance("a2", 30, family="a"),
        instance("neighbour", 30, video="a"),
        instance("b", 30),
        instance("c", 3),
    ]
    queries = absent_queries(one, [one, *others], protocol)
    assert [(query.shown.object_id, query.frame) for query in queries] == [
        ("b", 0),
        ("b", 19),
        ("c", 0),
        ("c", 2),
    ]
    assert all(query.truth_xyxy is None for query in queries)
    assert absent_queries(one, [one], protocol) == []


def test_objects_seen_too_rarely_are_left_out_by_name() -> None:
    kept, skipped = long_enough([instance("a", 20), instance("b", 19)], DetectionProtocol())
    assert [item.object_id for item in kept] == ["a"]
    assert [item.object_id for item in skipped] == ["b"] and "19 frames" in skipped[0].reason


@pytest.mark.parametrize(
    "wrong",
    [{"references": 0}, {"references": 6}, {"frames": 0}, {"absent": -1}, {"min_present": 3}],
)
def test_a_protocol_that_cannot_be_run_is_refused(wrong) -> None:
    with pytest.raises(ConfigError):
        DetectionProtocol(**wrong)


class FirstPixel(FrameDetector):
    """Answers the truth with the frame's first pixel as score."""

    def set_references(self, references) -> None:
        self.references = len(references)

    def detect(self, frame_bgr):
        return TRUTH, float(frame_bgr[0, 0, 0]) / 255


def test_damaged_frames_are_listed_and_the_rest_is_measured(tmp_path) -> None:
    import cv2

    one = instance("a", 30)
    frames = {}
    for number in range(30):
        path = tmp_path / f"{number}.png"
        cv2.imwrite(str(path), np.full((4, 4, 3), number, np.uint8))
        frames[number] = FrameRef(path)
    (tmp_path / "29.png").write_bytes(b"not a picture")
    broken = instance("b", 30)
    one = Instance(one.object_id, one.video_id, one.source, one.family, "", frames, one.boxes_xyxy)
    protocol = DetectionProtocol(references=2, frames=3, absent=0)
    predictions, skipped = run_protocol(FirstPixel(), [one, broken], protocol)
    assert [item.frame for item in predictions] == [3, 16]
    assert [item.score for item in predictions] == [3 / 255, 16 / 255]
    assert [item.object_id for item in skipped] == ["a", "b"]
    assert "29.png" in skipped[0].reason
