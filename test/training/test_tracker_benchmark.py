"""The tracker benchmark: sequences, measures and verdicts by hand, and one run on tiny videos."""

from __future__ import annotations

import csv
import json
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("matplotlib", reason="the benchmark draws plots")
pytest.importorskip("pandas", reason="the benchmark reads data sets")

from benchmarks import trackers
from benchmarks.tracking import peers
from benchmarks.tracking.footage import Choice, Footage, load_footage, named
from benchmarks.tracking.goals import judge, judge_speed
from benchmarks.tracking.measures import (
    absence,
    first_found,
    found_again,
    identity_switches,
    time_to_failure,
)
from benchmarks.tracking.methods import Answer, BoxMethod, PhotoMethod
from benchmarks.tracking.numbers import summarise
from benchmarks.tracking.peers import OpenCVTracker
from benchmarks.tracking.plots import write_plots
from benchmarks.tracking.runs import Run, run_sequence
from benchmarks.tracking.sequences import (
    BACK,
    SCENARIOS,
    TRACKING,
    BenchmarkSequence,
    ScenarioSettings,
    back,
    build_sequences,
    elsewhere,
    own_frames,
    removed,
)
from benchmarks.tracking.speed import Times, by_state, measure_speed, speed_sequences
from refdet_core.errors import BackendError, BadReferenceError, ConfigError, SourceError
from refdet_training.datasets.instance import FrameRef, Instance

BOX = (10.0, 10.0, 20.0, 20.0)
HALF = (10.0, 10.0, 20.0, 15.0)  # IoU 0.5 with BOX
CORNER = (18.0, 18.0, 28.0, 28.0)  # IoU 4 / 196 with BOX
OTHER = (100.0, 100.0, 110.0, 110.0)
SHORT = ScenarioSettings(removed_after=5, removed_frames=4, lead_in=4, absences_s=(2.0, 3.0))


def footage(
    name="a", scene=None, frames=10, fps=2.0, size=(64, 48), without=(), folder=""
) -> Footage:
    refs = {n: FrameRef(Path(folder) / name / f"{n}.npy") for n in range(frames)}
    boxes = {n: BOX for n in range(frames) if n not in without}
    instance = Instance(f"{name}_1", name, "made", scene or name, "", refs, boxes)
    return Footage(instance, tuple(range(frames)), fps, size)


def shown(sequence: BenchmarkSequence) -> list[str]:
    return [f"{m.picture.path.parent.name}{m.picture.path.stem}" for m in sequence.frames]


def answered(sequence: BenchmarkSequence, boxes, name="one") -> Run:
    return Run(name, sequence, tuple(Answer(box) for box in boxes))


# ---- sequences


def test_a_removed_object_is_followed_by_frames_of_another_video():
    sequence = removed(footage("a"), [footage("b")], SHORT)
    assert shown(sequence) == ["a0", "a1", "a2", "a3", "a4", "b0", "b1", "b2", "b3"]
    assert [m.truth_xyxy for m in sequence.frames] == [BOX] * 5 + [None] * 4
    assert [m.elsewhere for m in sequence.frames] == [False] * 5 + [True] * 4


def test_a_short_sequence_is_removed_at_its_end_and_a_short_absence_goes_on_with_the_next_video():
    others = [footage("b", frames=1), footage("c", frames=2)]
    sequence = removed(footage("a", frames=2), others, SHORT)
    assert shown(sequence) == ["a0", "a1", "b0", "c0", "c1", "b0"]


def test_the_sequence_goes_on_where_it_was_left_after_the_absence():
    # 2 fps: 2 s away are 4 frames; within 1 s are the frames at 0, 0.5 and 1 s.
    others = [footage("b", frames=20), footage("c", frames=20)]
    first, second = back(footage("a", frames=11), others, SHORT)
    assert shown(first) == [*("a0", "a1", "a2", "a3"), *("b0", "b1", "b2", "b3"), "a4", "a5", "a6"]
    assert first.returns_at == 8
    # The second case is the last possible cut: 3 s away, in the next video.
    assert shown(second)[:4] == ["a4", "a5", "a6", "a7"]
    assert shown(second)[4:10] == [f"c{n}" for n in range(6)]
    assert shown(second)[10:] == ["a8", "a9", "a10"]
    assert (first.case, second.case) == (0, 1)


