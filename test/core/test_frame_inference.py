"""Frames seen through score and box maps: real decoding, calibration and merging, no network."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from typing import Sequence

import numpy as np
import pytest
from fake_search_frame import BACKGROUND, BUNDLE, FakeBackend, Thing

from refdet_core.box_correction import NO_CORRECTION
from refdet_core.bundle import Bundle
from refdet_core.calibration import Calibration
from refdet_core.detector_config import DetectorConfig
from refdet_core.frame_inference import NetworkSearchFrame
from refdet_core.imaging import Crop
from refdet_core.network import Network
from refdet_core.search.base import SearchResult
from refdet_core.search_plans import make_search_plan
from refdet_core.templates import Template, make_bank
from refdet_core.types import RawMaps

LARGE = (3840, 2160)


def frame(size: tuple[int, int]) -> np.ndarray:
    return np.broadcast_to(np.zeros(3, np.uint8), (size[1], size[0], 3))


def template(name: str, views: Sequence[str], correction: np.ndarray = NO_CORRECTION) -> Template:
    return Template(name, tuple((view,) for view in views), (correction,) * len(views), (), 0.0)


def search_frame_of(
    backend: FakeBackend,
    size: tuple[int, int] = (1280, 720),
    templates: Sequence[Template] = (template("car", ["car"]),),
    bundle: Bundle = BUNDLE,
    pooling: str = "prototype",
) -> NetworkSearchFrame:
    bank = make_bank(backend, {each.template_id: each for each in templates}, 1, pooling)
    return NetworkSearchFrame(backend, bundle, bank, frame(size), 0.0)


def find(
    things: Sequence[Thing], size=(1280, 720), names=("car",), **settings
) -> dict[str, SearchResult]:
    config = DetectorConfig(**{"tile_scale": 1.0, "max_detections": 5, **settings})
    templates = [template(name, [name]) for name in names]
    search_frame = search_frame_of(FakeBackend(things), size, templates)
    return make_search_plan(BUNDLE, config).search(search_frame, names)


def boxes(found: SearchResult) -> list[tuple[float, ...]]:
    return [detection.bbox_xyxy for detection in found.detections]


# -- one crop --------------------------------------------------------------------------------


def test_boxes_are_in_frame_pixels_and_best_first() -> None:
    things = [Thing.at(430, 240, 40, score=0.6), Thing.at(500, 300, 20, score=0.9)]
    window = Crop(400, 200, 160, 160, 320, 320)
    (seen,) = search_frame_of(FakeBackend(things)).infer([window], ["car"])["car"]
    assert seen.boxes_xyxy[0] == pytest.approx([490, 290, 510, 310], abs=0.01)
    assert seen.boxes_xyxy[1] == pytest.approx([410, 220, 450, 260], abs=0.01)
    assert seen.scores[:2] == pytest.approx([0.9, 0.6])
    assert (np.diff(seen.scores) <= 0).all()


def test_scores_are_calibrated_with_the_presence_of_their_crop() -> None:
    bundle = replace(BUNDLE, calibration=Calibration(0.5, 2.0, -1.0))
    search_frame = search_frame_of(FakeBackend([Thing.at(80, 80)], presence=0.7), bundle=bundle)
    (seen,) = search_frame.infer([Crop(0, 0, 160, 160, 160, 160)], ["car"])["car"]
    # 0.5 * log(0.9 / 0.1) + 2 * log(0.7 / 0.3) - 1 = 1.7932
    assert seen.scores[0] == pytest.approx(1 / (1 + np.exp(-1.7932)), abs=1e-4)
    assert seen.presence[0] == pytest.approx(0.7)


def test_each_crop_has_its_own_candidates() -> None:
    things = [Thing.at(80, 80, score=0.8), Thing.at(700, 500, score=0.7)]
    crops = [Crop(x, y, 160, 160, 160, 160) for x, y in ((0, 0), (300, 300), (620, 420))]
    first, empty, last = search_frame_of(FakeBackend(things)).infer(crops, ["car"])["car"]
    assert first.boxes_xyxy[0] == pytest.approx([60, 60, 100, 100], abs=0.01)
    assert last.boxes_xyxy[0] == pytest.approx([680, 480, 720, 520], abs=0.01)
    assert empty.scores.max() == pytest.approx(BACKGROUND)


def test_a_crop_beside_the_frame_is_looked_at_too() -> None:
    (seen,) = search_frame_of(FakeBackend()).infer([Crop(-900, 5000, 64, 64, 64, 64)], ["car"])[
        "car"
    ]
    assert seen.scores.max() == pytest.approx(BACKGROUND)


def test_a_template_s_bias_corrects_its_boxes_only() -> None:
    # a tenth of the width to the right, half as high
    correction = np.array([0.1, 0, 0, np.log(0.5)])
    templates = [template("car", ["car"], correction), template("boat", ["boat"])]
    things = [Thing((40, 40, 80, 60)), Thing((40, 40, 80, 60), name="boat")]
    found = search_frame_of(FakeBackend(things), templates=templates).infer(
        [Crop(0, 0, 160, 160, 160, 160)], ["car", "boat"]
    )
    assert found["car"][0].boxes_xyxy[0] == pytest.approx([44, 45, 84, 55], abs=0.01)
    assert found["boat"][0].boxes_xyxy[0] == pytest.approx([40, 40, 80, 60], abs=0.01)


# -- templates and views ---------------------------------------------------------------------


@pytest.mark.parametrize("wanted", [("car",), ("boat",), ("kite", "car"), ("car", "boat", "kite")])
def test_each_template_gets_what_its_own_views_show(wanted) -> None:
    names = ("car", "boat", "kite")
    things = [Thing.at(50 + 100 * n, 60, name=name) for n, name in enumerate(names)]
    templates = [template(name, [name]) for name in names]
    search_frame = search_frame_of(FakeBackend(things), templates=templates)
    found = search_frame.infer([Crop(0, 0, 320, 160, 320, 160)], wanted)
    assert tuple(found) == wanted
    for name in wanted:
        x = 50 + 100 * names.index(name)
        assert found[name][0].boxes_xyxy[0] == pytest.approx([x - 20, 40, x + 20, 80], abs=0.01)


def test_a_look_for_one_template_infers_its_views_alone() -> None:
    backend = FakeBackend()
    templates = [template("car", ["car/1", "car/2"]), template("boat", ["boat"])]
    search_frame = search_frame_of(backend, templates=templates, pooling="best_view")
    crop = Crop(0, 0, 64, 64, 64, 64)
    search_frame.infer([crop], ["boat"])
    search_frame.infer([crop, crop], ["car"])
    search_frame.infer([crop], ["boat", "car"])
    assert backend.inferred == [
        (1, ("boat",)),
        (2, ("car/1", "car/2")),
        (1, ("car/1", "car/2", "boat")),
    ]


@pytest.mark.parametrize("wanted", [("car",), ("boat", "car")])
def test_any_view_of_a_template_finds_its_object(wanted) -> None:
    things = [Thing.at(50, 60, name="car/2"), Thing.at(200, 60, score=0.7, name="car/1")]
    templates = [template("boat", ["boat"]), template("car", ["car/1", "car/2", "car/3"])]
    search_frame = search_frame_of(FakeBackend(things), templates=templates, pooling="best_view")
    (seen,) = search_frame.infer([Crop(0, 0, 320, 160, 320, 160)], wanted)["car"]
    assert seen.boxes_xyxy[:2] == pytest.approx(
        np.array([[30, 40, 70, 80], [180, 40, 220, 80]]), abs=0.01
    )
    assert seen.scores[:2] == pytest.approx([0.9, 0.7])


# -- whole frames ----------------------------------------------------------------------------


@pytest.mark.parametrize("x", [1152, 1216, 1280, 2432, 2560])
@pytest.mark.parametrize("y", [300, 672, 736])
@pytest.mark.parametrize("search", ["tiles", "auto"])
def test_a_target_on_a_seam_is_one_whole_box(x: int, y: int, search: str) -> None:
    found = find([Thing.at(x, y, 60)], LARGE, search=search, auto_confirm_frames=1)["car"]
    assert boxes(found) == [pytest.approx((x - 30, y - 30, x + 30, y + 30), abs=0.05)]


@pytest.mark.parametrize("right", [False, True])
@pytest.mark.parametrize("bottom", [False, True])
@pytest.mark.parametrize("size", [(100, 70), (1280, 720), LARGE])
@pytest.mark.parametrize("search", ["tiles", "full_frame"])
def test_a_target_in_a_corner_is_found(right, bottom, size, search) -> None:
    x, y = (size[0] - 15 if right else 15), (size[1] - 15 if bottom else 15)
    found = find([Thing.at(x, y, 30)], size, search=search)["car"]
    assert boxes(found) == [pytest.approx((x - 15, y - 15, x + 15, y + 15), abs=0.05)]


@pytest.mark.parametrize("search", ["tiles", "full_frame", "track", "auto"])
@pytest.mark.parametrize("size", [(1, 1), (1, 600), (37, 20)])
def test_a_frame_smaller_than_a_tile_is_searched_whole(search, size) -> None:
    found = find([Thing((0, 0, *size))], size, search=search, auto_confirm_frames=1)["car"]
    assert boxes(found) == [pytest.approx((0, 0, *size), abs=0.05)]


def test_an_8k_frame_is_searched_at_native_resolution() -> None:
    things = [Thing.at(7660, 4300, 16), Thing.at(1200, 700, 16, score=0.8)]
    found = find(things, (7680, 4320))["car"]
    expected = [(7652, 4292, 7668, 4308), (1192, 692, 1208, 708)]
    assert boxes(found) == [pytest.approx(box, abs=0.05) for box in expected]


def test_several_templates_share_one_pass() -> None:
    backend = FakeBackend([Thing.at(300, 300), Thing.at(900, 500, name="boat")])
    templates = [template(name, [name]) for name in ("car", "boat", "kite")]
    search_frame = search_frame_of(backend, templates=templates)
    config = DetectorConfig(tile_scale=1.0)
    found = make_search_plan(BUNDLE, config).search(search_frame, ("car", "boat", "kite"))
    assert boxes(found["car"]) == [pytest.approx((280, 280, 320, 320), abs=0.05)]
    assert boxes(found["boat"]) == [pytest.approx((880, 480, 920, 520), abs=0.05)]
    assert found["kite"].detections == ()
    assert backend.inferred == [(1, ("car", "boat", "kite"))]


class BrokenBackend(FakeBackend):
    """Its maps are not numbers, as half precision may give."""

    def infer(self, frames: np.ndarray, features: tuple[str, ...]) -> RawMaps:
        maps = super().infer(frames, features)
        return RawMaps(
            *(np.full_like(each, np.nan) for each in (maps.score, maps.box, maps.presence))
        )


@pytest.mark.parametrize("search", ["tiles", "full_frame", "track", "auto"])
def test_maps_that_are_not_numbers_show_nothing(search) -> None:
    plan = make_search_plan(BUNDLE, DetectorConfig(search=search, auto_confirm_frames=1))
    assert plan.search(search_frame_of(FakeBackend([Thing.at(400, 300)])), ["car"])[
        "car"
    ].detections
    found = plan.search(search_frame_of(BrokenBackend([Thing.at(400, 300)])), ["car"])["car"]
    assert (found.detections, found.presence) == ((), 0.0)


# -- heatmaps and timings --------------------------------------------------------------------


def test_the_heatmap_is_zero_where_nobody_looked() -> None:
    search_frame = search_frame_of(FakeBackend([Thing.at(700, 400)]))
    search_frame.infer([Crop(620, 320, 160, 160, 160, 160)], ["car"])
    (heatmap,) = search_frame.heatmaps().values()
    assert heatmap.shape == (90, 160)  # one cell per 8 px
    outside = heatmap.copy()
    outside[40 - 1 : 60 + 1, 77 - 1 : 98 + 1] = 0
    assert outside.max() == 0
    row, column = np.unravel_index(heatmap.argmax(), heatmap.shape)
    assert (column * 8 + 4, row * 8 + 4) == pytest.approx((700, 400), abs=8)
    assert heatmap.max() == pytest.approx(0.9, abs=0.2)


def test_heatmaps_are_of_each_template_and_all_its_looks() -> None:
    templates = [template("car", ["car"]), template("boat", ["boat"])]
    backend = FakeBackend([Thing.at(80, 80), Thing.at(1000, 500)])
    search_frame = search_frame_of(backend, templates=templates)
    search_frame.infer([Crop(0, 0, 160, 160, 160, 160)], ["car", "boat"])
    search_frame.infer([Crop(960, 460, 80, 80, 160, 160)], ["car"])  # zoomed in
    maps = search_frame.heatmaps()
    assert set(maps) == {"car", "boat"}
    cell = 1280 / maps["car"].shape[1]
    assert cell == pytest.approx(4)
    assert maps["car"][int(80 / cell), int(80 / cell)] > 0.6
    assert maps["car"][int(500 / cell), int(1000 / cell)] > 0.6
    assert maps["boat"].max() == pytest.approx(BACKGROUND)
    assert maps["boat"][int(500 / 8), int(1000 / 8)] == 0


def test_the_heatmap_of_several_views_is_the_best_of_them() -> None:
    things = [Thing.at(60, 60, name="car/1"), Thing.at(244, 60, name="car/2")]
    templates = [template("car", ["car/1", "car/2"])]
    search_frame = search_frame_of(FakeBackend(things), (320, 160), templates, pooling="best_view")
    search_frame.infer([Crop(0, 0, 320, 160, 320, 160)], ["car"])
    heatmap = search_frame.heatmaps()["car"]
    assert heatmap[7, 7] == pytest.approx(0.9, abs=0.01)
    assert heatmap[7, 30] == pytest.approx(0.9, abs=0.01)


def test_before_any_look_there_is_no_heatmap() -> None:
    search_frame = search_frame_of(FakeBackend())
    assert search_frame.heatmaps() == {}
    assert set(search_frame.timings_ms.values()) == {0.0}


def test_timings_add_up_over_the_looks() -> None:
    search_frame, crop = search_frame_of(FakeBackend()), Crop(0, 0, 64, 64, 64, 64)
    search_frame.infer([crop], ["car"])
    once = dict(search_frame.timings_ms)
    search_frame.infer([crop], ["car"])
    assert set(once) == {"preprocess", "network", "decode"}
    assert all(0 < once[stage] < search_frame.timings_ms[stage] for stage in once)


# -- several trackers ------------------------------------------------------------------------


class AnyThreadBackend(FakeBackend):
    any_thread = True


def two_trackers(backend: FakeBackend) -> NetworkSearchFrame:
    bank = make_bank(backend, {"car": template("car", ["car"])}, 1, "prototype")
    networks = [Network(BUNDLE, backend)] * 2
    bank = replace(bank, others=(bank, bank))
    return NetworkSearchFrame(backend, BUNDLE, bank, frame((320, 320)), 0.0, networks)


def test_trackers_run_at_the_same_time_where_the_backend_allows_it() -> None:
    meeting = threading.Barrier(2)
    calls = [lambda number=number: (meeting.wait(30), number)[1] for number in (1, 2)]
    assert two_trackers(AnyThreadBackend()).together(calls) == [1, 2]


def test_elsewhere_they_run_in_the_thread_that_opened_the_backend() -> None:
    calls = [threading.get_ident] * 2
    assert two_trackers(FakeBackend()).together(calls) == [threading.get_ident()] * 2


def test_an_error_of_one_tracker_is_raised() -> None:
    def broken() -> None:
        raise ValueError("one of two")

    with pytest.raises(ValueError, match="one of two"):
        two_trackers(AnyThreadBackend()).together([broken, lambda: None])


def test_what_runs_at_the_same_time_counts_once_in_the_timings() -> None:
    class Slow(AnyThreadBackend):
        def infer(self, frames, features):
            time.sleep(0.2)
            return super().infer(frames, features)

    seen = two_trackers(Slow())
    window = [Crop(0, 0, 160, 160, 160, 160)]
    started = time.perf_counter()
    seen.together([lambda t=t: t.infer(window, ["car"]) for t in seen.trackers])
    passed_ms = (time.perf_counter() - started) * 1e3
    assert 200 <= sum(seen.timings_ms.values()) <= passed_ms
