"""Tracking protocol: contiguous frames, hand-computed numbers, parity with the got10k toolkit."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

pytest.importorskip("pandas", reason="prepared data needs pandas")

from refdet_core.errors import ConfigError
from refdet_training.datasets.instance import FrameRef, Instance
from refdet_training.evaluation.detection_protocol import FrameDetector
from refdet_training.evaluation.tracking_numbers import bounded_ious, curves, st_iou, summarise
from refdet_training.evaluation.tracking_protocol import (
    Track,
    TrackedFrame,
    Tracker,
    TrackingByDetection,
    TrackingProtocol,
    run_tracking,
    sequence,
)

BOX = (10.0, 20.0, 50.0, 40.0)  # 40 x 20 px


def track(pairs, size=(320, 240)) -> Track:
    """A track of (truth, answer) pairs; the first frame's answer is the truth."""
    frames = [
        TrackedFrame(number, FrameRef(Path("no.jpg")), truth, answer, 0.5)
        for number, (truth, answer) in enumerate([(BOX, BOX), *pairs])
    ]
    return Track("made", "v", "o", size, tuple(frames))


def moved(dx: float, dy: float = 0.0):
    return (BOX[0] + dx, BOX[1] + dy, BOX[2] + dx, BOX[3] + dy)


def test_hand_computed_numbers() -> None:
    # right; moved by half its width (IoU 1/3, 20 px, 0.5 widths); lost; absent and silent;
    # absent and reported
    numbers = summarise(
        [track([(BOX, BOX), (BOX, moved(20)), (BOX, None), (None, None), (None, BOX)])]
    )
    assert (numbers["sequences"], numbers["frames"], numbers["present"]) == (1, 5, 3)
    # IoUs 1 1 1/3 0 with the first frame: above t = 0 ... 0.30 three of four (7 thresholds), above
    # 0.35 ... 0.95 two (13), above 1 none
    assert numbers["success_auc"] == pytest.approx((7 * 0.75 + 13 * 0.5) / 21, abs=1e-4)
    assert numbers["precision_20px"] == 0.75
    # normalised errors 0 0 0.5 inf: two of four up to 0.49, three at 0.5
    assert numbers["normalised_precision_auc"] == pytest.approx((50 * 0.5 + 0.75) / 51, abs=1e-4)
    # without the first frame: 1 1/3 0
    assert numbers["ao"] == pytest.approx((4 / 3) / 3, abs=1e-4)
    assert numbers["sr50"] == numbers["sr75"] == pytest.approx(1 / 3, abs=1e-4)
    # in either: three frames with the object and one false alarm
    assert numbers["st_iou"] == pytest.approx((4 / 3) / 4, abs=1e-4)
    # reported three times, twice with the object, which is there three times
    assert numbers["presence_f1"] == pytest.approx(2 * 2 / (3 + 3), abs=1e-4)


def test_a_perfect_track_is_perfect_but_for_the_threshold_at_one() -> None:
    numbers = summarise([track([(BOX, BOX)] * 3)])
    assert numbers["success_auc"] == pytest.approx(20 / 21, abs=1e-4)
    others = ("precision_20px", "normalised_precision_auc", "ao", "sr50", "sr75", "st_iou")
    assert all(numbers[key] == 1.0 for key in (*others, "presence_f1"))


def test_overall_is_mean_of_sequences_or_pooled_frames_as_each_benchmark_does() -> None:
    long, short = track([(BOX, BOX)] * 4), track([(BOX, None)])
    numbers = summarise([long, short])
    assert numbers["ao"] == 0.8  # four of five frames
    assert numbers["st_iou"] == 0.5  # one of two sequences
    assert numbers["precision_20px"] == 0.75  # 1 and, with its first frame, 0.5


@pytest.mark.parametrize(
    ("tracks", "missing"),
    [
        ([], {"success_auc", "precision_20px", "ao", "sr50", "st_iou", "presence_f1"}),
        ([track([(None, None)] * 2)], {"ao", "sr50", "sr75", "st_iou", "presence_f1"}),
        ([track([(None, BOX)] * 2)], {"ao", "sr50", "sr75"}),
        ([track([(BOX, None)] * 2)], set()),
    ],
    ids=["empty", "absent and silent", "absent and reported", "never found"],
)
def test_a_share_of_nothing_is_none_and_never_nan(tracks, missing) -> None:
    numbers = summarise(tracks)
    json.dumps(numbers, allow_nan=False)
    nothing = {key for key, value in numbers.items() if value is None}
    assert missing <= nothing
    if tracks:
        assert nothing == missing