@pytest.mark.parametrize(
    ("boxes", "share"),
    [
        ("oooooooooooooooooooo", 1.0),
        ("oooooxxxxxxxxxoooooo", 1.0),  # nine frames are no failure
        ("oooooxxxxxxxxxxooooo", 0.25),
        ("ooooo----------ooooo", 0.25),
        ("xxxxxxxxxxxxxxxxxxxx", 0.0),
        ("ooooo-x-x-x-x-xooooo", 0.25),
    ],
)
def test_time_to_failure_is_the_share_before_the_first_failure(boxes, share):
    said = {"o": (0, 0, 10, 10), "x": (90, 90, 99, 99), "-": None}
    assert time_to_failure([(0, 0, 10, 10)] * 20, [said[each] for each in boxes]) == share


def test_time_to_failure_counts_frames_with_the_object_alone():
    box = (0, 0, 10, 10)
    truths, boxes = [box] * 5 + [None] * 30 + [box] * 5, [box] * 5 + [None] * 35
    assert time_to_failure(truths, boxes) == 1.0
    assert time_to_failure([None] * 3, [None] * 3) is None


@pytest.mark.parametrize("away", [0, 3, 4, 6])
def test_the_object_is_in_view_at_the_start_before_the_absence_and_after_it(away):
    # 7 frames allow the one cut at 4.
    assert len(back(footage("a", frames=7), [footage("b")], SHORT)) == 1
    assert back(footage("a", frames=7, without=[away]), [footage("b")], SHORT) == []


def test_absences_are_at_most_so_many_and_apart_by_the_lead_in():
    many = back(footage("a", frames=200), [footage("b")], SHORT)
    starts = [int(shown(item)[0][1:]) for item in many]
    assert starts == [0, 96, 193]
    assert len(back(footage("a", frames=10), [footage("b")], SHORT)) == 1
    assert back(footage("a", frames=6), [footage("b")], SHORT) == []


def test_absent_frames_come_from_another_scene_of_the_same_size_where_there_is_one():
    wanted = footage("a", "lake")
    same_scene, small, alike = footage("b", "lake"), footage("c", size=(32, 24)), footage("d")
    assert elsewhere(wanted, [wanted, same_scene, small, alike]) == [alike]
    assert elsewhere(wanted, [wanted, same_scene, small]) == [small]
    assert elsewhere(wanted, [wanted, same_scene]) == []


def test_without_another_scene_an_object_has_only_its_own_sequence():
    alone = footage("a", frames=30)
    sequences = build_sequences([alone], [alone], SCENARIOS, SHORT)
    assert [item.scenario for item in sequences] == [TRACKING]
    assert sequences[0].frames == own_frames(alone)


def test_what_stands_for_absence_does_not_depend_on_which_videos_are_measured():
    pool = [footage(name, frames=30) for name in "abcd"]
    everything = build_sequences(pool, pool, ["removed"], SHORT)
    only_c = build_sequences(pool[2:3], pool, ["removed"], SHORT)
    assert [shown(item) for item in everything][2] == shown(only_c[0])
    assert len({shown(item)[-1][0] for item in everything}) > 1


def test_frames_of_another_video_are_scaled_to_the_sequence(tmp_path):
    for name, size in (("a", (48, 64)), ("b", (24, 32))):
        (tmp_path / name).mkdir()
        np.save(tmp_path / name / "0.npy", np.full((*size, 3), 7, np.uint8))
    own, other = (footage(name, frames=1, folder=tmp_path) for name in "ab")
    sequence = removed(own, [other], ScenarioSettings(removed_frames=1))
    assert [sequence.read(index).shape for index in (0, 1)] == [(48, 64, 3)] * 2
    assert sequence.read(1).min() == 7


