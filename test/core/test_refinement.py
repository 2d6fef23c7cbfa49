"""The second look at the best candidates of a full-frame search."""

from __future__ import annotations

from dataclasses import asdict, replace

import numpy as np
import pytest
import yaml
from fake_search_frame import BUNDLE, FakeBackend, FakeSearchFrame, Thing

from refdet_core.bundle import BUNDLES_FOLDER, load_bundle
from refdet_core.colours import object_colours
from refdet_core.detector import Detector
from refdet_core.detector_config import DetectorConfig
from refdet_core.errors import BundleError, ConfigError
from refdet_core.network import Network
from refdet_core.refinement_rule import LookWeights, RefinementRule
from refdet_core.search.base import Refiner
from refdet_core.search.full_frame_search import FullFrameSearch
from refdet_core.search.refinement import second_look
from refdet_core.search.tiles import Tiles
from refdet_core.types import Reference

HALF_AND_HALF = LookWeights(search=0.5, tracker=0.5)
RULE = RefinementRule("tracker", "", HALF_AND_HALF, HALF_AND_HALF)
TILES = Tiles((1280, 736), 128, 32)


class LookedAtAgain(FakeSearchFrame):
    """The search network sees ``things``, the tracking network ``again``."""

    def __init__(self, things, again, rule=RULE, embedder=None, **again_too) -> None:
        super().__init__(things)
        # A network that tracks gives no answer where it sees nothing.
        self.again = AgainFrame(again, background=None, **again_too)
        self._rule = rule
        self._embedder = embedder

    @property
    def refiner(self):
        embedders = () if self._embedder is None else (self._embedder,)
        return Refiner(self.again, self._rule, embedders)


class AgainFrame(FakeSearchFrame):
    """A frame with a picture; the references have these colours."""

    def __init__(self, *args, colours=(), **kwargs):
        super().__init__(*args, **kwargs)
        self._colours = colours

    def reference_colours(self, template_id):
        return self._colours


class Embedder(FakeSearchFrame):
    """What this box holds looks like a reference, everything else like something else."""

    def __init__(self, box_xyxy):
        super().__init__()
        self._box_xyxy = box_xyxy

    def embed(self, boxes_xyxy):
        same = np.abs(boxes_xyxy - self._box_xyxy).max(axis=1) < 1
        return np.stack([same, ~same, np.zeros(len(same))], axis=1) * 7.0

    def reference_embeddings(self, template_id):
        return np.array([[0.0, 0.0, 5.0], [3.0, 0.0, 0.0]])


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
    expected = RULE(np.array([0.7]), np.array([0.95]), np.zeros(1), None)[0]
    assert found.presence == found.detections[0].score == pytest.approx(expected, abs=1e-4)


def test_of_two_look_alikes_the_one_with_the_references_features_is_surer():
    things = [Thing.at(300, 200, 40, 0.8), Thing.at(800, 400, 40, 0.8)]
    rule = replace(RULE, embedding="embedder", other_photos=LookWeights(0.5, 0.5, 4.0))
    for thing in things:
        found = search(LookedAtAgain(things, things, rule, Embedder(thing.box_xyxy)))
        assert boxes(found)[0] == pytest.approx(thing.box_xyxy, abs=0.01)
        expected = rule(np.array([0.8]), np.array([0.8]), np.array([1.0]), None)
        assert found.presence == pytest.approx(expected[0], abs=1e-4)


def test_of_two_look_alikes_the_one_of_the_references_colour_is_surer():
    things = [Thing.at(300, 200, 40, 0.8), Thing.at(800, 400, 40, 0.8)]
    picture = np.full((720, 1280, 3), 90, np.uint8)
    for thing, colour in zip(things, ((20, 20, 200), (200, 20, 20))):
        x1, y1, x2, y2 = (int(side) for side in thing.box_xyxy)
        picture[y1:y2, x1:x2] = colour
    rule = replace(RULE, same_camera=LookWeights(0.5, 0.5, colours=4.0, intercept=-2.0))
    presence = {}
    for first, thing in enumerate(things):
        known = [object_colours(picture, thing.box_xyxy)]
        frame = LookedAtAgain(things, things, rule, frame_bgr=picture, colours=known)
        found = search(frame)
        assert boxes(found)[0] == pytest.approx(things[first].box_xyxy, abs=0.01)
        presence[first] = found.presence
    photos = search(LookedAtAgain(things, things, rule, frame_bgr=picture))
    assert photos.presence == pytest.approx(0.8, abs=0.01), "their colours say nothing here"


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
        LookWeights(tracker=float("nan"))
    with pytest.raises(ConfigError, match="refine_candidates"):
        DetectorConfig(refine_candidates=-1)


def test_without_the_network_that_compares_features_the_rule_does_not_hold():
    rule = replace(RULE, embedding="embedder", other_photos=LookWeights(0.5, 0.5, 4.0))
    thing = Thing.at(300, 200, 64, 0.9)
    photo = np.zeros((64, 64, 3), np.uint8)
    frame_bgr = np.zeros((720, 1280, 3), np.uint8)
    scores = {}
    for names in (("tracker",), ("tracker", "embedder")):
        trackers = [Network(replace(BUNDLE, name=name), FakeBackend([thing])) for name in names]
        bundle = replace(BUNDLE, refinement=rule)
        config = DetectorConfig(score_threshold=0.0)
        with Detector(bundle, FakeBackend([thing]), config, others=trackers) as detector:
            detector.set_template([Reference(photo, (10, 10, 50, 50))])
            scores[names] = detector.detect(frame_bgr).detections[0].score
    assert scores["tracker",] == pytest.approx(0.9, abs=0.01)
    assert scores["tracker", "embedder"] > 0.95, "the features are alike"


@pytest.mark.parametrize("tracker", ["tracker", "another", None])
def test_the_detector_uses_the_tracker_that_its_bundle_names(tracker):
    loose, tight = Thing.at(300, 200, 64, 0.9), Thing.at(300, 200, 40, 0.9)
    trackers = [Network(replace(BUNDLE, name=tracker), FakeBackend([tight]))] if tracker else []
    bundle = replace(BUNDLE, refinement=RULE)
    config = DetectorConfig(score_threshold=0.3)
    photo = np.zeros((64, 64, 3), np.uint8)
    with Detector(bundle, FakeBackend([loose]), config, others=trackers) as detector:
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
    for wrong in ({"tracker": "x", "k": 1}, {"tracker": "x", "same_camera": {"k": 1}}):
        description.write_text(yaml.safe_dump({**content, "refinement": wrong}))
        with pytest.raises(BundleError, match="'k'"):
            load_bundle(tmp_path)


def test_features_of_two_networks_count_half_each():
    class Embedder(FakeSearchFrame):
        def __init__(self, seen, reference):
            super().__init__([])
            self._seen, self._reference = seen, reference

        def embed(self, boxes_xyxy):
            return np.tile(np.array(self._seen), (len(boxes_xyxy), 1))

        def reference_embeddings(self, template_id):
            return np.array([self._reference])

    again = FakeSearchFrame([Thing.at(300, 200)])
    alike, unlike = Embedder([3.0, 0.0], [5.0, 0.0]), Embedder([0.0, 2.0, 0.0], [1.0, 0.0, 0.0])
    boxes = np.array([[280.0, 180.0, 320.0, 220.0]])
    for embedders, cosine in (((alike,), 1.0), ((unlike,), 0.0), ((alike, unlike), 0.5), ((), 0.0)):
        seen = second_look(Refiner(again, RULE, embedders), boxes, "car")
        assert seen.cosines == pytest.approx([cosine])