def test_got10k_overlap_is_cut_at_the_border_and_otb_overlap_is_not() -> None:
    # truth and answer agree inside the frame and differ outside
    inside = track([((300.0, 0.0, 340.0, 20.0), (300.0, 0.0, 360.0, 20.0))])
    assert bounded_ious(inside) == pytest.approx([1.0])
    assert curves(inside).success[14] == 0.5  # IoU 2/3 is not above 0.7


def xywh(boxes_xyxy) -> np.ndarray:
    boxes = np.array(boxes_xyxy, dtype=float)
    return np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], axis=1)


def random_tracks() -> list[Track]:
    rng = np.random.default_rng(0)
    tracks = []
    for length in (30, 7, 55):
        truth = rng.integers(0, 280, (length, 4)) / 2
        truth[:, 2:] = truth[:, :2] + rng.integers(8, 90, (length, 2))
        answer = truth + rng.normal(0, 12, (length, 4)).round(1)
        answer[:, 2:] = np.maximum(answer[:, 2:], answer[:, :2] + 2)
        answer[0] = truth[0]
        frames = tuple(
            TrackedFrame(number, FrameRef(Path("no.jpg")), tuple(pair[0]), tuple(pair[1]), 0.5)
            for number, pair in enumerate(zip(truth, answer, strict=True))
        )
        tracks.append(Track("made", f"v{length}", "o", (160, 120), frames))
    return tracks


def boxes_of(one: Track) -> tuple[np.ndarray, np.ndarray]:
    """Answers and truths as the toolkit wants them."""
    answers, truths = (
        [getattr(f, name) for f in one.frames] for name in ("box_xyxy", "truth_xyxy")
    )
    return xywh(answers), xywh(truths)


def test_overlaps_and_centre_errors_equal_the_got10k_toolkit() -> None:
    metrics = pytest.importorskip("got10k.utils.metrics", reason="the reference implementation")
    for one in random_tracks():
        answers, truths = boxes_of(one)
        overlaps = metrics.rect_iou(answers, truths)
        errors = metrics.center_error(answers, truths)
        success = [(overlaps > step / 20).mean() for step in range(21)]
        assert curves(one).success == pytest.approx(np.array(success))
        within = [(errors <= pixels).mean() for pixels in range(51)]
        assert curves(one).precision == pytest.approx(np.array(within))
        bounded = metrics.rect_iou(answers[1:], truths[1:], bound=one.frame_size)
        assert bounded_ious(one) == pytest.approx(bounded, abs=1e-5)


def test_scores_equal_the_got10k_toolkit() -> None:
    experiments = pytest.importorskip("got10k.experiments", reason="the reference implementation")
    settings = SimpleNamespace(nbins_iou=21, nbins_ce=51)
    otb, got10k = experiments.ExperimentOTB, experiments.ExperimentGOT10k
    tracks = random_tracks()
    successes, precisions, overlaps = [], [], []
    for one in tracks:
        boxes = boxes_of(one)
        success, precision = otb._calc_curves(settings, *otb._calc_metrics(settings, *boxes))
        successes.append(success)
        precisions.append(precision)
        overlaps.append(bounded_ious(one))
    numbers = summarise(tracks)
    assert numbers["success_auc"] == pytest.approx(np.mean(successes), abs=1e-4)
    assert numbers["precision_20px"] == pytest.approx(np.mean(precisions, axis=0)[20], abs=1e-4)
    ao, sr50, _, _ = got10k._evaluate(None, np.concatenate(overlaps), [])
    assert numbers["ao"] == pytest.approx(ao, abs=1e-4)
    assert numbers["sr50"] == pytest.approx(sr50, abs=1e-4)
    assert 0.1 < numbers["sr50"] < 0.9  # else the agreement would say little