@pytest.mark.parametrize("wrong", [{"cases": 0}, {"absences_s": ()}, {"found_within_s": 0.0}])
def test_a_scenario_without_length_is_refused(wrong):
    with pytest.raises(ConfigError, match="positive"):
        ScenarioSettings(**wrong)


# ---- measures


def test_the_share_of_false_boxes_counts_only_frames_of_other_videos():
    sequence = removed(footage("a", without=[1]), [footage("b")], SHORT)
    run = answered(sequence, [BOX, OTHER, None, BOX, BOX, OTHER, None, BOX, None])
    assert (absence(run).frames, absence(run).reported) == (4, 2)


@pytest.mark.parametrize(
    ("boxes", "overlap_s", "centre_s"),
    [
        ([BOX, None, None, None], 0.0, 0.0),
        ([None, OTHER, HALF, BOX], 1.0, 1.0),
        ([None, None, None, BOX], None, None),  # at 1.5 s: too late
        ([CORNER, None, None, None], None, None),
        ([(0.0, 0.0, 30.0, 30.0), None, HALF, None], 1.0, 0.0),  # centre right, IoU 1 / 9
        ([], None, None),
    ],
)
def test_found_again_is_the_first_right_box_in_time(boxes, overlap_s, centre_s):
    found = first_found([BOX] * len(boxes), boxes, fps=2.0, within_s=1.0)
    assert (found.overlap_s, found.centre_s) == (overlap_s, centre_s)


def test_an_iou_of_exactly_the_least_counts_as_found():
    found = first_found([BOX], [(10.0, 10.0, 20.0, 13.0)], fps=1.0, within_s=1.0)
    assert found.overlap_s == 0.0


def test_found_again_looks_only_after_the_absence():
    (sequence,) = back(footage("a", frames=7), [footage("b")], SHORT)
    right = answered(sequence, [BOX] * 4 + [None] * 4 + [OTHER, BOX, BOX])
    wrong = answered(sequence, [BOX] * 8 + [None, OTHER, None])
    assert found_again(right, 1.0).overlap_s == 0.5
    assert found_again(wrong, 1.0).overlap_s is None
    own = BenchmarkSequence(TRACKING, 0, sequence.footage, own_frames(sequence.footage))
    assert found_again(answered(own, [BOX] * 7), 1.0) is None


@pytest.mark.parametrize(
    ("boxes", "count", "frames_on_other"),
    [
        ([BOX] * 10, 0, 0),
        ([BOX] + [OTHER] * 4 + [BOX], 0, 4),
        ([BOX] + [OTHER] * 5, 1, 5),
        ([BOX] + [OTHER] * 30, 1, 30),
        ([OTHER] * 5 + [BOX], 1, 5),  # began on something else
        ([BOX] + [OTHER] * 5 + [None] * 3 + [OTHER] * 5, 1, 10),  # not back in between
        ([BOX] + [OTHER] * 5 + [CORNER] + [OTHER] * 5, 1, 10),  # a touch is not back
        ([BOX] + [OTHER] * 5 + [HALF] + [OTHER] * 5, 2, 10),
        ([BOX] + [OTHER] * 3 + [None] + [OTHER] * 3, 0, 6),  # never five in a row
        ([None] * 10, 0, 0),
        ([], 0, 0),
    ],
)
def test_identity_switches(boxes, count, frames_on_other):
    found = identity_switches([BOX] * len(boxes), boxes)
    assert (found.count, found.frames_on_other) == (count, frames_on_other)


def test_frames_without_the_object_neither_make_nor_end_a_switch():
    truths = [BOX, BOX, BOX, BOX, None, None, BOX, BOX]
    assert identity_switches(truths, [BOX] + [OTHER] * 7).count == 1  # 3 + 2 frames with it
    assert identity_switches([BOX] + [None] * 9, [BOX] + [OTHER] * 9).frames_on_other == 0


