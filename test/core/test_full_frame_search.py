from __future__ import annotations

import numpy as np
import pytest
from fake_search_frame import FakeSearchFrame, Thing
from hypothesis import given, settings
from hypothesis import strategies as st

from refdet_core.search.full_frame_search import FullFrameSearch
from refdet_core.search.scales import SizeRange
from refdet_core.search.single_tile import SingleTile
from refdet_core.search.tile_pyramid import TilePyramid
from refdet_core.search.tiles import Tiles

LARGE = (3840, 2160)
TILES = Tiles((1280, 736), 128, 32)
# Where a tile begins or ends inside its neighbour.
COLUMN_SEAMS = sorted(
    {x for crop in TILES.crops(LARGE) for x in (crop.x, crop.x + crop.width)} - {0, 3840}
)
ROW_SEAMS = sorted(
    {y for crop in TILES.crops(LARGE) for y in (crop.y, crop.y + crop.height)} - {0, 2160}
)


def full_frame_search(tiling=TILES, threshold=0.5, most=5, budget=0) -> FullFrameSearch:
    return FullFrameSearch(lambda *_: (tiling,), 0.3, threshold, most, budget)


def boxes(found) -> list[tuple[float, ...]]:
    return [detection.bbox_xyxy for detection in found.detections]


def find_one(plan: FullFrameSearch, search_frame: FakeSearchFrame):
    return plan.search(search_frame, ["car"])["car"]


@pytest.mark.parametrize("x", COLUMN_SEAMS)
@pytest.mark.parametrize("y", [300, *ROW_SEAMS])
@pytest.mark.parametrize("size", [8, 40, 128])
def test_a_target_on_a_seam_is_reported_once_and_whole(x: int, y: int, size: int) -> None:
    thing = Thing.at(x, y, size)
    found = find_one(full_frame_search(threshold=0.05), FakeSearchFrame([thing], size=LARGE))
    assert boxes(found) == [pytest.approx(thing.box_xyxy, abs=0.01)]
    assert found.detections[0].score == pytest.approx(0.9)
    assert found.presence == pytest.approx(0.9)


@settings(max_examples=60, deadline=None)
@given(
    x=st.floats(0, 1),
    y=st.floats(0, 1),
    width=st.floats(2, 128),
    height=st.floats(2, 128),
)
def test_wherever_a_target_up_to_the_overlap_is_it_is_seen_whole(x, y, width, height) -> None:
    left, top = x * (LARGE[0] - width), y * (LARGE[1] - height)
    box = (left, top, left + width, top + height)
    found = find_one(full_frame_search(threshold=0.05), FakeSearchFrame([Thing(box)], size=LARGE))
    assert boxes(found) == [pytest.approx(box, abs=0.01)]


def test_a_target_larger_than_the_overlap_is_not_reported_in_pieces() -> None:
    # half of it lies in each of two tiles; one of the halves overlaps too much to be another
    found = find_one(
        full_frame_search(), FakeSearchFrame([Thing.at(COLUMN_SEAMS[0], 300, 200)], size=LARGE)
    )
    assert len(found.detections) == 1


@pytest.mark.parametrize("frame", [(640, 480), (1280, 720), LARGE, (7680, 4320)])
@pytest.mark.parametrize("right", [False, True])
@pytest.mark.parametrize("bottom", [False, True])
@pytest.mark.parametrize("tiling", [TILES, SingleTile((320, 320))])
def test_a_target_in_a_corner_is_found(frame, right, bottom, tiling) -> None:
    x, y = (frame[0] - 20 if right else 20), (frame[1] - 20 if bottom else 20)
    found = find_one(full_frame_search(tiling), FakeSearchFrame([Thing.at(x, y)], size=frame))
    assert boxes(found) == [pytest.approx((x - 20, y - 20, x + 20, y + 20), abs=0.01)]


@pytest.mark.parametrize(
    ("tiling", "frame", "box", "cut"),
    [
        # letterboxed there is padding above and below, in a tile to the right and below
        (SingleTile((320, 320)), (1280, 720), (100, -30, 140, 10), (100, 0, 140, 10)),
        (SingleTile((320, 320)), (1280, 720), (100, 700, 140, 780), (100, 700, 140, 720)),
        (TILES, (100, 100), (90, 80, 110, 120), (90, 80, 100, 100)),
    ],
)
def test_a_box_that_reaches_out_of_the_frame_is_cut_there(tiling, frame, box, cut) -> None:
    found = find_one(full_frame_search(tiling), FakeSearchFrame([Thing(box)], size=frame))
    assert boxes(found) == [cut]


def test_what_lies_wholly_outside_the_frame_is_not_reported() -> None:
    # a 100 px frame in a tile of 128: the network also sees 28 px of padding
    search_frame = FakeSearchFrame(
        [Thing((104, 20, 120, 40)), Thing((20, 20, 40, 40), 0.6)], size=(100, 100)
    )
    found = find_one(full_frame_search(), search_frame)
    assert boxes(found) == [(20, 20, 40, 40)]


