"""What helps a template over changes of its object, and that it cannot lead away from it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Sequence, Tuple

import numpy as np
import pytest
import toy_model
from fake_search_frame import BACKGROUND, BUNDLE, FakeBackend, FakeSearchFrame, Thing

from refdet_core.detector import Detector
from refdet_core.detector_config import DetectorConfig
from refdet_core.errors import ConfigError
from refdet_core.frame_inference import NetworkSearchFrame
from refdet_core.imaging import Crop
from refdet_core.search.base import SearchPlan, SearchResult, ViewComparison
from refdet_core.search_plans import make_search_plan
from refdet_core.templates import Template, make_bank
from refdet_core.types import LOST, TRACKING, BoxXYXY, Reference

Appearance = Tuple[float, float]
TEMPLATE: Appearance = (0.0, 0.0)
HERE = (600.0, 300.0)
PERIOD_S = 0.125


def alike(one: Appearance, other: Appearance) -> float:
    """Probability that these show the same: 0.95 for the same, 0.57 at 1, 0.12 at 2."""
    return 0.95 * float(np.exp(-0.515 * ((one[0] - other[0]) ** 2 + (one[1] - other[1]) ** 2)))


@dataclass(frozen=True)
class Shape:
    """Something in the frame that may look otherwise than the template's object."""

    appearance: Appearance = TEMPLATE
    place: tuple[float, float] = HERE
    size: float = 40.0
    name: str = "car"

    @property
    def thing(self) -> Thing:
        return Thing.at(*self.place, self.size, alike(self.appearance, TEMPLATE), self.name)

    def holds(self, x: float, y: float) -> bool:
        x1, y1, x2, y2 = self.thing.box_xyxy
        return x1 <= x <= x2 and y1 <= y <= y2


class ShapeFrame(FakeSearchFrame):
    """Shapes seen by the template, and by pictures of shapes, whose views are appearances."""

    def __init__(self, shapes: Sequence[Shape], time_s: float, bank_version: int) -> None:
        super().__init__([shape.thing for shape in shapes], time_s)
        self.bank_version = bank_version
        self.shapes = shapes
        self.encoded: list[BoxXYXY] = []
        self.compared: list[tuple[str, Appearance]] = []

    def encode(self, box_xyxy: BoxXYXY) -> Any:
        self.encoded.append(box_xyxy)
        return self._at((box_xyxy[0] + box_xyxy[2]) / 2, (box_xyxy[1] + box_xyxy[3]) / 2)

    def infer_with_view(self, crops: Sequence[Crop], template_id: str, view: Any) -> ViewComparison:
        self.compared.append((template_id, view))
        (seen,) = self.infer(crops, [template_id])[template_id]
        centres = (seen.boxes_xyxy[:, :2] + seen.boxes_xyxy[:, 2:]) / 2
        return ViewComparison(seen, np.array([alike(self._at(x, y), view) for x, y in centres]))

    def _at(self, x: float, y: float) -> Appearance:
        here = [shape.appearance for shape in self.shapes if shape.holds(x, y)]
        return here[0] if here else (99.0, 99.0)


@dataclass
class Film:
    """Frames at 8 Hz, a sum of which has no rounding error, shown to one plan."""

    plan: SearchPlan
    names: Sequence[str] = ("car",)
    time_s: float = 0.0
    bank_version: int = 1
    inferences: list[ShapeFrame] = field(default_factory=list)

    def show(self, *shapes: Shape) -> dict[str, SearchResult]:
        self.inferences.append(ShapeFrame(shapes, self.time_s, self.bank_version))
        self.time_s += PERIOD_S
        return self.plan.search(self.inferences[-1], self.names)

    def show_for(self, seconds: float, *shapes: Shape) -> SearchResult:
        for _ in range(round(seconds / PERIOD_S)):
            found = self.show(*shapes)
        return found["car"]

    @property
    def encoded(self) -> list[tuple[float, BoxXYXY]]:
        return [
            (search_frame.time_s, box)
            for search_frame in self.inferences
            for box in search_frame.encoded
        ]

    @property
    def compared(self) -> list[tuple[str, Appearance]]:
        return [each for search_frame in self.inferences for each in search_frame.compared]


