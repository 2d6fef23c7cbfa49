"""One network searches and verifies, others follow."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from fake_search_frame import BUNDLE, FakeBackend, FakeSearchFrame, Thing

from refdet_core.bundle import BUNDLES_FOLDER, load_bundle
from refdet_core.cohort import Cohort
from refdet_core.detector import DEFAULT_TEMPLATE_ID, Detector, DetectorConfig
from refdet_core.errors import BundleError
from refdet_core.frame_inference import NetworkSearchFrame
from refdet_core.network import Network
from refdet_core.refinement_rule import LookWeights, RefinementRule
from refdet_core.search.base import Refiner
from refdet_core.search.local_tracker import LocalTracker
from refdet_core.search.refinement import second_look
from refdet_core.search.window import WindowConfig
from refdet_core.tracking_bundles import comparing_bundles, tracking_bundles
from refdet_core.types import LOST, TRACKING, Reference

CONFIG = WindowConfig(track_verify_s=0.3)
START = Thing.at(600, 300)


class WatchedFrame(FakeSearchFrame):
    """A frame that other networks follow the target in, and what each of them sees."""

    def __init__(self, trackers, things=(), time_s=0.0):
        super().__init__(things, time_s)
        self.others = [FakeSearchFrame(each, time_s) for each in trackers]

    @property
    def trackers(self):
        return self.others


class LooksLike(FakeSearchFrame):
    """Everything in the frame has these features; the reference has others."""

    def __init__(self, features):
        super().__init__()
        self._features = np.array([features], dtype=float)

    def embed(self, boxes_xyxy):
        return np.repeat(self._features, len(boxes_xyxy), axis=0)

    def reference_embeddings(self, template_id):
        return np.array([[1.0, 0.0, 0.0]])


class ComparedFrame(WatchedFrame):
    """A watched frame in which boxes are compared with the references and recent views."""

    def __init__(self, features, score, time_s, x=600, y=300):
        super().__init__([[Thing.at(x, y)]], [Thing.at(x, y, score=score)], time_s)
        alike = LookWeights(search=0.5, embedding=20.0, intercept=-14.0)
        rule = RefinementRule("tracker", "embedder", alike, alike, alike)
        self._refiner = Refiner(self.others[0], rule, (LooksLike(features),))

    @property
    def refiner(self):
        return self._refiner


FRONT, BACK, OTHER = (1.0, 0.2, 0.0), (0.4, 0.9, 0.0), (0.3, 0.0, 0.9)


def follow(tracker, features, score, time_s, followed=True, x=600):
    frame = ComparedFrame(features, score, time_s, x)
    return tracker.track(frame, "car", CONFIG, 0.5, followed=followed).score


def test_a_followed_target_that_turned_is_known_by_its_recent_views():
    tracker = LocalTracker(START.box_xyxy, 0.0)
    assert follow(tracker, FRONT, 0.9, 0.1) > 0.9
    turning = [np.array(FRONT) + step / 4 * (np.array(BACK) - FRONT) for step in (1, 2, 3, 4)]
    for number, features in enumerate(turning):
        assert follow(tracker, features, 0.3, 0.5 + 0.4 * number) > 0.9
    fresh = LocalTracker(START.box_xyxy, 0.0)
    assert follow(fresh, BACK, 0.3, 1.3, followed=False) < 0.1, "by the reference alone it is not"


@pytest.mark.parametrize(
    ("rate", "score", "narrow"),
    [
        (60, 0.9, True),
        (20, 0.9, True),
        (10, 0.9, False),  # it may have gone far
        (60, 0.3, False),  # in doubt
    ],
)
def test_between_two_checks_a_fast_camera_needs_a_smaller_window(rate, score, narrow):
    tracker = LocalTracker(START.box_xyxy, 0.0)
    sides = {True: [], False: []}
    for number in range(1, 40):
        frame = WatchedFrame([[START]], [replace(START, score=score)], number / rate)
        tracker.track(frame, "car", CONFIG, 0.5)
        (window,) = frame.others[0].windows
        sides[tracker.verified_s == frame.time_s].append(window.width)
    assert min(sides[True]) >= 160, "four times the target's side, to see what is beside it"
    assert any(side < 140 for side in sides[False]) == narrow


def test_something_else_in_its_place_is_not_the_followed_target():
    tracker = LocalTracker(START.box_xyxy, 0.0)
    for time_s in (0.1, 0.5, 0.9):
        assert follow(tracker, FRONT, 0.9, time_s) > 0.9
    assert follow(tracker, OTHER, 0.9, 1.3) < 0.1
    assert follow(tracker, OTHER, 0.9, 1.7) < 0.1, "and does not become a view"
    assert follow(tracker, FRONT, 0.9, 2.1) > 0.9


def turned(share):
    """On the way from the front to the back."""
    return np.array(FRONT) + share * (np.array(BACK) - FRONT)


def test_views_go_on_although_the_search_network_no_longer_finds_the_references():
    tracker = LocalTracker(START.box_xyxy, 0.0)
    assert follow(tracker, FRONT, 0.9, 0.1) > 0.9
    for number, share in enumerate((0.2, 0.4, 0.6, 0.8, 1.0)):
        assert follow(tracker, turned(share), 0.06, 0.5 + 0.4 * number) > 0.9


def test_after_a_doubt_a_view_needs_the_search_network():
    for score, known in ((0.06, False), (0.9, True)):
        tracker = LocalTracker(START.box_xyxy, 0.0)
        assert follow(tracker, FRONT, 0.9, 0.1) > 0.9
        assert follow(tracker, OTHER, 0.06, 0.5) < 0.1
        for number, share in enumerate((0.2, 0.4, 0.6, 0.8)):
            follow(tracker, turned(share), score, 0.9 + 0.4 * number)
        assert (follow(tracker, BACK, 0.06, 2.9) > 0.5) == known


def test_a_lost_target_is_known_by_its_recent_views_elsewhere():
    tracker = LocalTracker(START.box_xyxy, 0.0)
    for number, share in enumerate((0.0, 0.25, 0.5, 0.75, 1.0)):
        assert follow(tracker, turned(share), 0.9, 0.1 + 0.4 * number) > 0.9
    elsewhere = Thing.at(900, 500).box_xyxy
    again = LocalTracker(elsewhere, 3.0, tracker.views)
    fresh = LocalTracker(elsewhere, 3.0)
    for candidate, known in ((again, True), (fresh, False)):
        frame = ComparedFrame(BACK, 0.3, 3.0, 900, 500)
        seen = candidate.track(frame, "car", CONFIG, 0.5, followed=False).score
        assert (seen > 0.9) == known


def step(tracker, frame, least=0.5):
    return tracker.track(frame, "car", CONFIG, least)


def test_trackers_say_where_and_the_search_network_says_whether():
    tracker = LocalTracker(START.box_xyxy, 0.0)
    frame = WatchedFrame([[Thing.at(610, 300, score=0.6)]], [Thing.at(608, 300, score=0.95)])
    seen = step(tracker, frame)
    assert seen.box_xyxy == pytest.approx((590, 280, 630, 320))
    assert seen.score == pytest.approx(0.95)


def test_two_trackers_step_from_one_position():
    tracker = LocalTracker(START.box_xyxy, 0.0)
    here, there = [Thing.at(604, 300, score=0.8)], [Thing.at(608, 300, score=0.8)]
    seen = step(tracker, WatchedFrame([here, there], [START]))
    assert seen.box_xyxy == pytest.approx((586, 280, 626, 320))


def test_what_was_followed_wrongly_since_the_last_check_is_undone():
    tracker = LocalTracker(START.box_xyxy, 0.0)
    assert follow(tracker, FRONT, 0.9, 0.1) > 0.9
    assert tracker.box_xyxy[0] == pytest.approx(580, abs=1)
    follow(tracker, OTHER, 0.0, 0.2, x=650)
    assert tracker.box_xyxy[0] > 610, "not checked yet"
    assert follow(tracker, OTHER, 0.0, 0.6, x=650) < 0.02
    assert tracker.box_xyxy[0] == pytest.approx(580, abs=5), "where it was when it was last seen"


def test_the_search_network_looks_now_and_then_and_at_once_in_doubt():
    tracker = LocalTracker(START.box_xyxy, 0.0)

    def looks(time_s, tracker_score=0.9, score=0.9):
        frame = WatchedFrame([[replaced(tracker_score)]], [replaced(score)], time_s)
        seen = step(tracker, frame)
        return len(frame.inferences), seen.score

    def replaced(score):
        return Thing.at(600, 300, score=score)

    assert looks(0.0) == (1, pytest.approx(0.9))
    assert looks(0.1, score=0.1) == (0, pytest.approx(0.9))
    assert looks(0.2, tracker_score=0.4, score=0.1) == (1, pytest.approx(0.1))
    assert looks(0.25, score=0.7) == (1, pytest.approx(0.7))
    assert looks(0.3)[0] == 0
    assert looks(0.6)[0] == 1


def looks_of(intervals_s, times_s, score=0.9):
    """How often each of some networks with these intervals looks in frames at these times."""
    tracker = LocalTracker(START.box_xyxy, 0.0)
    counts = [0] * len(intervals_s)
    for time_s in times_s:
        seen = Thing.at(600, 300, score=score)
        frame = WatchedFrame([[seen]] * len(intervals_s), [seen], time_s)
        for each, interval_s in zip(frame.others, intervals_s):
            each.rule = replace(each.rule, interval_s=interval_s)
        step(tracker, frame)
        counts = [count + len(each.inferences) for count, each in zip(counts, frame.others)]
    return counts


CAMERA = [number / 30 for number in range(30)]


def test_an_expensive_network_looks_at_some_frames_of_a_fast_camera():
    assert looks_of((0.1, 0.0), CAMERA) == [10, 30]
    assert looks_of((0.1, 0.0), CAMERA[::3]) == [10, 10], "and at all frames of a slow one"


def test_one_network_looks_in_every_frame():
    assert looks_of((0.1,), CAMERA) == [30], "nobody else does"
    assert looks_of((0.5, 0.1), CAMERA) == [30, 30]


def test_while_the_target_is_in_doubt_every_network_looks():
    assert looks_of((0.1, 0.0), CAMERA, score=0.3) == [30, 30]


def test_frames_exactly_as_far_apart_as_the_looks_are_all_looked_at():
    tracker = LocalTracker(START.box_xyxy, 0.0)
    for number in range(1, 30):
        frame = WatchedFrame([[Thing.at(600, 300)]], [START], number / 10)
        tracker.track(frame, "car", WindowConfig(track_verify_s=0.1), 0.5)
        assert len(frame.inferences) == 1


def test_what_the_search_network_sees_elsewhere_in_the_window_is_no_proof():
    tracker = LocalTracker(START.box_xyxy, 0.0)
    frame = WatchedFrame([[START]], [Thing.at(660, 300, score=0.95)])
    assert step(tracker, frame).score < 0.1


def test_trackers_are_followed_through_a_second_of_doubt_and_no_longer():
    tracker = LocalTracker(START.box_xyxy, 0.0)
    step(tracker, WatchedFrame([[START]], [START], 0.0))
    centres = []
    for n in range(1, 31):
        frame = WatchedFrame([[Thing.at(600 + 4 * n, 300)]], [], n / 10)
        step(tracker, frame)
        centres.append((tracker.box_xyxy[0] + tracker.box_xyxy[2]) / 2)
    assert centres[8] == pytest.approx(636, abs=1)
    assert centres[-1] < 712  # of 720: it only coasted


@pytest.fixture
def detector():
    things = [Thing((300, 200, 340, 240), 0.9, "car")]
    followers = [Network(BUNDLE, FakeBackend(things), follows=True) for _ in range(2)]
    config = DetectorConfig(search="track")
    with Detector(BUNDLE, FakeBackend(things), config, others=followers) as opened:
        yield opened


FRAME = np.zeros((480, 640, 3), np.uint8)
PHOTO = Reference(FRAME[:80, :80])


def test_all_networks_get_the_template_at_once(detector):
    detector.set_template([PHOTO], "car")
    detector.set_template([PHOTO, PHOTO], "dog")
    bank = detector.bank
    assert [list(each.templates) for each in (bank, *bank.others)] == [["car", "dog"]] * 3
    assert {each.version for each in (bank, *bank.others)} == {bank.version}
    detector.clear_template("car")
    assert [list(each.templates) for each in detector.bank.others] == [["dog"]] * 2
    detector.set_template([PHOTO], "dog", append=True)
    assert [len(each.templates["dog"].features) for each in detector.bank.others] == [3, 3]


def test_trackers_follow_and_the_search_network_ends_the_track(detector):
    detector.set_template([PHOTO], "car")
    detector.lock("car", (300, 200, 340, 240))
    for n in range(5):
        result = detector.detect(FRAME, time_s=n / 10)
    assert result.targets["car"].state == TRACKING
    assert result.detections[0].bbox_xyxy == pytest.approx((300, 200, 340, 240), abs=3)
    assert all(network.backend.inferred for network in detector.others)
    detector.backend.things = ()  # the trackers would go on
    for n in range(5, 20):
        result = detector.detect(FRAME, time_s=n / 10)
        assert not result.detections or n <= 6
    assert result.targets["car"].state == LOST


@pytest.mark.parametrize("purposes", [("compare",), ("track",)])
def test_a_network_that_compares_looks_at_candidates_and_follows_nothing(purposes):
    thing = Thing((300, 200, 340, 240), 0.9)
    follower = Network(replace(BUNDLE, name="follower"), FakeBackend([thing]), follows=True)
    comparing = replace(BUNDLE, name="comparing", purposes=purposes)
    others = [follower, Network(comparing, FakeBackend([thing]))]
    rule = RefinementRule("follower", "comparing", LookWeights(), LookWeights(embedding=9.0))
    config = DetectorConfig(search="auto", score_threshold=0.5)
    photo = Reference(FRAME[:80, :80])
    with Detector(
        replace(BUNDLE, refinement=rule), FakeBackend([thing]), config, others=others
    ) as detector:
        detector.set_template([photo])
        assert detector.detect(FRAME, time_s=0.0).presence["target"] > 0.99  # alike: 9 log-odds
        for n in range(1, 10):
            result = detector.detect(FRAME, time_s=n / 10)
    assert result.targets["target"].state == TRACKING
    assert others[0].backend.inferred and not others[1].backend.inferred


@pytest.mark.parametrize(
    ("tracking", "expected"),
    [
        (["follower"], ["lighttrack", "efficientnet_lite0"]),
        (["follower", "lighttrack"], ["efficientnet_lite0"]),  # the other is there already
        (["another"], []),  # nothing looks again
        ([], []),
    ],
)
def test_what_compares_comes_with_the_tracker_that_looks_again(tracking, expected):
    rule = RefinementRule("follower", "lighttrack+efficientnet_lite0")
    search = replace(BUNDLE, refinement=rule)
    found = comparing_bundles(search, [replace(BUNDLE, name=name) for name in tracking])
    assert [bundle.name for bundle in found] == expected


@pytest.mark.parametrize("names", ["fear", "fear+nanotrackv3", "lighttrack+fear"])
def test_only_the_networks_that_are_named_follow(names):
    with Detector.open(tracking_bundle=names) as released:
        following = [each.bundle.name for each in released.others if each.follows]
        comparing = [each.bundle.name for each in released.others if not each.follows]
        followed, compared = released.model.split(", targets followed by ")[1].split(
            ", compared by "
        )
    assert following == names.split("+")
    assert {*following, *comparing} >= {"lighttrack", "efficientnet_lite0"}
    assert all(name in followed for name in following)
    assert all(name in compared for name in comparing)


def test_a_rule_may_name_no_network_that_compares_or_one_that_is_not_there():
    followers = [replace(BUNDLE, name="follower")]
    assert comparing_bundles(BUNDLE, followers) == []
    search = replace(BUNDLE, refinement=RefinementRule("follower"))
    assert comparing_bundles(search, followers) == []
    search = replace(BUNDLE, refinement=RefinementRule("follower", "nowhere"))
    with pytest.raises(BundleError, match="nowhere"):
        comparing_bundles(search, followers)


def test_a_cohort_of_other_networks_is_refused_at_the_start(tmp_path):
    lighttrack = load_bundle(BUNDLES_FOLDER / "lighttrack")
    rule = RefinementRule("lighttrack", "lighttrack", cohort="cohort.npy")
    count = lighttrack.kernel_shape[0]
    for features, refused in ((count, False), (count + 1, True)):
        Cohort(np.eye(3, features)).save(tmp_path / "cohort.npy")
        search = replace(BUNDLE, folder=tmp_path, refinement=rule)
        if refused:
            with pytest.raises(BundleError, match="publish the model again"):
                comparing_bundles(search, [lighttrack])
        else:
            assert comparing_bundles(search, [lighttrack]) == []


def test_the_released_second_look_compares_with_a_cohort():
    photo = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)
    frame_bgr = cv2.copyMakeBorder(photo, 200, 100, 300, 100, cv2.BORDER_CONSTANT, value=(90,) * 3)
    with Detector.open(BUNDLES_FOLDER / "small") as detector:
        detector.set_template([Reference(photo)])
        frame = NetworkSearchFrame(
            detector.backend, detector.bundle, detector.bank, frame_bgr, 0.0, detector.others
        )
        boxes_xyxy = np.array([[300.0, 200.0, 364.0, 264.0], [20.0, 20.0, 84.0, 84.0]])
        seen = second_look(frame.refiner, boxes_xyxy, DEFAULT_TEMPLATE_ID)
    assert seen.relative_cosines[0] > seen.relative_cosines[1] + 2


def test_a_network_that_only_compares_is_refused_for_searching_and_following():
    with pytest.raises(BundleError, match="compares pictures"):
        Detector.open(BUNDLES_FOLDER / "efficientnet_lite0")
    with pytest.raises(BundleError, match=r"not made to follow; give .*'lighttrack'") as no:
        Detector.open(BUNDLES_FOLDER / "small", tracking_bundle="efficientnet_lite0")
    assert str(no.value).count("efficientnet_lite0") == 1


@pytest.mark.parametrize(("search", "warned"), [("tiles", True), ("track", False)])
def test_a_network_that_only_follows_is_named_as_such_when_it_searches(caplog, search, warned):
    config = DetectorConfig(search=search)
    Detector.open(BUNDLES_FOLDER / "nanotrackv3", config=config, tracking_bundle="none").close()
    assert ("made to follow, not to search" in caplog.text) == warned


def test_a_released_bundle_is_one_however_its_folder_is_written(monkeypatch):
    monkeypatch.chdir(BUNDLES_FOLDER.parent)
    for folder in (Path("small"), Path("bundles/small"), BUNDLES_FOLDER / ".." / "bundles/small"):
        assert len(tracking_bundles("auto", folder, "onnxruntime")) == 3


def test_the_released_trackers_may_be_named_joined_and_left_away():
    assert [bundle.name for bundle in tracking_bundles("auto", None, "onnxruntime")] == [
        "lighttrack",
        "fear",
        "nanotrackv3",
    ]
    assert len(tracking_bundles("auto", BUNDLES_FOLDER / "default", "onnxruntime")) == 3
    assert [bundle.name for bundle in tracking_bundles(" fear ", None, "torch")] == ["fear"]
    assert tracking_bundles("none", None, "onnxruntime") == []
    assert tracking_bundles("auto", None, "torch") == []


def test_a_bundle_of_one_s_own_follows_by_itself(colour_bundle):
    assert tracking_bundles("auto", colour_bundle, "onnxruntime") == []
    (named,) = tracking_bundles(str(colour_bundle), None, "onnxruntime")
    assert named.name == "colours"


@pytest.mark.parametrize("names", ["lightrack", "fear+", "/nowhere", "+"])
def test_an_unknown_tracker_is_refused_with_those_there_are(names):
    with pytest.raises(BundleError, match="lighttrack"):
        tracking_bundles(names, None, "onnxruntime")


@pytest.mark.parametrize(
    ("name", "licence", "title"),
    [
        ("lighttrack", "MIT", "MIT License"),
        ("fear", "MIT", "MIT License"),
        ("nanotrackv3", "Apache-2.0", "Apache License"),
        ("efficientnet_lite0", "Apache-2.0", "Apache Software License"),
    ],
)
def test_published_networks_are_complete_and_come_with_licence_and_card(name, licence, title):
    bundle = load_bundle(BUNDLES_FOLDER / name, verify=True)
    assert bundle.purposes == (("compare",) if name == "efficientnet_lite0" else ("track",))
    assert licence in bundle.training["licence"]
    assert (bundle.folder / "LICENSE").read_text().lstrip().startswith(title)
    assert "commercial use is allowed" in (bundle.folder / "MODEL_CARD.md").read_text()
