"""A tracking network looks again at the best candidates of a full-frame search."""

from __future__ import annotations

from dataclasses import asdict, replace

import numpy as np
import pytest
import yaml
from fake_search_frame import BUNDLE, FakeBackend, FakeSearchFrame, Thing

from refdet_core.bundle import BUNDLES_FOLDER, load_bundle
from refdet_core.detector import Detector
from refdet_core.detector_config import DetectorConfig
from refdet_core.errors import BundleError, ConfigError
from refdet_core.network import Network
from refdet_core.refinement_rule import RefinementRule
from refdet_core.search.base import Refiner
from refdet_core.search.full_frame_search import FullFrameSearch
from refdet_core.search.tiles import Tiles
from refdet_core.types import Reference

RULE = RefinementRule("tracker", search_weight=0.5, tracker_weight=0.5)
TILES = Tiles((1280, 736), 128, 32)


class LookedAtAgain(FakeSearchFrame):
    """The search network sees ``things``, the tracking network ``again``."""

    def __init__(self, things, again, rule=RULE) -> None:
        super().__init__(things)
        # A network that tracks gives no answer where it sees nothing.
        self.again = FakeSearchFrame(again, background=None)
        self._rule = rule

    @property
    def refiner(self):
        return Refiner(self.again, self._rule)


def search(frame, count=3, threshold=0.05):
    plan = FullFrameSearch(lambda *_: (TILES,), 0.3, threshold, 5, 0, count)
    return plan.search(frame, ["car"])["car"]


def boxes(found):
    return [item.bbox_xyxy for item in found.detections]


def test_the_box_is_the_tracking_networks():
    loose, tight = Thing.at(300, 200, 60, 0.8), Thing.at(303, 198, 40, 0.9)
    found = search(LookedAtAgain([loose], [tight]))
    assert boxes(found)[0] == pytest.approx(tight.box_xyxy, abs=0.01)


def test_both_networks_scores_count():
    things = [Thing.at(300, 200, 40, 0.7), Thing.at(800, 400, 40, 0.8)]
    again = [replace(things[0], score=0.95), replace(things[1], score=0.1)]
    found = search(LookedAtAgain(things, again))
    assert boxes(found)[0] == pytest.approx(things[0].box_xyxy, abs=0.01)
    expected = RULE(np.array([0.7]), np.array([0.95]))[0]
    assert found.presence == found.detections[0].score == pytest.approx(expected, abs=1e-4)


def test_what_the_tracking_network_does_not_see_becomes_improbable_and_keeps_its_box():
    thing = Thing.at(300, 200, 40, 0.8)
    found = search(LookedAtAgain([thing], [Thing.at(1000, 600)]), threshold=0.0)
    assert pytest.approx(thing.box_xyxy, abs=0.01) in boxes(found)
    assert found.presence < 0.1


def test_an_object_beside_the_candidate_is_another_one():
    """The window is wider than the box; a look-alike in it must not take the candidate's place."""
    things = [Thing.at(300, 200, 40, 0.8)]
    again = [replace(things[0], score=0.6), Thing.at(345, 200, 40, 0.9)]
    found = search(LookedAtAgain(things, again))
    assert boxes(found)[0] == pytest.approx(things[0].box_xyxy, abs=0.01)


def test_only_the_best_candidates_are_looked_at_again_in_one_batch():
    things = [Thing.at(100 + 150 * i, 300, 40, 0.9 - 0.1 * i) for i in range(5)]
    frame = LookedAtAgain(things, things)
    search(frame, count=2)
    assert [len(crops) for crops, _ in frame.again.inferences] == [2]


def test_two_candidates_on_one_object_are_reported_once():
    parts = [Thing.at(300, 200, 40, 0.8), Thing.at(330, 200, 40, 0.7)]
    whole = Thing.at(315, 200, 70, 0.9)
    assert len(boxes(search(LookedAtAgain(parts, [whole])))) == 1


def test_the_box_ends_at_the_frames_edge():
    again = Thing((-20.0, 100.0, 60.0, 160.0), 0.9)
    frame = LookedAtAgain([Thing((0.0, 100.0, 60.0, 160.0), 0.8)], [again])
    x1, y1, x2, y2 = boxes(search(frame))[0]
    assert 0 <= x1 < x2 <= 1280 and 0 <= y1 < y2 <= 720


@pytest.mark.parametrize("count", [0, 3])
def test_nothing_is_looked_at_without_candidates_or_when_switched_off(count):
    things = [Thing.at(300, 200)] if count == 0 else []
    frame = LookedAtAgain(things, [Thing.at(300, 200)])
    frame._background = None if count else frame._background
    found = search(frame, count=count)
    assert frame.again.inferences == []
    assert len(found.detections) == len(things)


def test_a_rule_needs_a_tracker_and_numbers():
    with pytest.raises(BundleError, match="tracking bundle"):
        RefinementRule("")
    with pytest.raises(BundleError, match="finite"):
        RefinementRule("fear", tracker_weight=float("nan"))
    with pytest.raises(ConfigError, match="refine_candidates"):
        DetectorConfig(refine_candidates=-1)


@pytest.mark.parametrize("tracker", ["tracker", "another", None])
def test_the_detector_uses_the_tracker_that_its_bundle_names(tracker):
    loose, tight = Thing.at(300, 200, 64, 0.9), Thing.at(300, 200, 40, 0.9)
    trackers = [Network(replace(BUNDLE, name=tracker), FakeBackend([tight]))] if tracker else []
    bundle = replace(BUNDLE, refinement=RULE)
    config = DetectorConfig(score_threshold=0.3)
    photo = np.zeros((64, 64, 3), np.uint8)
    with Detector(bundle, FakeBackend([loose]), config, trackers=trackers) as detector:
        detector.set_template([Reference(photo, (10, 10, 50, 50))])
        (found,) = detector.detect(np.zeros((720, 1280, 3), np.uint8)).detections
    expected = tight if tracker == "tracker" else loose
    assert found.bbox_xyxy == pytest.approx(expected.box_xyxy, abs=4)


def test_the_rule_of_a_bundle_survives_its_description(tmp_path):
    released = load_bundle(BUNDLES_FOLDER / "small")
    for name in ("template_encoder.onnx", "detector.onnx"):
        (tmp_path / name).write_bytes(b"")
    content = yaml.safe_load((released.folder / "bundle.yaml").read_text())
    description = tmp_path / "bundle.yaml"
    description.write_text(yaml.safe_dump({**content, "refinement": asdict(RULE)}))
    assert load_bundle(tmp_path).refinement == RULE
    description.write_text(yaml.safe_dump({**content, "refinement": {"tracker": "x", "k": 1}}))
    with pytest.raises(BundleError, match="'k'"):
        load_bundle(tmp_path)