def film(search: str = "track", period_s: float = 1.0, **settings) -> Film:
    config = DetectorConfig(search=search, track_update_s=period_s, **settings)
    return Film(make_search_plan(BUNDLE, config))


def following(shape: Shape, search: str = "track", period_s: float = 1.0, **settings) -> Film:
    """Locked on this shape."""
    begun = film(search, period_s, **settings)
    begun.plan.lock("car", shape.thing.box_xyxy)
    return begun


def score(found: SearchResult) -> float:
    (detection,) = found.detections
    return detection.score


# -- when a picture is taken -----------------------------------------------------------------


@pytest.mark.parametrize("search", ["track", "auto"])
def test_without_being_asked_for_it_does_nothing(search: str) -> None:
    plan = make_search_plan(BUNDLE, DetectorConfig(search=search))
    plan.lock("car", Shape().thing.box_xyxy)
    shown = Film(plan)
    found = shown.show_for(3, Shape())
    assert found.detections
    assert shown.encoded == [] and shown.compared == []


@pytest.mark.parametrize("search", ["track", "auto"])
@pytest.mark.parametrize("period_s", [0.5, 1.0, 2.0])
def test_a_picture_is_taken_once_a_period(search: str, period_s: float) -> None:
    shown = following(Shape(), search, period_s)
    shown.show_for(4, Shape())
    times = [time_s for time_s, _ in shown.encoded]
    assert times == pytest.approx(np.arange(0, 4.0, period_s).tolist())
    for _, box_xyxy in shown.encoded:
        assert box_xyxy == pytest.approx((580, 280, 620, 320))


def test_it_goes_on_after_the_clock_was_set_back() -> None:
    shown = following(Shape())
    shown.time_s = 1000.0
    shown.show_for(2, Shape())
    shown.time_s = 3.0
    shown.show_for(1.5, Shape())
    assert [time_s for time_s, _ in shown.encoded] == [1000.0, 1001.0, 3.0, 4.0]


def test_nothing_is_taken_of_what_the_template_does_not_find_likely() -> None:
    unlike = Shape((1.2, 0))  # 0.45
    shown = following(unlike)
    found = shown.show_for(3, unlike)
    assert found.status.state == TRACKING
    assert score(found) == pytest.approx(0.45, abs=0.01)
    assert shown.encoded == []


def test_nothing_is_taken_where_the_target_is_not_seen() -> None:
    shown = following(Shape((1, 0)), track_keep_score=0.8)
    found = shown.show_for(0.5, Shape((1, 0)))
    assert found.status.state == TRACKING and not found.detections
    assert shown.encoded == []


@pytest.mark.parametrize(
    "shape",
    [Shape(place=(15, 300)), Shape(place=(600, 705)), Shape(size=3)],
    ids=["over the left border", "over the lower border", "tiny"],
)
def test_nothing_is_taken_of_what_is_not_shown_well(shape: Shape) -> None:
    shown = following(shape)
    assert shown.show_for(1, shape).detections
    assert shown.encoded == []


def test_nothing_is_taken_of_a_candidate_that_is_not_followed_yet() -> None:
    shown = film("auto", auto_confirm_frames=3, auto_confirm_of=3)
    states = [shown.show(Shape())["car"].status.state for _ in range(6)]
    began_s = states.index(TRACKING) * PERIOD_S
    assert began_s > PERIOD_S
    assert [time_s for time_s, _ in shown.encoded] == [began_s + PERIOD_S]


# -- what it is good for ---------------------------------------------------------------------


def turned_away(period_s: float) -> Film:
    """The object looks ever less like the template: 0.95 to 0.21 within two seconds."""
    shown = following(Shape(), "auto", period_s, track_keep_drop=1.0)
    shown.show_for(2, Shape())
    for step in range(1, 17):
        shown.show(Shape((1.7 * step / 16, 0)))
    return shown