@pytest.mark.parametrize("frame", [(1, 1), (1, 2000), (33, 20), (100, 64)])
def test_a_frame_smaller_than_a_tile_is_one_tile(frame) -> None:
    search_frame = FakeSearchFrame([Thing((0, 0, frame[0], frame[1]))], size=frame)
    found = find_one(full_frame_search(Tiles((1280, 2048), 128, 32)), search_frame)
    assert boxes(found) == [(0, 0, *frame)]
    ((crops, _),) = search_frame.inferences
    assert len(crops) == 1


def test_an_8k_frame_takes_49_tiles_in_one_go() -> None:
    # (7680 - 1280) / 1152 and (4320 - 736) / 608, both rounded up, and one each
    search_frame = FakeSearchFrame(
        [Thing.at(7000, 4000, 12), Thing.at(3, 4317, 6, score=0.7)], size=(7680, 4320)
    )
    found = find_one(full_frame_search(), search_frame)
    ((crops, _),) = search_frame.inferences
    assert len(crops) == 7 * 7
    assert boxes(found) == [(6994, 3994, 7006, 4006), (0, 4314, 6, 4320)]


def test_neighbours_that_do_not_overlap_are_two_and_doubles_are_one() -> None:
    things = [
        Thing.at(400, 300, score=0.8),
        Thing.at(441, 300, score=0.9),  # beside the first
        Thing.at(404, 303, score=0.6),  # the first again
    ]
    found = find_one(full_frame_search(), FakeSearchFrame(things))
    assert [round(detection.score, 2) for detection in found.detections] == [0.9, 0.8]


@pytest.mark.parametrize("most", [1, 2, 3])
def test_only_so_many_and_the_best_first(most: int) -> None:
    things = [Thing.at(100 * n, 300, score=0.5 + 0.04 * n) for n in range(1, 11)]
    found = find_one(full_frame_search(most=most), FakeSearchFrame(things))
    expected = [0.9, 0.86, 0.82][:most]
    assert [detection.score for detection in found.detections] == pytest.approx(expected)


@pytest.mark.parametrize(("threshold", "count"), [(0.0, 2), (0.5, 1), (0.75, 1), (0.76, 0)])
def test_the_threshold_hides_detections_but_not_presence(threshold: float, count: int) -> None:
    # a quarter is exact in float32; the other candidate is the background's
    found = find_one(
        full_frame_search(threshold=threshold), FakeSearchFrame([Thing.at(100, 100, score=0.75)])
    )
    assert len(found.detections) == count
    assert found.presence == 0.75
    assert found.status is None


def test_an_empty_frame_has_presence_of_the_background() -> None:
    assert find_one(full_frame_search(), FakeSearchFrame()).detections == ()
    assert find_one(full_frame_search(), FakeSearchFrame()).presence == pytest.approx(0.02)


def test_without_any_candidate_there_is_nothing() -> None:
    found = find_one(full_frame_search(), FakeSearchFrame(background=None, size=LARGE))
    assert (found.detections, found.presence) == ((), 0.0)


def test_several_templates_share_the_looks() -> None:
    things = [Thing.at(200, 200, name="car"), Thing.at(900, 500, score=0.6, name="boat")]
    search_frame = FakeSearchFrame(things)
    found = full_frame_search().search(search_frame, ["car", "boat", "kite"])
    assert list(found) == ["car", "boat", "kite"]
    assert boxes(found["car"]) == [(180, 180, 220, 220)]
    assert boxes(found["boat"]) == [(880, 480, 920, 520)]
    assert found["boat"].detections[0].template_id == "boat"
    assert found["kite"].detections == ()
    assert [names for _, names in search_frame.inferences] == [("car", "boat", "kite")]


def test_no_templates_are_no_findings() -> None:
    assert full_frame_search().search(FakeSearchFrame(), []) == {}