def instance(numbers, present, folder: Path = Path("none")) -> Instance:
    frames = {number: FrameRef(folder / f"{number}.png") for number in numbers}
    return Instance("o", "v", "made", "v", "", frames, dict.fromkeys(present, BOX))


@pytest.mark.parametrize(
    ("numbers", "present", "expected"),
    [
        ([], [], []),
        ([4], [4], [4]),
        (range(5), [], []),
        (range(5), [2], [2, 3, 4]),
        # every second frame is kept; the gap of four is a hole
        ([0, 2, 4, 8, 10, 12, 14], [0, 8], [8, 10, 12, 14]),
        # the longer run is the one with more frames after the object came into view
        ([0, 1, 2, 3, 9, 10, 11], [3, 9], [9, 10, 11]),
    ],
)
def test_the_sequence_is_the_longest_contiguous_run_from_the_object_on(
    numbers, present, expected
) -> None:
    assert sequence(instance(numbers, present)) == expected


class Drifting(Tracker):
    """Answers a box one pixel further right with every frame."""

    def start(self, frame_bgr, box_xyxy) -> None:
        self.box = np.array(box_xyxy)

    def update(self, frame_bgr):
        self.box = self.box + np.array([1, 0, 1, 0])
        return tuple(self.box), None


def pictures(folder: Path, count: int) -> None:
    for number in range(count):
        cv2.imwrite(str(folder / f"{number}.png"), np.full((60, 80, 3), number, np.uint8))


def test_a_tracker_is_started_once_and_followed(tmp_path) -> None:
    pictures(tmp_path, 12)
    wanted = instance(range(12), [0, 1, 2], tmp_path)
    tracks, skipped = run_tracking(Drifting(), [wanted], TrackingProtocol())
    assert skipped == [] and len(tracks) == 1
    assert tracks[0].frame_size == (80, 60)
    assert [frame.number for frame in tracks[0].frames] == list(range(12))
    assert [frame.truth_xyxy for frame in tracks[0].frames] == [BOX] * 3 + [None] * 9
    assert tracks[0].frames[0].box_xyxy == BOX
    assert tracks[0].frames[5].box_xyxy == moved(5)
    # two frames with the object, moved by 1 and 2 of 40 px; nine false alarms
    expected = (39 / 41 + 38 / 42) / 11
    assert st_iou(tracks[0]) == pytest.approx(expected, abs=1e-6)
    assert summarise(tracks)["presence_f1"] == pytest.approx(2 * 2 / (11 + 2), abs=1e-4)


def test_a_limit_takes_the_first_frames(tmp_path) -> None:
    pictures(tmp_path, 15)
    tracks, _ = run_tracking(
        Drifting(), [instance(range(15), [0], tmp_path)], TrackingProtocol(frames=10)
    )
    assert [frame.number for frame in tracks[0].frames] == list(range(10))


def test_what_cannot_be_tracked_is_listed(tmp_path) -> None:
    pictures(tmp_path, 12)
    short = instance(range(9), [0], tmp_path)
    gone = instance(range(12), [0], tmp_path / "nowhere")
    tracks, skipped = run_tracking(Drifting(), [short, gone], TrackingProtocol())
    assert tracks == []
    assert "has 9" in skipped[0].reason and "nowhere" in skipped[1].reason


@pytest.mark.parametrize("wrong", [{"min_frames": 1}, {"frames": 5}, {"frames": -1}])
def test_a_protocol_that_cannot_be_run_is_refused(wrong) -> None:
    with pytest.raises(ConfigError):
        TrackingProtocol(**wrong)


class Brightness(FrameDetector):
    """As sure as the frame is bright."""

    def set_references(self, references) -> None:
        self.references = references

    def detect(self, frame_bgr):
        return BOX, float(frame_bgr[0, 0, 0]) / 10


def test_a_finder_tracks_by_reporting_from_its_threshold_on() -> None:
    detector = Brightness()
    tracker = TrackingByDetection(detector, 0.5)
    first = np.zeros((60, 80, 3), np.uint8)
    tracker.start(first, BOX)
    assert len(detector.references) == 1 and detector.references[0].roi_xyxy == BOX
    assert tracker.update(np.full_like(first, 4)) == (None, 0.4)
    assert tracker.update(np.full_like(first, 5)) == (BOX, 0.5)