def test_a_slow_change_is_followed_with_it_and_lost_without() -> None:
    changed = Shape((1.7, 0))
    with_it = turned_away(period_s=0.5)
    # Taken at 1.5 and 2.0 s of the last standstill, then at 0.5 and 1.0 s of the turn.
    taken = (1.7 * 9 / 16, 0)
    assert score(with_it.show_for(1.5, changed)) == pytest.approx(alike(changed.appearance, taken))
    assert turned_away(period_s=0).show_for(1.5, changed).status.state == LOST


def test_it_takes_the_box_from_the_template() -> None:
    with_it, without = following(Shape(), period_s=0.1), following(Shape(), period_s=0)
    for shown in (with_it, without):
        shown.show_for(1, Shape())
    moved = Shape((0.5, 0), (607.0, 296.0))
    found, plain = with_it.show(moved)["car"], without.show(moved)["car"]
    assert score(found) == pytest.approx(alike((0.5, 0), TEMPLATE))  # better than by the picture
    assert found.detections[0].bbox_xyxy == plain.detections[0].bbox_xyxy


def test_it_never_makes_a_target_less_probable() -> None:
    shown = following(Shape((1, 0)))
    shown.show_for(1, Shape((1, 0)))  # the picture is of a changed target
    assert score(shown.show_for(PERIOD_S, Shape((-1, 0)))) == pytest.approx(0.57, abs=0.01)


def test_the_same_change_does_not_help_for_ever() -> None:
    shown = turned_away(period_s=0.5)  # for 0.75 s the template alone has found nothing likely
    changed = Shape((1.7, 0))
    assert shown.show_for(2, changed).detections
    assert shown.inferences[-1].compared
    shown.show_for(0.5, changed)
    assert not shown.inferences[-1].compared  # 3 s
    assert shown.show_for(1, changed).status.state == LOST


# -- what it cannot do -----------------------------------------------------------------------


def test_a_distractor_that_takes_over_the_window_does_not_become_the_template() -> None:
    target, distractor = Shape((1, 0)), Shape((0, 1.45), (615.0, 300.0))  # 0.57 and 0.32
    shown = following(target)
    shown.show_for(3, target)
    taken = len(shown.encoded)
    assert taken == 3
    found = shown.show_for(10, distractor)
    assert score(found) == pytest.approx(0.32, abs=0.01)  # followed, as it would be without
    assert len(shown.encoded) == taken
    assert {view for _, view in shown.compared} == {(1, 0)}
    assert not shown.inferences[-1].compared  # and after all that time it is not asked any more


def test_step_by_step_it_is_not_led_away_from_the_template() -> None:
    """Each step looks like the one before it, as in a slow change into something else."""
    shown = following(Shape(), period_s=0.1)
    shown.show_for(1, Shape())
    shown.show_for(1, Shape((0.9, 0)))
    for step in range(60):
        found = shown.show(Shape((1.0 + 0.05 * step, 0)))["car"]
        assert not found.detections or alike((1.0 + 0.05 * step, 0), TEMPLATE) >= 0.15
    assert found.status.state == LOST
    assert max(view[0] for _, view in shown.compared) <= 1.1  # 0.5 by the template


@pytest.mark.parametrize("keep_score", [0.15, 0.3])
def test_where_the_template_sees_nothing_the_picture_does_not_count(keep_score: float) -> None:
    shown = following(Shape((1, 0)), track_keep_score=keep_score)
    shown.show_for(1, Shape((1, 0)))
    possible, impossible = Shape((1.5, 0)), Shape((1.95, 0))  # 0.30 and 0.13 by the template
    found = shown.show(impossible)["car"]
    assert shown.inferences[-1].compared  # 0.58 by the picture
    assert not found.detections
    assert found.presence == pytest.approx(alike(impossible.appearance, TEMPLATE))
    counts = alike(possible.appearance, TEMPLATE) >= keep_score
    assert shown.show(possible)["car"].presence == pytest.approx(
        alike(possible.appearance, (1, 0)) if counts else alike(possible.appearance, TEMPLATE)
    )