@pytest.mark.parametrize("budget", [1, 2, 5, 7, 16])
def test_a_budget_finds_everything_within_a_round(budget: int) -> None:
    things = [
        Thing.at(x, y, 30, score=0.9 - 0.01 * number)
        for number, (x, y) in enumerate([(20, 20), (3800, 30), (1900, 1000), (40, 2100)])
    ]
    plan, found = full_frame_search(budget=budget), set()
    for _ in range(-(-16 // budget)):
        search_frame = FakeSearchFrame(things, size=LARGE)
        found |= set(boxes(find_one(plan, search_frame)))
        ((crops, _),) = search_frame.inferences
        assert 1 <= len(crops) <= budget
    assert found == {thing.box_xyxy for thing in things}


def test_a_budget_returns_to_where_something_was_at_the_start_of_a_round() -> None:
    plan, seen = full_frame_search(budget=4), []
    for _ in range(12):
        seen.append(
            bool(boxes(find_one(plan, FakeSearchFrame([Thing.at(3800, 2100)], size=LARGE))))
        )
    # the last of the 16 tiles; from the second round on it is among the first four
    assert seen == [False] * 3 + [True] + [True] + [False] * 3 + [True] + [False] * 3


def test_a_frame_of_another_size_midway_is_searched_from_the_start() -> None:
    plan = full_frame_search(budget=4)
    find_one(plan, FakeSearchFrame(size=LARGE))
    small = FakeSearchFrame([Thing.at(100, 100)], size=(640, 480))
    assert boxes(find_one(plan, small)) == [(80, 80, 120, 120)]
    found = [
        boxes(find_one(plan, FakeSearchFrame([Thing.at(20, 20)], size=LARGE))) for _ in range(4)
    ]
    assert found.count([(0, 0, 40, 40)]) == 1


def test_presence_is_that_of_the_tiles_that_were_looked_at() -> None:
    plan = full_frame_search(budget=8)
    search_frame = FakeSearchFrame([Thing.at(3800, 2100)], size=LARGE)
    assert [round(find_one(plan, search_frame).presence, 2) for _ in range(2)] == [0.02, 0.9]


def test_full_frame_looks_once_however_large_the_frame() -> None:
    for frame in ((1, 1), (1280, 720), (7680, 4320)):
        search_frame = FakeSearchFrame([Thing((0, 0, *frame))], size=frame)
        found = find_one(full_frame_search(SingleTile((320, 320))), search_frame)
        assert boxes(found) == [(0, 0, *frame)]
        ((crops, _),) = search_frame.inferences
        assert len(crops) == 1


def test_scores_and_boxes_are_plain_numbers() -> None:
    (detection,) = find_one(full_frame_search(), FakeSearchFrame([Thing.at(100, 100)])).detections
    assert type(detection.score) is float
    assert {type(value) for value in detection.bbox_xyxy} == {float}
    assert np.isfinite(detection.bbox_xyxy).all()


class SeenAtScales(FakeSearchFrame):
    """A frame whose templates are of known sizes; None: of any size."""

    def __init__(self, things, sizes) -> None:
        super().__init__(things)
        self._sizes = sizes

    def reference_size(self, template_id: str):
        size_px = self._sizes.get(template_id)
        return None if size_px is None else SizeRange(size_px, size_px)

    @property
    def scales(self) -> list[tuple[float, tuple[str, ...]]]:
        return [
            (round(crops[0].out_width / crops[0].width, 2), names)
            for crops, names in self.inferences
        ]


def pyramid_search(most=5, budget=0) -> FullFrameSearch:
    return FullFrameSearch(TilePyramid((1280, 736), 128, 16, 0.0, 48.0), 0.3, 0.5, most, budget)


def test_templates_of_one_size_share_a_pass_and_others_have_their_own() -> None:
    names = ["car", "van", "ship"]
    frame = SeenAtScales([Thing.at(100, 100)], {"car": 47, "van": 51, "ship": 190})
    found = pyramid_search().search(frame, names)
    assert frame.scales == [(1.0, ("car", "van")), (0.25, ("ship", "car", "van"))]
    assert list(found) == names
    assert boxes(found["car"]) == [pytest.approx((80, 80, 120, 120), abs=0.01)]


def test_an_object_that_several_scales_show_is_one() -> None:
    frame = SeenAtScales([Thing.at(400, 300, 60)], {})
    found = find_one(pyramid_search(), frame)
    assert len(frame.scales) == 2
    assert boxes(found) == [pytest.approx((370, 270, 430, 330), abs=0.01)]


def test_a_part_that_one_scale_shows_is_no_object_beside_the_whole_of_another() -> None:
    whole, part = (370.0, 270.0, 430.0, 330.0), (372.0, 272.0, 396.0, 296.0)

    class PartsWhenEnlarged(SeenAtScales):
        def _seen(self, crop, name):
            enlarged = crop.out_width > crop.width
            self.things = (Thing(part, 0.8),) if enlarged else (Thing(whole, 0.9),)
            return super()._seen(crop, name)

    assert boxes(find_one(pyramid_search(), PartsWhenEnlarged([], {}))) == [whole]


def test_a_budget_spreads_the_scales_over_frames_and_returns_to_the_one_that_showed_it() -> None:
    plan, seen = pyramid_search(budget=1), []
    for _ in range(10):
        frame = SeenAtScales([Thing.at(100, 100, 30)], {})
        find_one(plan, frame)
        ((scale, _),) = frame.scales
        seen.append(scale)
    assert seen[:5] == [1.41] * 4 + [0.35]
    assert sorted(seen[5:]) == sorted(seen[:5])


def test_templates_that_were_not_looked_for_in_this_frame_are_there_with_nothing() -> None:
    frame = SeenAtScales([], {"car": 47, "ship": 190})
    found = pyramid_search(budget=1).search(frame, ["car", "ship"])
    assert list(found) == ["car", "ship"]
    assert (found["ship"].detections, found["ship"].presence) == ((), 0.0)