def test_times_are_counted_over_all_frames_and_by_state():
    answers = [Answer(None, ms=ms, state=state) for ms, state in ((1, "a"), (2, "a"), (9, "b"))]
    times = by_state(answers)
    assert times["all"] == Times(3, 4.0, 2.0, 8.3)
    assert times["a"].mean_ms == 1.5 and times["b"].frames == 1
    assert list(by_state([Answer(None, ms=1.0)])) == ["all"]


# ---- numbers and goals


def test_numbers_are_pooled_over_data_sets_and_switches_only_over_look_alikes():
    sequence = BenchmarkSequence(
        TRACKING, 0, footage("a", frames=6), own_frames(footage("a", frames=6))
    )
    alike = BenchmarkSequence(
        TRACKING, 0, footage("b", frames=6), own_frames(footage("b", frames=6))
    )
    boxes = [BOX] + [OTHER] * 5
    runs = [answered(sequence, boxes), answered(alike, boxes)]
    numbers = summarise(runs, SHORT, ["b"])
    assert list(numbers) == ["made", "all"]
    assert numbers["all"]["one"]["switches"] == 1
    assert numbers["all"]["one"]["switch_frames"] == 6
    assert numbers["all"]["one"]["st_iou"] == 0.0
    assert "switches" not in summarise(runs, SHORT, [])["all"]["one"]


def test_found_again_is_a_share_of_cases():
    first, second = back(footage("a", frames=11), [footage("b", frames=20)], SHORT)
    runs = [
        answered(first, [BOX] * 4 + [None] * 4 + [None, BOX, BOX]),
        answered(second, [BOX] * 4 + [None] * 6 + [OTHER] * 3),
    ]
    numbers = summarise(runs, SHORT, [])["all"]["one"]
    assert (numbers["back_found"], numbers["back_cases"]) == (1, 2)
    assert (numbers["back_share"], numbers["back_median_s"]) == (0.5, 0.5)


def test_goals_are_met_missed_or_not_measured():
    nano = {"success_auc": 0.5, "st_iou": 0.5, "removed_share": 1.0, "switches": 2}
    numbers = {
        "TrackerNano": nano,
        "refdet track": {"success_auc": 0.53, "removed_share": 0.06, "switches": 2},
        "refdet auto": {"st_iou": 0.49, "removed_share": 0.05, "back_share": 0.8, "switches": 1},
    }
    met = [item.met for item in judge(numbers)]
    #      AUC   ST-IoU removed: auto, track  back  switches: auto, track
    assert met == [True, False, True, False, True, True, False]
    assert [item.met for item in judge({"TrackerNano": nano})] == [None] * 7
    assert judge({**numbers, "TrackerNano": {}})[0].met is None
    low = {"TrackerNano": {"st_iou": 0.2}, "refdet auto": {"st_iou": 0.44}}
    assert judge(low)[1].met is False


def test_auto_is_timed_while_it_tracks_and_track_over_all_frames():
    def times(ms):
        return Times(9, ms, 1.0, 99.0)

    speed = {
        "refdet track": {"all": times(12.0), "lost": times(50.0)},
        "refdet auto": {"all": times(30.0), "tracking": times(20.1)},
    }
    assert [(item.value, item.met) for item in judge_speed(speed)] == [(12.0, True), (20.1, False)]
    assert [item.met for item in judge_speed({})] == [None, None]


# ---- methods


class Scripted:
    """A tracker of cv2 that answers what it was told to."""

    def __init__(self, found):
        self.found = found

    def init(self, frame, box):
        self.started = box

    def update(self, frame):
        return self.found, (1, 2, 3, 4)


def test_opencv_trackers_report_a_box_when_they_say_ok():
    made = [Scripted(True), Scripted(False)]
    tracker = OpenCVTracker(lambda: made.pop(0))
    frame = np.zeros((9, 9, 3), np.uint8)
    tracker.start(frame, (1.4, 2.0, 4.6, 2.2))
    assert tracker._tracker.started == (1, 2, 3, 1)  # whole pixels, never empty
    assert tracker.update(frame) == ((1.0, 2.0, 4.0, 6.0), None)
    tracker.start(frame, BOX)
    assert tracker.update(frame) == (None, None)