def test_a_better_place_in_the_whole_frame_is_judged_by_the_template() -> None:
    shown = following(Shape(), "auto", period_s=0.5, auto_check_s=0.5)
    shown.show_for(2, Shape())
    shown.show_for(0.6, Shape((1, 0)))
    assert (1, 0) in shown.compared[-1]
    changed, original = Shape((1.5, 0)), Shape(place=(1000, 500))
    found = shown.show(changed)["car"]
    assert score(found) > 0.83  # 0.30 by the template; 0.95 is not clearly better
    found = shown.show_for(6, changed, original)
    x1, _, x2, _ = found.detections[0].bbox_xyxy
    assert (x1 + x2) / 2 == pytest.approx(1000, abs=1)


def test_what_is_seen_with_help_alone_is_not_usual() -> None:
    """Neither does help make the track harder to please, nor weak moments easier."""
    with_it, without = following(Shape((1, 0))), following(Shape((1, 0)), period_s=0)
    for shown in (with_it, without):
        shown.show_for(4, Shape((1, 0)))  # 0.95 by its picture, 0.57 by the template
        found = shown.show(Shape((0, 1.45)))["car"]  # unlike the picture
        assert score(found) == pytest.approx(0.32, abs=0.01)
    helped = following(Shape(), period_s=0.5, track_keep_drop=1.0)
    helped.show_for(2, Shape())
    helped.show_for(1.5, Shape((1.0, 0)))
    helped.show_for(2, Shape((1.4, 0)))
    assert helped.inferences[-1].compared
    assert not helped.show(Shape((0, 1.45)))["car"].detections


def test_a_lost_target_comes_back_by_the_template_alone() -> None:
    shown = following(Shape((1, 0)), auto_lost_s=0.5)
    shown.show_for(1, Shape((1, 0)))
    assert shown.show_for(0.9).status.state == LOST
    compared = len(shown.compared)
    shown.show_for(0.5, Shape((1.5, 0)))
    assert len(shown.compared) == compared
    assert score(shown.show_for(1, Shape())) == pytest.approx(0.95)
    shown.show(Shape())
    assert shown.inferences[-1].compared == [("car", TEMPLATE)]


# -- what ends it ----------------------------------------------------------------------------


def forget(shown: Film) -> None:
    shown.plan.forget("car")
    shown.plan.lock("car", Shape().thing.box_xyxy)


def lock(shown: Film) -> None:
    shown.plan.lock("car", Shape().thing.box_xyxy)


def other_references(shown: Film) -> None:
    shown.bank_version += 1


def switch_off(shown: Film) -> None:
    plan = make_search_plan(BUNDLE, DetectorConfig(search="track"))
    plan.adopt_state(shown.plan)
    shown.plan = plan


@pytest.mark.parametrize("change", [forget, lock, other_references, switch_off])
def test_the_picture_is_dropped(change) -> None:
    shown = following(Shape((1, 0)))
    shown.show_for(0.5, Shape((1, 0)))
    assert shown.inferences[-1].compared
    change(shown)
    found = shown.show(Shape((1.5, 0)))["car"]
    assert not shown.inferences[-1].compared
    assert score(found) == pytest.approx(0.3, abs=0.01)


def test_the_picture_stays_with_other_settings() -> None:
    shown = following(Shape((1, 0)))
    shown.show_for(0.5, Shape((1, 0)))
    plan = make_search_plan(BUNDLE, DetectorConfig(search="track", track_update_s=5))
    plan.adopt_state(shown.plan)
    shown.plan = plan
    shown.show(Shape((1, 0)))
    assert shown.inferences[-1].compared == [("car", (1, 0))]


# -- several targets, settings, the network --------------------------------------------------


def test_each_target_has_its_own() -> None:
    car, boat = Shape((0.5, 0)), Shape((0, 0.8), (1000.0, 500.0), name="boat")
    shown = film()
    shown.names = ("car", "boat")
    for shape in (car, boat):
        shown.plan.lock(shape.name, shape.thing.box_xyxy)
    shown.show_for(1, car, boat)
    assert set(shown.compared) == {("car", (0.5, 0)), ("boat", (0, 0.8))}
    assert len(shown.encoded) == 2


@pytest.mark.parametrize("period_s", [-1.0, 3601.0, float("nan")])
def test_a_period_out_of_range_is_refused(period_s: float) -> None:
    with pytest.raises(ConfigError, match=r"track_update_s must be between 0 and 3600"):
        DetectorConfig(track_update_s=period_s)


