"""The searches ``track`` and ``auto`` over scripted videos, through the plans a user gets."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Callable, Iterable, Sequence

import numpy as np
import pytest
from fake_search_frame import BUNDLE, FakeSearchFrame, Thing

from refdet_core.detector_config import DetectorConfig
from refdet_core.errors import BackendError, ConfigError
from refdet_core.search.base import SearchPlan, SearchResult
from refdet_core.search_plans import make_search_plan
from refdet_core.types import LOST, SEARCHING, TRACKING, BoxXYXY

HERE, THERE = (400.0, 300.0), (1000.0, 500.0)
TENTH, THIRTIETH = 0.1, 1 / 30


@dataclass(frozen=True)
class Shown:
    """One frame and what the plan said of it."""

    search_frame: FakeSearchFrame
    found: dict[str, SearchResult]

    def of(self, name: str = "car") -> SearchResult:
        return self.found[name]

    def state(self, name: str = "car") -> str:
        return self.found[name].status.state

    def track_id(self, name: str = "car") -> int | None:
        return self.found[name].status.track_id

    def centre(self, name: str = "car") -> tuple[float, float] | None:
        """Of the one reported box; None if none is."""
        if not self.found[name].detections:
            return None
        (detection,) = self.found[name].detections
        x1, y1, x2, y2 = detection.bbox_xyxy
        return (x1 + x2) / 2, (y1 + y2) / 2


@dataclass
class Film:
    """Frames shown to one plan. Every answer is checked for what must hold always."""

    plan: SearchPlan
    period_s: float | None = THIRTIETH
    time_s: float = 0.0
    size: tuple[int, int] = (1280, 720)
    names: Sequence[str] = ("car",)
    background: float | None = 0.02
    _random: random.Random = field(default_factory=lambda: random.Random(1))

    def show(self, *things: Thing, frame_bgr: np.ndarray | None = None) -> Shown:
        search_frame = FakeSearchFrame(things, self.time_s, self.size, frame_bgr, self.background)
        found = self.plan.search(search_frame, self.names)
        self.time_s += self.period_s or self._random.choice([0.011, 0.03, 0.04, 0.13, 0.2])
        assert list(found) == list(self.names)
        for name, each in found.items():
            _check(name, each)
        return Shown(search_frame, found)

    def show_for(
        self, seconds: float, scene: Iterable[Thing] | Callable[[float], Iterable[Thing]]
    ) -> list[Shown]:
        """Frames of a scene: things that stand, or a function of time to things."""
        end_s, shown = self.time_s + seconds - 1e-9, []
        while self.time_s < end_s:
            shown.append(self.show(*(scene(self.time_s) if callable(scene) else scene)))
        return shown


def _check(name: str, found: SearchResult) -> None:
    status = found.status
    assert status is not None and 0 <= found.presence <= 1
    assert (status.track_id is None) == (status.state == SEARCHING)
    if status.window_xyxy is not None:
        assert np.isfinite(status.window_xyxy).all()
    for detection in found.detections:
        assert status.state == TRACKING
        assert (detection.template_id, detection.track_id) == (name, status.track_id)
        assert 0 <= detection.score <= found.presence
        assert np.isfinite(detection.bbox_xyxy).all()
        assert detection.bbox_xyxy[0] < detection.bbox_xyxy[2]
        assert detection.bbox_xyxy[1] < detection.bbox_xyxy[3]


def film(search: str = "auto", period_s: float | None = THIRTIETH, **settings) -> Film:
    settings.setdefault("tile_scale", 1.0)  # a frame of 1280x720 is one tile
    settings.setdefault("auto_confirm_score", 0.7)
    settings.setdefault("auto_back_drop", 1.75)
    return Film(make_search_plan(BUNDLE, DetectorConfig(search=search, **settings)), period_s)


def tracked(search: str = "auto", period_s: float | None = THIRTIETH, score=0.9, **settings):
    """A film whose target has been followed for two seconds at HERE."""
    begun = film(search, period_s, **settings)
    last = begun.show_for(2.0, [Thing.at(*HERE, score=score)])[-1]
    assert (last.state(), last.track_id()) == (TRACKING, 1)
    return begun


def states(shown: Sequence[Shown]) -> list[str]:
    return [each.state() for each in shown]


def near(place: tuple[float, float], pixels: float = 2.0):
    return pytest.approx(place, abs=pixels)


class SmallEngine(FakeSearchFrame):
    """What a backend shows that takes no window much larger than usual."""

    def infer(self, crops, template_ids):
        if any(crop.width == crop.height and crop.out_width > 256 for crop in crops):
            raise BackendError("not built for that")
        return super().infer(crops, template_ids)


@pytest.mark.parametrize("search", ["auto", "track"])
def test_after_a_window_that_the_backend_refuses_comes_one_of_the_usual_size(search: str) -> None:
    watched = tracked(search)
    failed = []
    for frame in range(90):
        search_frame = SmallEngine([], watched.time_s + frame * THIRTIETH)
        try:
            found = watched.plan.search(search_frame, watched.names)
            failed.append(False)
        except BackendError:
            failed.append(True)
    assert any(failed) and (True, True) not in set(zip(failed, failed[1:]))
    assert found["car"].status.state == LOST
    watched.time_s += 90 * THIRTIETH
    assert watched.show_for(1.0, [Thing.at(*HERE)])[-1].centre() == near(HERE)


# -- beginning -------------------------------------------------------------------------------


@pytest.mark.parametrize("period_s", [TENTH, THIRTIETH, None])
def test_what_appears_is_followed_after_three_frames_with_the_id_one(period_s) -> None:
    watched = film(period_s=period_s)
    assert set(states(watched.show_for(1.0, []))) == {SEARCHING}
    shown = [watched.show(Thing.at(*HERE)) for _ in range(5)]
    assert states(shown) == [SEARCHING, SEARCHING, TRACKING, TRACKING, TRACKING]
    assert [each.track_id() for each in shown] == [None, None, 1, 1, 1]
    assert [each.centre() for each in shown] == [None, None] + [near(HERE)] * 3


@pytest.mark.parametrize(("frames", "of"), [(1, 1), (2, 4), (5, 5)])
def test_k_of_n_is_as_configured(frames: int, of: int) -> None:
    watched = film(auto_confirm_frames=frames, auto_confirm_of=of)
    shown = [watched.show(Thing.at(*HERE)) for _ in range(frames)]
    assert states(shown) == [SEARCHING] * (frames - 1) + [TRACKING]


def test_a_moving_target_is_confirmed_too() -> None:
    watched = film(period_s=TENTH)
    shown = watched.show_for(3.0, lambda t: [Thing.at(200 + 120 * t, 300)])
    assert states(shown[2:]) == [TRACKING] * 28
    assert shown[-1].centre() == near((200 + 120 * 2.9, 300))


@pytest.mark.parametrize("score", [0.3, 0.69, 0.95])
def test_a_candidate_of_one_frame_never_begins_a_track(score: float) -> None:
    watched = film()
    for number in range(30):  # each time elsewhere
        flash = Thing.at(100 + 37 * number, 60 + 20 * number, score=score)
        for shown in (watched.show(flash), *watched.show_for(0.1, [])):
            assert (shown.state(), shown.of().detections) == (SEARCHING, ())


def test_candidates_that_jump_about_every_frame_never_begin_a_track() -> None:
    watched, places = film(), random.Random(3)
    for _ in range(100):
        spot = Thing.at(places.uniform(0, 1280), places.uniform(0, 720), 12, score=0.9)
        assert watched.show(spot).state() == SEARCHING


def test_a_candidate_that_stays_unsure_is_watched_but_not_followed() -> None:
    watched = film()
    shown = watched.show_for(2.0, [Thing.at(*HERE, score=0.6)])
    assert set(states(shown)) == {SEARCHING}
    assert shown[-1].of().presence == pytest.approx(0.6)
    # and a better one elsewhere is taken at once
    better = watched.show_for(0.2, [Thing.at(*HERE, score=0.6), Thing.at(*THERE)])
    assert better[-1].centre() == near(THERE)


def test_of_two_candidates_the_one_whose_window_shows_more_is_followed() -> None:
    blurred = Thing((380, 280, 420, 320), 0.8, enlarged_score=0.5)
    clear = Thing((980, 480, 1020, 520), 0.6, enlarged_score=0.9)
    last = film().show_for(0.5, [blurred, clear])[-1]
    assert (last.track_id(), last.centre()) == (1, near(THERE))


def test_a_watched_candidate_is_not_left_for_one_that_is_less_sure() -> None:
    watched, other = film(), Thing.at(*THERE, score=0.5)
    scores = (0.75, 0.6, 0.75, 0.6, 0.75)
    shown = [watched.show(Thing.at(*HERE, score=score), other) for score in scores]
    assert states(shown) == [SEARCHING] * 4 + [TRACKING]
    assert shown[-1].centre() == near(HERE)


def test_nothing_to_see_is_searched_with_one_scan_and_no_window() -> None:
    for shown in film().show_for(0.5, []):
        assert len(shown.search_frame.inferences) == 1
        assert (len(shown.search_frame.tiles), len(shown.search_frame.windows)) == (1, 0)
        assert shown.of().status.window_xyxy is None


# -- following -------------------------------------------------------------------------------


def test_in_steady_state_a_frame_costs_one_window_and_now_and_then_one_tile() -> None:
    watched = tracked()
    shown = watched.show_for(6.0, [Thing.at(*HERE)])
    assert [len(each.search_frame.windows) for each in shown] == [1] * 180
    assert {len(each.search_frame.tiles) for each in shown} == {0, 1}
    tiles = [tile for each in shown for tile in each.search_frame.tiles]
    assert [tiles.count(tile) for tile in set(tiles)] == [3] * 8  # three checks of eight tiles
    (window,) = shown[-1].search_frame.windows
    assert window.out_width in (192, 208)  # a little doubt is left
    edges = (window.x, window.y, window.x + window.width, window.y + window.height)
    assert shown[-1].of().status.window_xyxy == edges


def test_a_check_among_look_alikes_examines_the_best_ones_in_frames_of_their_own() -> None:
    watched = tracked()
    places = [(x, y) for x in (100.0, 640.0, 1180.0) for y in (80.0, 640.0)]
    look_alikes = [Thing.at(*place, score=0.5 + 0.05 * i) for i, place in enumerate(places)]
    shown = watched.show_for(10.0, [Thing.at(*HERE), *look_alikes])
    costs = [(len(each.search_frame.tiles), len(each.search_frame.windows)) for each in shown]
    # the window that follows the target, and a tile, or a suspect, or the comparison with one
    assert max(tiles + windows for tiles, windows in costs) == 2
    later = costs[150:]  # checks that begin with the tile that was best in the last one
    tiles, examined = sum(tiles for tiles, _ in later), sum(windows > 1 for _, windows in later)
    assert tiles >= 2 * 8
    assert 0.25 * tiles <= examined < tiles  # at most three and the comparison, of eight tiles


def test_without_checks_nothing_but_the_window_is_looked_at() -> None:
    watched = tracked(score=0.75, auto_check_s=0.0)
    shown = watched.show_for(5.0, [Thing.at(*HERE, score=0.75), Thing.at(*THERE, score=0.99)])
    assert {len(each.search_frame.tiles) for each in shown} == {0}
    assert {len(each.search_frame.windows) for each in shown} == {1}


def test_three_scales_cost_three_windows_in_one_look() -> None:
    shown = tracked(track_scales=3, auto_check_s=0.0).show(Thing.at(*HERE))
    assert [len(crops) for crops, _ in shown.search_frame.inferences] == [3]
    assert shown.centre() == near(HERE)


@pytest.mark.parametrize("period_s", [TENTH, THIRTIETH, None])
def test_a_target_that_wanders_is_followed(period_s) -> None:
    def scene(time_s: float) -> list[Thing]:
        angle = 0.8 * time_s
        return [Thing.at(640 + 300 * np.cos(angle), 360 + 200 * np.sin(angle), 30 + 2 * time_s)]

    watched = film(period_s=period_s)
    for shown in watched.show_for(8.0, scene)[3:]:
        (truth,) = scene(shown.search_frame.time_s)
        x1, y1, x2, y2 = truth.box_xyxy
        assert shown.centre() == near(((x1 + x2) / 2, (y1 + y2) / 2), 3)
        assert shown.track_id() == 1


def test_a_look_alike_that_passes_near_does_not_take_the_track() -> None:
    def scene(time_s: float) -> list[Thing]:
        passing = Thing.at(HERE[0] - 300 + 150 * (time_s - 2), HERE[1] + 45, score=0.93)
        return [Thing.at(*HERE, score=0.9), passing]

    watched = tracked()
    for shown in watched.show_for(4.0, scene):
        assert (shown.centre(), shown.track_id()) == (near(HERE), 1)


# -- losing and finding again ----------------------------------------------------------------


@pytest.mark.parametrize("search", ["track", "auto"])
@pytest.mark.parametrize("period_s", [TENTH, THIRTIETH, None])
def test_what_leaves_is_not_reported_from_that_frame_on(search, period_s) -> None:
    watched = tracked(search, period_s)
    gone_s = watched.time_s
    for shown in watched.show_for(3.0, []):
        unseen_s = shown.search_frame.time_s - gone_s
        assert shown.of().detections == ()
        assert shown.of().presence < 0.1
        if unseen_s > 0.5 + 1e-6:
            assert (shown.state(), shown.track_id()) == (LOST, 1)
        if unseen_s < 0.29:  # half a second since it was seen last, up to 0.2 s before
            assert (shown.state(), shown.track_id()) == (TRACKING, 1)


@pytest.mark.parametrize("period_s", [TENTH, THIRTIETH, None])
@pytest.mark.parametrize("back_at", [HERE, THERE])
@pytest.mark.parametrize(("away_s", "track_id"), [(0.3, 1), (2.0, 1), (9.0, 1), (13.0, 2)])
def test_the_id_stays_after_a_short_loss_and_changes_after_a_long_one(
    period_s, back_at, away_s, track_id
) -> None:
    watched = tracked(period_s=period_s)
    watched.show_for(away_s, [])
    shown = watched.show_for(2.0, [Thing.at(*back_at)])
    assert (shown[-1].state(), shown[-1].track_id()) == (TRACKING, track_id)
    assert shown[-1].centre() == near(back_at)


def test_a_target_away_for_long_is_searched_without_an_id() -> None:
    last = tracked().show_for(12.0, [])[-1]
    assert (last.state(), last.track_id(), last.of().status.window_xyxy) == (SEARCHING, None, None)


def test_found_again_within_a_second_of_coming_back() -> None:
    watched = tracked(period_s=TENTH)
    watched.show_for(3.0, [])
    shown = watched.show_for(1.0, [Thing.at(*THERE)])
    assert states(shown)[2:] == [TRACKING] * 8
    assert [each.of().detections == () for each in shown[:3]] == [True, True, False]


def test_lost_it_is_searched_in_its_window_and_in_the_whole_frame() -> None:
    watched = tracked()
    watched.show_for(1.0, [])
    shown = watched.show()
    assert (shown.state(), len(shown.search_frame.windows), len(shown.search_frame.tiles)) == (
        LOST,
        1,
        1,
    )


def test_a_sudden_drop_is_absence() -> None:
    watched = tracked(score=0.95)
    shown = watched.show_for(1.0, [Thing.at(*HERE, score=0.2)])
    assert {each.of().detections for each in shown} == {()}
    assert shown[-1].state() == LOST


@pytest.mark.parametrize("search", ["track", "auto"])
def test_a_track_that_never_scored_well_is_kept(search) -> None:
    watched = film(search)
    watched.plan.lock("car", Thing.at(*HERE).box_xyxy)
    shown = watched.show_for(8.0, lambda t: [Thing.at(*HERE, score=0.35 + 0.05 * np.sin(9 * t))])
    for each in shown:
        assert (each.state(), each.track_id(), each.centre()) == (TRACKING, 1, near(HERE))


def test_a_low_score_where_a_lost_target_was_does_not_bring_it_back() -> None:
    watched = tracked(score=0.95)
    watched.show_for(1.0, [])
    # 1.75 below the log-odds of 0.95 is above auto_confirm_score, so that is what it takes
    shown = watched.show_for(3.0, [Thing.at(*HERE, score=0.65)])
    assert set(states(shown)) == {LOST}
    assert states(watched.show_for(0.2, [Thing.at(*HERE, score=0.75)]))[-1] == TRACKING


def test_a_hidden_target_that_drives_on_is_followed_behind_what_hides_it() -> None:
    def scene(time_s: float) -> list[Thing]:
        return [] if 2.0 < time_s < 2.4 else [Thing.at(100 + 150 * time_s, 300)]

    shown = film(auto_check_s=0.0).show_for(4.0, scene)
    assert states(shown[2:]) == [TRACKING] * 118
    assert sum(len(each.search_frame.tiles) for each in shown) == 1
    assert shown[-1].centre() == near((100 + 150 * shown[-1].search_frame.time_s, 300))


@pytest.mark.parametrize("phase_s", [0.1, 0.3, 0.5, 0.7, 0.9])
def test_a_sudden_jump_keeps_the_id_whenever_it_happens(phase_s: float) -> None:
    """As after any other short loss: a check of the whole frame may be due meanwhile, or not."""
    watched = tracked()
    watched.show_for(phase_s, [Thing.at(*HERE)])
    last = watched.show_for(2.0, [Thing.at(*THERE)])[-1]
    assert (last.track_id(), last.centre()) == (1, near(THERE))


@pytest.mark.parametrize("phase_s", [0.1, 0.3, 0.5, 0.7, 0.9])
def test_hidden_for_a_moment_it_keeps_its_id_beside_a_look_alike(phase_s: float) -> None:
    watched, other = tracked(), Thing.at(*THERE, score=0.5)
    watched.show_for(phase_s, [Thing.at(*HERE), other])
    watched.show_for(0.3, [other])
    last = watched.show_for(2.0, [Thing.at(*HERE), other])[-1]
    assert (last.track_id(), last.centre()) == (1, near(HERE))


# -- false locks -----------------------------------------------------------------------------


@pytest.mark.parametrize("period_s", [TENTH, THIRTIETH, None])
def test_a_false_lock_is_given_up_for_a_clearly_better_place(period_s) -> None:
    watched = film(period_s=period_s)
    watched.plan.lock("car", Thing.at(*HERE).box_xyxy)
    watched.show_for(0.5, [Thing.at(*HERE, score=0.45)])
    scene = [Thing.at(*HERE, score=0.45), Thing.at(*THERE, score=0.95)]
    shown = watched.show_for(4.0, scene)
    assert (shown[-1].state(), shown[-1].track_id()) == (TRACKING, 2)
    assert shown[-1].centre() == near(THERE)
    # it took two checks in a row, and the new place the usual confirmation
    assert [each.centre() for each in shown].count(None) == 2


def test_of_all_places_of_a_check_the_best_takes_a_false_lock() -> None:
    watched = film()
    watched.plan.lock("car", Thing.at(640, 360).box_xyxy)
    watched.show_for(0.5, [Thing.at(640, 360, score=0.3)])
    good, best = (
        Thing.at(150, 150, score=0.9),
        Thing.at(1100, 600, score=0.97),
    )  # tiles in this order
    for shown in watched.show_for(4.0, [Thing.at(640, 360, score=0.3), good, best]):
        assert shown.centre() in (None, near((640, 360)), near((1100, 600)))
    assert shown.centre() == near((1100, 600))


def test_a_better_place_in_one_check_alone_is_not_believed() -> None:
    watched = tracked(score=0.6, auto_confirm_score=0.5)
    flash = Thing.at(*THERE, score=0.99)
    tiles = 0
    for _ in range(300):
        check = tiles // 8
        shown = watched.show(Thing.at(*HERE, score=0.6), *([flash] if check % 2 == 0 else []))
        tiles += len(shown.search_frame.tiles)
        assert (shown.centre(), shown.track_id()) == (near(HERE), 1)
    assert tiles >= 3 * 8


@pytest.mark.parametrize("other", [0.85, 0.9, 0.96])
def test_a_look_alike_as_good_does_not_take_the_track(other: float) -> None:
    # 0.96 is 0.98 better in log-odds than 0.9
    watched = tracked()
    for shown in watched.show_for(5.0, [Thing.at(*HERE), Thing.at(*THERE, score=other)]):
        assert (shown.centre(), shown.track_id()) == (near(HERE), 1)


@pytest.mark.parametrize("budget", [1, 4])
@pytest.mark.parametrize("place", [(1000.0, 80.0), (1180.0, 360.0), (1180.0, 650.0)])
def test_a_false_lock_is_given_up_also_when_a_scan_takes_several_frames(budget, place) -> None:
    # nine tiles of 640x384: at one tile a second each was looked at twice within 18 s
    settings = {"tile_width": 640, "tile_height": 384, "max_tiles_per_frame": budget}
    watched = film(period_s=TENTH, **settings)
    watched.plan.lock("car", Thing.at(*HERE).box_xyxy)
    watched.show_for(0.5, [Thing.at(*HERE, score=0.45)])
    scene = [Thing.at(*HERE, score=0.45), Thing.at(*place, score=0.95)]
    last = watched.show_for(20.0, scene)[-1]
    assert last.centre() == near(place)


def test_a_budget_finds_and_follows_what_appears() -> None:
    watched = film(tile_width=640, tile_height=384, max_tiles_per_frame=2)
    shown = watched.show_for(0.5, [Thing.at(*THERE)])
    assert max(len(each.search_frame.tiles) for each in shown) == 2
    # nine tiles are five frames, then two more to confirm
    assert states(shown[6:]) == [TRACKING] * len(shown[6:])
    assert shown[-1].centre() == near(THERE)


# -- several targets -------------------------------------------------------------------------


def test_of_two_templates_only_the_one_not_found_is_scanned_for() -> None:
    watched = film(auto_check_s=0.0)
    watched.names = ("car", "boat")
    car = Thing.at(*HERE)
    watched.show_for(1.0, [car])
    shown = watched.show(car)
    assert (shown.state("car"), shown.state("boat")) == (TRACKING, SEARCHING)
    assert sorted(names for _, names in shown.search_frame.inferences) == [("boat",), ("car",)]
    assert (len(shown.search_frame.windows), len(shown.search_frame.tiles)) == (1, 1)
    both = watched.show_for(1.0, [car, Thing.at(*THERE, name="boat")])[-1]
    assert (both.track_id("car"), both.track_id("boat")) == (1, 2)
    assert (both.centre("car"), both.centre("boat")) == (near(HERE), near(THERE))
    assert (len(both.search_frame.windows), len(both.search_frame.tiles)) == (2, 0)


def test_several_that_are_searched_share_one_scan() -> None:
    watched = film()
    watched.names = ("car", "boat", "kite")
    shown = watched.show()
    assert [names for _, names in shown.search_frame.inferences] == [("car", "boat", "kite")]
    things = [Thing.at(200 + 300 * n, 300, name=name) for n, name in enumerate(watched.names)]
    last = watched.show_for(0.5, things)[-1]
    assert sorted(last.track_id(name) for name in watched.names) == [1, 2, 3]


def test_one_leaves_and_the_others_stay() -> None:
    watched = film()
    watched.names = ("car", "boat")
    car, boat = Thing.at(*HERE), Thing.at(*THERE, name="boat")
    watched.show_for(1.0, [car, boat])
    shown = watched.show_for(2.0, [boat])
    assert shown[-1].state("car") == LOST
    for each in shown:
        assert each.centre("boat") == near(THERE)
        assert each.of("car").detections == ()


def test_templates_come_and_go_between_frames() -> None:
    watched = film()
    scene = [Thing.at(*HERE), Thing.at(*THERE, name="boat")]
    assert watched.show_for(0.2, scene)[-1].track_id("car") == 1
    watched.names = ("boat", "car")
    last = watched.show_for(0.2, scene)[-1]
    assert (last.track_id("car"), last.track_id("boat")) == (1, 2)
    watched.names = ("boat",)
    assert watched.show_for(0.2, scene)[-1].track_id("boat") == 2
    watched.names = ()
    shown = watched.show(*scene)
    assert (shown.found, shown.search_frame.inferences) == ({}, [])
    watched.names = ("car",)  # it was away, so it begins anew
    assert states(watched.show_for(0.1, scene)) == [SEARCHING, SEARCHING, TRACKING]


def test_forgetting_one_begins_it_anew_and_leaves_the_others() -> None:
    watched = film()
    watched.names = ("car", "boat")
    scene = [Thing.at(*HERE), Thing.at(*THERE, name="boat")]
    watched.show_for(1.0, scene)
    watched.plan.forget("car")
    watched.plan.forget("never heard of")
    shown = watched.show_for(0.1, scene)
    assert [each.state("car") for each in shown] == [SEARCHING, SEARCHING, TRACKING]
    assert [each.track_id("boat") for each in shown] == [2, 2, 2]
    assert shown[-1].track_id("car") == 3


# -- starting from a box ---------------------------------------------------------------------


@pytest.mark.parametrize("search", ["track", "auto"])
def test_a_given_box_is_followed_at_once(search) -> None:
    watched = film(search)
    watched.time_s = 50.0
    watched.plan.lock("car", (380, 280, 420, 320))
    shown = watched.show(Thing.at(*HERE, score=0.4))
    assert (shown.state(), shown.track_id()) == (TRACKING, 1)
    assert shown.of().detections[0].bbox_xyxy == pytest.approx((380, 280, 420, 320))
    assert (len(shown.search_frame.windows), len(shown.search_frame.tiles)) == (1, 0)


def test_track_from_a_box_ignores_a_better_look_alike() -> None:
    watched = film("track")
    watched.plan.lock("car", Thing.at(*HERE).box_xyxy)
    shown = watched.show_for(5.0, [Thing.at(*HERE, score=0.6), Thing.at(*THERE, score=0.99)])
    for each in shown:
        assert each.centre() == near(HERE)
        assert each.search_frame.tiles == []


@pytest.mark.parametrize("search", ["track", "auto"])
@pytest.mark.parametrize("age_s", [0.0, 0.7, 5.0])
def test_where_it_was_a_while_ago_one_frame_is_enough(search, age_s) -> None:
    watched = film(search)
    watched.plan.expect("car", Thing.at(*HERE).box_xyxy, age_s)
    # A look-alike elsewhere does not come into question.
    shown = watched.show(Thing.at(*HERE, score=0.8), Thing.at(*THERE, score=0.99))
    assert (shown.state(), shown.track_id(), shown.centre()) == (TRACKING, 1, near(HERE))
    assert shown.search_frame.tiles == []


def test_what_has_moved_on_since_needs_its_confirmations() -> None:
    watched = film()
    watched.plan.expect("car", Thing.at(*HERE).box_xyxy, 2.0)
    shown = [watched.show(Thing.at(*THERE)) for _ in range(4)]
    assert states(shown)[:2] == [SEARCHING, SEARCHING]
    assert (shown[-1].state(), shown[-1].centre()) == (TRACKING, near(THERE))


def test_a_doubtful_sight_where_it_was_is_not_enough() -> None:
    watched = film()
    watched.plan.expect("car", Thing.at(*HERE).box_xyxy, 1.0)
    assert watched.show(Thing.at(*HERE, score=0.5)).state() == SEARCHING
    shown = [watched.show(Thing.at(*HERE, score=0.9)) for _ in range(3)]
    assert states(shown) == [SEARCHING, SEARCHING, TRACKING]


@pytest.mark.parametrize("search", ["tiles", "full_frame"])
def test_a_search_without_memory_takes_no_notice_of_where_it_was(search) -> None:
    watched = film(search)
    watched.plan.expect("car", Thing.at(*HERE).box_xyxy, 1.0)


@pytest.mark.parametrize("search", ["track", "auto"])
def test_a_new_box_is_a_new_track(search) -> None:
    watched = tracked(search)
    scene = [Thing.at(*HERE), Thing.at(*THERE)]
    watched.plan.lock("car", Thing.at(*THERE).box_xyxy)
    for shown in watched.show_for(3.0, scene):
        assert (shown.centre(), shown.track_id()) == (near(THERE), 2)


def test_the_last_of_two_boxes_counts_and_forgetting_takes_it_back() -> None:
    watched = film("track")
    scene = [Thing.at(*HERE), Thing.at(*THERE)]
    watched.plan.lock("car", Thing.at(*HERE).box_xyxy)
    watched.plan.lock("car", Thing.at(*THERE).box_xyxy)
    assert watched.show(*scene).centre() == near(THERE)
    watched.plan.lock("car", Thing.at(*HERE).box_xyxy)
    watched.plan.forget("car")
    assert watched.show().state() == SEARCHING


def test_a_box_for_a_template_that_is_not_there_is_dropped() -> None:
    watched = film("track")
    watched.plan.lock("boat", Thing.at(*THERE).box_xyxy)
    assert watched.show_for(0.5, [Thing.at(*HERE)])[-1].centre() == near(HERE)
    watched.names = ("car", "boat")
    assert watched.show().state("boat") == SEARCHING


@pytest.mark.parametrize(
    "box",
    [
        (5000.0, 5000.0, 5040.0, 5040.0),
        (-900.0, -900.0, -800.0, -860.0),
        (0.0, 0.0, 1280.0, 720.0),
        (400.0, 300.0, 400.001, 300.001),
    ],
)
def test_a_strange_box_does_no_harm(box: BoxXYXY) -> None:
    watched = film()
    watched.plan.lock("car", box)
    assert watched.show_for(2.0, [])[-1].state() == LOST
    assert watched.show_for(1.0, [Thing.at(*THERE)])[-1].centre() == near(THERE)


@pytest.mark.parametrize("search", ["tiles", "full_frame"])
def test_a_search_without_memory_refuses_a_box(search) -> None:
    with pytest.raises(ConfigError, match="choose the search 'track' or 'auto'"):
        film(search).plan.lock("car", (0, 0, 10, 10))


# -- track -----------------------------------------------------------------------------------


def test_track_without_a_box_starts_from_a_confirmed_detection() -> None:
    watched = film("track")
    for shown in watched.show_for(0.5, [Thing.at(*HERE, score=0.65)]):
        assert (shown.state(), len(shown.search_frame.tiles)) == (SEARCHING, 1)
    shown = watched.show_for(1.0, [Thing.at(*HERE, score=0.75)])[-1]
    assert (shown.state(), shown.track_id(), shown.centre()) == (TRACKING, 1, near(HERE))


def test_track_searches_the_frame_only_while_the_target_is_lost() -> None:
    watched = tracked("track")
    scene = [Thing.at(*HERE), Thing.at(*THERE, score=0.99)]
    shown = watched.show_for(15.0, scene)
    assert {len(each.search_frame.tiles) for each in shown} == {0}
    assert all(each.centre() == near(HERE) for each in shown)
    lost = watched.show_for(2.0, [])[-1]
    assert (lost.state(), len(lost.search_frame.tiles)) == (LOST, 1)
    back = watched.show_for(2.0, [Thing.at(*THERE)])[-1]
    assert (back.track_id(), back.centre()) == (1, near(THERE))


def test_track_leaves_an_unsure_candidate_for_a_sure_one() -> None:
    """With a threshold below track_keep_score what lies between them begins no track."""
    watched = film("track", score_threshold=0.1)
    watched.show_for(0.5, [Thing.at(*HERE, score=0.12)])
    last = watched.show_for(0.5, [Thing.at(*HERE, score=0.12), Thing.at(*THERE, score=0.95)])[-1]
    assert last.centre() == near(THERE)


# -- other settings midway -------------------------------------------------------------------


def test_other_settings_keep_tracks_and_ids() -> None:
    watched = tracked()
    again = film("auto", track_keep_score=0.3, auto_lost_s=0.1, auto_check_s=0.0)
    again.plan.adopt_state(watched.plan)
    watched.plan = again.plan
    shown = watched.show_for(2.0, [Thing.at(*HERE)])
    assert {(each.state(), each.track_id()) for each in shown} == {(TRACKING, 1)}
    assert {len(each.search_frame.tiles) for each in shown} == {0}
    assert states(watched.show_for(0.3, []))[-1] == LOST  # by the new patience
    watched.plan.lock("car", Thing.at(*THERE).box_xyxy)
    assert watched.show(Thing.at(*THERE)).track_id() == 2


def test_a_box_given_just_before_the_settings_change_is_not_forgotten() -> None:
    watched, again = film("track"), film("track", track_scales=3)
    watched.plan.lock("car", Thing.at(*HERE).box_xyxy)
    again.plan.adopt_state(watched.plan)
    assert again.show(Thing.at(*HERE, score=0.3)).centre() == near(HERE)


@pytest.mark.parametrize(("before", "after"), [("auto", "track"), ("tiles", "auto")])
def test_another_search_begins_anew(before, after) -> None:
    first, second = film(before), film(after)
    first.plan.search(FakeSearchFrame([Thing.at(*HERE)]), ["car"])
    second.plan.adopt_state(first.plan)
    assert second.show().state() == SEARCHING


# -- hostile ---------------------------------------------------------------------------------


@pytest.mark.parametrize("search", ["track", "auto"])
def test_time_that_stands_still_does_no_harm(search) -> None:
    watched = film(search, period_s=1e-12)
    shown = [watched.show(Thing.at(*HERE)) for _ in range(20)]
    assert shown[-1].centre() == near(HERE)
    shown = [watched.show() for _ in range(20)]
    assert {each.of().detections for each in shown} == {()}


@pytest.mark.parametrize("jump_s", [-1e6, -5.0, 5.0, 1e6])
@pytest.mark.parametrize("search", ["track", "auto"])
def test_a_jump_in_time_does_not_lose_a_target_that_stands(search, jump_s) -> None:
    watched = tracked(search)
    watched.time_s += jump_s
    shown = watched.show_for(1.0, [Thing.at(*HERE)])
    assert shown[-1].centre() == near(HERE)
    assert states(watched.show_for(1.0, []))[-1] == LOST


@pytest.mark.parametrize("search", ["track", "auto"])
def test_without_any_candidate_there_is_nothing(search) -> None:
    watched = tracked(search)
    watched.background = None
    shown = watched.show_for(1.0, [])
    assert {each.of().presence for each in shown} == {0.0}
    assert shown[-1].state() == LOST


@pytest.mark.parametrize("search", ["track", "auto"])
@pytest.mark.parametrize("camera", [False, True])
def test_frames_of_other_sizes_midway(search, camera) -> None:
    watched = tracked(search, track_camera_motion=camera)
    for size in ((320, 240), (1, 1), (1920, 1080), (640, 480)):
        watched.size = size
        things = [Thing.at(0.3 * size[0], 0.4 * size[1], 0.05 * size[0])]
        watched.show_for(0.1, things)
    if search == "auto":
        last = watched.show_for(1.2, [Thing.at(500, 400)])[-1]
        assert last.centre() == near((500, 400))


@pytest.mark.parametrize("search", ["track", "auto"])
@pytest.mark.parametrize("corner", [(0, 0), (1280, 0), (0, 720), (1280, 720)])
def test_a_target_in_a_corner_is_followed(search, corner) -> None:
    x, y = abs(corner[0] - 15), abs(corner[1] - 15)
    last = film(search).show_for(1.0, [Thing.at(x, y, 30)])[-1]
    assert last.centre() == near((x, y))


def test_a_target_that_drives_out_and_back_in_keeps_its_id() -> None:
    def scene(time_s: float) -> list[Thing]:
        return [Thing.at(1280 - 60 + 200 * np.sin(time_s), 300)]

    shown = film().show_for(6.3, scene)
    assert LOST in states(shown)
    assert (shown[-1].state(), shown[-1].track_id()) == (TRACKING, 1)


def textured(shift_x: int, shift_y: int) -> np.ndarray:
    """A piece of one large random picture, seen by a camera that has turned this far."""
    picture = np.kron(np.random.default_rng(5).integers(0, 255, (90, 130)), np.ones((16, 16)))
    piece = picture[shift_y : shift_y + 720, shift_x : shift_x + 1280].astype(np.uint8)
    return np.repeat(piece[:, :, None], 3, axis=2)


@pytest.mark.parametrize("camera", [False, True])
def test_camera_motion_keeps_the_window_on_a_target_behind_a_fast_turn(camera) -> None:
    watched = film("track", period_s=TENTH, track_camera_motion=camera)
    place = (700.0, 360.0)
    for _ in range(4):
        watched.show(Thing.at(*place), frame_bgr=textured(0, 0))
    # half the window's side in one frame: without the flow it is out of sight
    shown = watched.show(Thing.at(place[0] - 112, place[1]), frame_bgr=textured(112, 0))
    expected = near((place[0] - 112, place[1])) if camera else None
    assert shown.centre() == expected


def test_camera_motion_of_an_empty_frame_changes_nothing() -> None:
    watched = film(track_camera_motion=True)
    for shown in watched.show_for(0.3, [Thing.at(*HERE)])[3:]:
        assert shown.centre() == near(HERE)


# -- at which scale --------------------------------------------------------------------------


def scales(shown: Shown) -> set[float]:
    """Of the tiles that were looked at, network pixels per frame pixel."""
    return {round(crop.out_width / crop.width, 1) for crop in shown.search_frame.tiles}


def test_a_lost_target_is_searched_at_its_last_size_and_later_at_more_scales() -> None:
    watched = film(tile_scale=0.0)
    assert scales(watched.show()) == {1.4, 0.4}  # a photo: any size
    watched.show_for(3.0, [Thing.at(*HERE, size=24.0)])
    gone = [scales(shown) for shown in watched.show_for(30.0, []) if scales(shown)]
    assert gone[0] == {2.0, 0.5}
    assert all(2.0 in some for some in gone[:20])
    assert gone[-1] == {1.4, 0.4}


def test_a_locked_target_is_checked_at_the_size_of_its_box() -> None:
    watched = film(tile_scale=0.0, auto_check_s=1.0)
    watched.plan.lock("car", (376.0, 276.0, 424.0, 324.0))
    shown = watched.show_for(3.0, [Thing.at(*HERE, size=48.0)])
    assert {scale for each in shown for scale in scales(each)} == {1.0, 0.2}