def test_a_missing_peer_says_what_to_do(tmp_path, monkeypatch):
    (tmp_path / peers.NANO_FILES[0]).touch()
    with pytest.raises(SourceError, match=r"nanotrackv2_head\.onnx not in .*--weights"):
        peers.nano(tmp_path)
    monkeypatch.delattr(peers.cv2, "TrackerCSRT", raising=False)
    with pytest.raises(BackendError, match="make setup-window"):
        peers.csrt()


class Mover(BoxMethod):
    """The tiny videos' object moves by (5, 3) px a frame; this one knows."""

    name = "TrackerNano"

    def start(self, frame_bgr, box_xyxy):
        self.box = np.array(box_xyxy)

    def update(self, frame_bgr, time_s):
        self.box = self.box + np.array([5, 3, 5, 3])
        return Answer(tuple(float(side) for side in self.box), 0.9)


class Silent(PhotoMethod):
    """Sees nothing, and remembers what it was shown."""

    name = "refdet auto"

    def __init__(self):
        self.photos, self.times = [], []

    def start(self, photos):
        self.photos, self.times = list(photos), []

    def update(self, frame_bgr, time_s):
        self.times.append(time_s)
        return Answer(None, 0.1, "searching")


class Picky(Silent):
    name = "picky"

    def start(self, photos):
        raise BadReferenceError("too small")


def tiny(data) -> list[Footage]:
    found, skipped = load_footage(Choice(data, ("aerial_sequences",), "val", 0, scenes=""))
    assert skipped == []
    return found


def test_who_is_given_photos_is_asked_about_the_first_frame_too(data):
    footages = tiny(data)
    sequence = BenchmarkSequence(TRACKING, 0, footages[0], own_frames(footages[0])[:12])
    silent = Silent()
    runs, skipped = run_sequence([Mover(), silent, Picky()], sequence)
    assert [run.method for run in runs] == ["TrackerNano", "refdet auto"]
    assert [len(run.answers) for run in runs] == [12, 12]
    assert runs[0].answers[0].box_xyxy == sequence.start_xyxy
    assert len(silent.photos) == 3
    assert silent.times == pytest.approx([n / 10 for n in range(12)])
    assert [item.reason for item in skipped] == ["picky: too small"]


class Slow(Silent):
    """Takes 0.25 s a frame, by a clock of its own."""

    name = "slow"

    def __init__(self, clock):
        super().__init__()
        self.clock = clock

    def update(self, frame_bgr, time_s):
        self.clock[0] += 0.25
        super().update(frame_bgr, time_s)
        return Answer((time_s, 0.0, time_s + 1, 1.0))


@pytest.mark.parametrize(
    ("slowness", "seen"), [(0.0, range(9)), (0.3, range(9)), (1.0, [0, 3, 6]), (2.0, [0, 5])]
)
def test_at_the_cameras_rate_a_busy_tracker_loses_frames(data, monkeypatch, slowness, seen):
    clock = [0.0]
    monkeypatch.setattr("benchmarks.tracking.runs.time.perf_counter", lambda: clock[0])
    footages = tiny(data)
    sequence = BenchmarkSequence(TRACKING, 0, footages[0], own_frames(footages[0])[:9])
    slow = Slow(clock)
    (run,), _ = run_sequence([slow], sequence, slowness)
    # Ten frames a second: busy for 0.25 s, it gets every third one.
    assert slow.times == pytest.approx([n / 10 for n in seen])
    starts = [answer.box_xyxy[0] for answer in run.answers]
    assert starts == pytest.approx([max(n for n in seen if n <= i) / 10 for i in range(9)])