def test_the_network_is_asked_once_for_both_views() -> None:
    things = [
        Thing.at(*HERE, score=0.6),
        Thing.at(*HERE, score=0.9, name="picture"),
        Thing.at(660, 330, 20, score=0.4),
        Thing.at(560, 260, 20, score=0.9, name="picture"),
    ]
    backend = FakeBackend(things)
    template = Template("car", (("car",),), (np.array([0.25, 0, 0, 0]),), (), 0.0)
    bank = make_bank(backend, {"car": template}, 7, "prototype")
    frame = np.zeros((720, 1280, 3), np.uint8)
    search_frame = NetworkSearchFrame(backend, BUNDLE, bank, frame, 0.0)
    crops = [Crop(500, 200, 192, 192, 192, 192), Crop(452, 152, 288, 288, 192, 192)]
    compared = search_frame.infer_with_view(crops, "car", ("picture",))
    assert search_frame.bank_version == 7
    assert backend.inferred == [(2, ("car", "picture"))]
    plain = search_frame.infer(crops, ["car"])["car"]
    np.testing.assert_array_equal(
        compared.candidates.scores, [s for part in plain for s in part.scores]
    )
    np.testing.assert_array_equal(
        compared.candidates.boxes_xyxy, np.concatenate([part.boxes_xyxy for part in plain])
    )
    first = compared.view_scores[: len(plain[0])]
    assert compared.candidates.boxes_xyxy[0] == pytest.approx(
        (590, 280, 630, 320)
    )  # a quarter further
    assert plain[0].scores[:2] == pytest.approx([0.6, 0.4])
    assert first[:2] == pytest.approx([0.9, BACKGROUND])  # not its other place
    assert len(compared.view_scores) == len(compared.candidates)
    assert set(search_frame.timings_ms) == {"preprocess", "network", "decode"}
    assert 0.5 < search_frame.heatmaps()["car"].max() <= 0.6  # of the template


@pytest.fixture(scope="module")
def toy_bundle(tmp_path_factory):
    folder = tmp_path_factory.mktemp("toy")
    toy_model.write_bundle(folder)
    return folder


def fading(shade: int) -> np.ndarray:
    """A red square whose green is this much; the toy's score is exp(-20 (shade / 255)^2)."""
    frame = toy_model.square_frame("red")
    x, y = toy_model.SQUARES_XY["red"]
    frame[y : y + toy_model.SQUARE, x : x + toy_model.SQUARE, 1] = shade
    return frame


@pytest.mark.parametrize("pooling", ["prototype", "best_view"])
@pytest.mark.parametrize("period_s", [0.0, 0.2])
def test_with_a_network_a_fading_square_is_followed_longer(
    toy_bundle, period_s: float, pooling: str
) -> None:
    x, y = toy_model.SQUARES_XY["red"]
    box = (x, y, x + toy_model.SQUARE, y + toy_model.SQUARE)
    config = DetectorConfig(
        search="track",
        track_update_s=period_s,
        track_window_px=192,
        track_keep_drop=1.0,
        reference_pooling=pooling,
    )
    with Detector.open(toy_bundle, "onnxruntime", config) as detector:
        references = [Reference(toy_model.square_frame("red"), box)] * 2
        detector.set_template(references)
        detector.lock("target", box)
        for _ in range(30):
            detector.detect(fading(0))
        for shade in range(0, 46, 3):  # 0.54 at the end
            assert detector.detect(fading(shade)).detections
        for _ in range(10):
            detector.detect(fading(45))
        result = detector.detect(fading(75))  # 0.18 by the template, 0.76 by the last picture
        assert bool(result.detections) == bool(period_s)
        if period_s:
            (detection,) = result.detections
            assert detection.score == pytest.approx(np.exp(-20 * (30 / 255) ** 2), abs=0.02)
            assert detection.bbox_xyxy == pytest.approx(box, abs=5)
            detector.set_template(references[:1], append=True)  # begins anew
            assert not detector.detect(fading(75)).detections