def test_speed_needs_frames_of_its_size(data, tmp_path):
    footages = tiny(data)
    assert speed_sequences(footages, footages) == []
    sequence = BenchmarkSequence(TRACKING, 0, footages[0], own_frames(footages[0])[:12])
    speed = measure_speed([Mover(), Silent(), Picky()], [sequence])
    assert speed["TrackerNano"]["all"].frames == 8  # 11 answers, the first 3 warm up
    assert set(speed["refdet auto"]) == {"all", "searching"}
    assert "picky" not in speed


# ---- the command


def arguments(data, output, *more):
    names = ["--sources", "aerial_sequences", "--split", "train", "--scenes", "[a-z]+$"]
    return ["trackers", "--data", str(data), *names, "--output", str(output), *more]


@pytest.fixture
def methods(monkeypatch):
    def unavailable(options):
        raise BackendError("needs a part that is not here.")

    made = {"auto": lambda o: Silent(), "nano": lambda o: Mover(), "csrt": unavailable}
    monkeypatch.setattr(trackers, "METHODS", made)


def test_the_command_prints_the_table_and_writes_everything(
    data, tmp_path, methods, monkeypatch, capsys
):
    monkeypatch.setattr(sys, "argv", arguments(data, tmp_path))
    trackers.main()
    printed = capsys.readouterr().out
    assert "| target removed: frames with a false detection " in printed
    assert "csrt not measured: needs a part that is not here." in printed
    results = json.loads((tmp_path / "results.json").read_text())
    mover, silent = (results["numbers"]["all"][name] for name in ("TrackerNano", "refdet auto"))
    # 42 of 44 frames show the object; IoU 1 is above 20 of 21 thresholds.
    assert mover["success_auc"] == pytest.approx(20 / 21, abs=1e-3)
    assert mover["st_iou"] == pytest.approx(41 / 43, abs=1e-3)
    assert (mover["removed_share"], silent["removed_share"]) == (1.0, 0.0)
    assert silent["st_iou"] == 0.0
    verdicts = {(v["of"], v["measure"]): v["met"] for v in verdict_rows(results)}
    assert verdicts["refdet auto", "target removed: frames with a false detection"] is True
    assert verdicts["refdet auto", "from photos only, no box: ST-IoU"] is False
    assert verdicts["refdet track", "tracking from the first box: success AUC"] is None
    with (tmp_path / "frames.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == sum(row["sequence_frames"] for row in results["by_sequence"])
    away = [row for row in rows if row["elsewhere"] == "1"]
    assert away and all(row["iou"] == "" and row["true_x1"] == "" for row in away)
    for plot in ("success", "tracking_aerial_sequences", "removed_aerial_sequences"):
        assert (tmp_path / f"{plot}.png").stat().st_size > 5000


def test_every_video_is_searched_with_the_network_that_has_not_seen_its_place(
    data, tmp_path, monkeypatch
):
    videos = json.loads((data / "splits.json").read_text())["aerial_sequences"]["train"]
    folds = {"places": {"lake": videos[:1], "road": videos[1:]}, "folds": [["lake"], ["road"]]}
    folder = tmp_path / "data"
    folder.mkdir()
    for item in data.iterdir():
        (folder / item.name).symlink_to(item)
    (folder / "places.json").write_text(json.dumps(folds))
    asked = []

    def made(options):
        asked.append(options.bundle)
        return Mover()

    monkeypatch.setattr(trackers, "METHODS", {"nano": made})
    only = ("--scenarios", TRACKING, "--out-of-fold", "folds")
    monkeypatch.setattr(sys, "argv", arguments(folder, tmp_path, *only))
    trackers.main()
    assert asked == [Path("folds/fold0"), Path("folds/fold1")]
    results = json.loads((tmp_path / "results.json").read_text())
    assert {row["video_id"] for row in results["by_sequence"]} == set(videos)
    del folds["folds"][1]
    (folder / "places.json").write_text(json.dumps(folds))
    with pytest.raises(SystemExit, match=r"has no fold with"):
        trackers.main()


def test_videos_can_be_taken_as_of_another_rate(data, tmp_path, monkeypatch):
    silent = Silent()
    monkeypatch.setattr(trackers, "METHODS", {"auto": lambda o: silent})
    rate = ("--scenarios", TRACKING, "--fps", "30")
    monkeypatch.setattr(sys, "argv", arguments(data, tmp_path, *rate))
    trackers.main()
    assert silent.times[:5] == pytest.approx([n / 30 for n in range(5)])
    rate = (*rate[:-1], "0")
    monkeypatch.setattr(sys, "argv", arguments(data, tmp_path, *rate))
    with pytest.raises(SystemExit, match="--fps must be above 0, got 0"):
        trackers.main()


@pytest.mark.parametrize(
    ("followers", "slower", "following"),
    [
        ("", "1", ["lighttrack", "nanotrackv3"]),
        ("nanotrackv3", "1", ["nanotrackv3"]),
        ("in-time", "1e-6", ["lighttrack", "nanotrackv3"]),
        ("in-time", "1e6", ["nanotrackv3"]),
    ],
)
def test_fewer_networks_can_follow(data, followers, slower, following):
    several = ("--bundle", "small", "--tracking-bundle", "lighttrack+nanotrackv3")
    more = (*several, "--followers", followers, "--slower", slower)
    options = trackers.arguments().parse_args(arguments(data, "unused", *more)[1:])
    for name in ("track", "auto"):
        method = trackers.METHODS[name](options)
        found = [each.bundle.name for each in method.detector.others if each.follows]
        method.close()
        assert found == following


def test_speed_alone_is_reported_without_tables_of_tracking(
    data, tmp_path, methods, monkeypatch, capsys
):
    def times(*_):
        return {
            "refdet auto": {"all": Times(9, 30.0, 5.0, 9.0), "tracking": Times(9, 19.0, 5.0, 9.0)}
        }

    monkeypatch.setattr(trackers, "measure_speed", times)
    more = ("--scenarios", "speed", "--only", "auto", "auto")
    monkeypatch.setattr(sys, "argv", arguments(data, tmp_path, *more))
    trackers.main()
    printed = capsys.readouterr().out
    assert printed.startswith("## Speed")
    assert "| refdet auto  | 19.000 | –           | met" in printed
    assert "success AUC" not in printed
    assert [path.name for path in tmp_path.glob("*.png")] == []


def verdict_rows(results):
    return [{**item, "of": item["method"]} for item in results["goals"]["all"]]


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--split", "nowhere"], "no split 'nowhere'"),
        (["--sources", "moon"], "no folder moon"),
        (["--videos", "moon"], "no video moon"),
        (["--only", "csrt"], "None of the trackers"),
        (["--frames", "3"], "no sequence of 10 frames"),
    ],
)
def test_what_cannot_be_measured_is_said_in_a_sentence(
    data, tmp_path, methods, monkeypatch, more, message
):
    monkeypatch.setattr(sys, "argv", arguments(data, tmp_path, *more))
    with pytest.raises(SystemExit, match=message):
        trackers.main()


def test_footage_is_contiguous_and_knows_rate_size_and_scene(data):
    footages = tiny(data)
    assert all(b - a == 1 for item in footages for a, b in pairwise(item.numbers))
    assert {(item.fps, item.frame_size) for item in footages} == {(10.0, (320, 240))}
    assert {item.instance.family for item in footages} == {item.video_id for item in footages}
    (chosen,) = named(footages, [footages[0].video_id])
    assert chosen is footages[0]
    assert named(footages, []) == footages


def test_strips_of_an_absence_that_ends_are_drawn(tmp_path):
    sequences = back(footage("a", frames=11), [footage("b", frames=20)], SHORT)
    runs = [
        answered(item, [BOX] * len(item.frames), name)
        for item in sequences
        for name in ("TrackerNano", "refdet auto", "TrackerMIL")
    ]
    write_plots(runs, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [f"{BACK}_made.png"]
