from __future__ import annotations

from collections import Counter
from functools import lru_cache

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs torch")
pytest.importorskip("torchvision", reason="training needs torchvision")
pytest.importorskip("pyarrow", reason="the index is a Parquet table")

from refdet_core.boxes import iou_matrix  # noqa: E402
from refdet_core.errors import ConfigError, SourceError  # noqa: E402
from refdet_training.datasets.index import load_instances, write_index  # noqa: E402
from refdet_training.pairs import (  # noqa: E402
    CutoutPairs,
    InstancePairs,
    PairConfig,
    PairDataset,
    collate,
    make_sources,
    views,
)
from refdet_training.pairs.cutouts import (  # noqa: E402
    load_cutout,
    object_outline,
    paste,
    recoloured,
)
from refdet_training.pairs.instance_pairs import references  # noqa: E402
from refdet_training.pairs.object_frames import frames_by_object  # noqa: E402
from refdet_training.pairs.views import jitter_box, search_view, template_view  # noqa: E402

RGB = {"red": (255, 0, 0), "green": (0, 255, 0), "blue": (0, 0, 255), "pink": (255, 0, 255)}
SMALL = {"img_size": 96, "template_size": 48, "max_object_px": 60.0, "synthetic_px": (8.0, 50.0)}
FRAMES = 10
# video, object, family, kind, first and last labelled frame, frames without a box, place
OBJECTS = [
    ("street", "red", "street", "car", 0, 9, (), (40, 50)),
    ("street", "green", "street", "car", 0, 4, (), (150, 120)),
    ("river", "blue", "river", "Car", 0, 9, (3, 4), (70, 90)),
    ("park1", "pink", "park", "", 0, 9, (), (60, 60)),
    ("park2", "pink", "park", "", 0, 9, (), (100, 40)),
]


def place_of(start, number):
    x, y = start[0] + 4 * number, start[1] + 3 * number
    return x, y, x + 24, y + 18


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """Four videos of coloured squares. The green one stays in view after its labels end."""
    root = tmp_path_factory.mktemp("prepared")
    folder = root / "clips"
    folder.mkdir()
    rows = []
    for video in {item[0]: None for item in OBJECTS}:
        for number in range(FRAMES):
            frame = np.full((240, 320, 3), 90, np.uint8)
            for name, colour, *_, missing, start in OBJECTS:
                if name == video and number not in missing:
                    x1, y1, x2, y2 = place_of(start, number)
                    frame[y1:y2, x1:x2] = RGB[colour][::-1]
            cv2.imwrite(str(folder / f"{video}_{number}.png"), frame)
    for video, name, family, kind, first, last, missing, start in OBJECTS:
        for number in range(first, last + 1):
            box = (np.nan,) * 4 if number in missing else place_of(start, number)
            rows.append(
                {
                    "source": "clips",
                    "video_id": video,
                    "object_id": name,
                    "family": family,
                    "kind": kind,
                    "frame": number,
                    "video_frame": -1,
                    "picture": f"{video}_{number}.png",
                    **dict(zip(("x1", "y1", "x2", "y2"), map(float, box), strict=True)),
                }
            )
    write_index(folder, rows)
    (folder / "splits.json").write_text('{"train": ["street", "park1", "park2"], "val": ["river"]}')
    return root


@pytest.fixture
def plain(monkeypatch):
    """Colours stay as they are, so that a test can see what is in view."""
    monkeypatch.setattr(views, "photometric", lambda image, keep_colours=False: image)
    monkeypatch.setattr("refdet_training.pairs.views.from_afar", lambda image, share: image)


@lru_cache
def everything(prepared):
    return load_instances(prepared)


def instances(prepared, *names):
    return [item for item in everything(prepared) if item.object_id in names]


def draw(source, count, **settings):
    settings = {**SMALL, "references": (1, 1), **settings}
    dataset = PairDataset([(source, 1.0)], PairConfig(**settings), count, seed=5)
    return [dataset[i] for i in range(count)]


def seen(image, colour):
    """Where that colour is in ``(3, H, W)``."""
    difference = image.numpy().astype(int) - np.array(RGB[colour])[:, None, None]
    return np.abs(difference).max(axis=0) < 90


def hull(mask):
    rows, columns = np.nonzero(mask)
    return np.array([[columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]], np.float32)


def test_a_present_pair_shows_the_object_in_its_box(prepared, plain) -> None:
    source = InstancePairs(instances(prepared, "blue"))
    pairs = draw(source, 40, absent_share=0.0, occluded_share=0.0, tilt_share=0.3)
    for pair in pairs:
        assert pair.present and pair.search.shape == (3, 96, 96)
        assert pair.search.dtype == pair.templates[0].dtype == torch.uint8
        box = np.clip(np.array([pair.box_xyxy], np.float32), 0, 96)
        assert iou_matrix(hull(seen(pair.search, "blue")), box).item() > 0.6
        assert all(seen(view, "blue")[20:28, 20:28].any() for view in pair.templates[0])
    assert {pair.box_weight for pair in pairs} == {0.0, 1.0}, "some are turned far"
    sides = [np.sqrt((x2 - x1) * (y2 - y1)) for x1, y1, x2, y2 in (p.box_xyxy for p in pairs)]
    assert min(sides) > 7.5 and max(sides) < 60 * 1.7


@pytest.mark.parametrize("hard_share", [0.0, 1.0])
@pytest.mark.parametrize("name", ["red", "green", "blue", "pink"])
def test_an_absent_pair_never_shows_the_object(prepared, plain, name, hard_share) -> None:
    source = InstancePairs(instances(prepared, name), pool=everything(prepared))
    pairs = draw(source, 24, absent_share=1.0, hard_share=hard_share)
    absent = [pair for pair in pairs if not pair.present]
    assert len(absent) > 12
    for pair in absent:
        # The green one is not labelled after frame 4, but still there.
        assert seen(pair.search, name).sum() < 12
        assert pair.box_xyxy == (0, 0, 0, 0)
    for pair in pairs:
        if pair.present:
            assert seen(pair.search, name).any()


def test_hard_absent_pairs_show_a_look_alike_large(prepared, plain) -> None:
    source = InstancePairs(instances(prepared, "red", "green"), pool=everything(prepared))
    pairs = [p for p in draw(source, 40, absent_share=1.0, hard_share=1.0) if not p.present]
    shown = Counter()
    for pair in pairs:
        wanted = next(name for name in RGB if seen(pair.templates[0][0], name)[20:28, 20:28].any())
        others = {name for name in RGB if seen(pair.search, name).sum() >= 30} - {wanted}
        assert others and others <= {"red", "green", "blue"}, "of the same kind only"
        shown.update(others)
    assert shown["blue"] > 4 and shown["red"] + shown["green"] > 4, "of the frame and of others"


def test_without_a_look_alike_absent_pairs_are_easy_ones(prepared, plain) -> None:
    source = InstancePairs(instances(prepared, "pink"))
    pairs = draw(source, 20, absent_share=1.0, hard_share=1.0)
    assert sum(not pair.present for pair in pairs) > 10


def test_the_absent_share_is_kept(prepared) -> None:
    pairs = draw(InstancePairs(everything(prepared)), 100, absent_share=0.3)
    assert 0.18 < np.mean([not pair.present for pair in pairs]) < 0.42


def numbers(prepared, name, search, seed, **settings):
    (object_frames,) = frames_by_object(instances(prepared, name), 0)
    own = next(item for item in object_frames if item.number == search)
    chosen = references(object_frames, own, PairConfig(**settings), np.random.default_rng(seed))
    return own, chosen


def test_references_come_from_other_moments_within_the_gap(prepared) -> None:
    counts = set()
    for seed in range(30):
        _, chosen = numbers(prepared, "blue", 5, seed, max_gap=2, references=(1, 3))
        assert {item.number for item in chosen} <= {6, 7}  # 3 and 4 are absent
        counts.add(len(chosen))
        _, chosen = numbers(prepared, "blue", 5, seed, references=(5, 5))
        assert len({item.number for item in chosen}) == 5 and 5 not in {i.number for i in chosen}
    assert counts == {1, 2, 3}
    # Frames 3 and 4 are absent: nothing is one frame away from 5 but 6, and without it nothing.
    (object_frames,) = frames_by_object(instances(prepared, "blue"), 0)
    thin = [item for item in object_frames if item.number in (2, 5, 9)]
    config = PairConfig(max_gap=1, references=(1, 1))
    assert references(thin, thin[1], config, np.random.default_rng(0)) == [thin[0]], "the nearest"


def test_references_of_an_object_in_several_videos_also_come_from_the_others(prepared) -> None:
    videos = Counter()
    for seed in range(40):
        own, chosen = numbers(prepared, "pink", 5, seed, max_gap=1)
        videos.update(item.instance.video_id == own.instance.video_id for item in chosen)
        assert all(
            abs(item.number - 5) == 1
            for item in chosen
            if item.instance.video_id == own.instance.video_id
        )
    assert videos[True] > 20 and videos[False] > 20


def test_a_single_moment_is_paired_with_itself(prepared) -> None:
    (object_frames,) = frames_by_object(instances(prepared, "red"), 0)
    rng = np.random.default_rng(0)
    chosen = references(object_frames[:1], object_frames[0], PairConfig(references=(3, 3)), rng)
    assert chosen == [object_frames[0]] * 3


def test_objects_too_small_to_see_are_left_out(prepared) -> None:
    found = everything(prepared)
    assert len(frames_by_object(found, 5)) == 4  # the pink one is in two videos
    assert [len(item) for item in frames_by_object(found, 20.7)] == [10, 5, 8, 20]
    assert frames_by_object(found, 20.9) == []  # sqrt(24 * 18) = 20.78
    with pytest.raises(SourceError, match="Lower smallest_px"):
        draw(InstancePairs(found), 1, smallest_px=30.0)
    with pytest.raises(SourceError, match="nothing to pair"):
        draw(InstancePairs([]), 1)


def frame_with(box):
    frame = np.zeros((120, 160, 3), np.uint8)
    x1, y1, x2, y2 = (max(0, value) for value in box)
    frame[y1:y2, x1:x2] = 255
    return frame


@pytest.mark.parametrize(
    "box",
    [(60, 40, 90, 60), (0, 0, 12, 12), (150, 100, 160, 120), (0, 55, 160, 62), (0, 0, 160, 120)],
)
@pytest.mark.parametrize("centred", [True, False])
def test_any_object_is_either_half_in_view_or_not_at_all(box, centred, plain) -> None:
    config = PairConfig(**SMALL, any_turn_share=0.3, turn_share=0.3, tilt_share=0.5)
    for seed in range(16):
        torch.manual_seed(seed)
        rng = np.random.default_rng(seed)
        view = search_view(frame_with(box), box, box, config, rng, centred)
        bright = view.image.numpy().mean(axis=0) > 140
        if view.box_xyxy is None:
            assert bright.mean() < 0.01
        else:
            x1, y1, x2, y2 = np.clip(view.box_xyxy, 0, 96)
            left, top, right, bottom = hull(bright)[0]
            assert x1 - 2 < left and y1 - 2 < top and right < x2 + 2 and bottom < y2 + 2
            assert (
                not view.tight
                or iou_matrix(hull(bright), np.array([[x1, y1, x2, y2]])).item() > 0.5
            )
        assert view.box_xyxy is not None or not centred


@pytest.mark.parametrize("shape", [(1, 1), (20, 8), (300, 30)])
def test_views_of_hostile_frames_have_the_right_size(shape) -> None:
    config, rng = PairConfig(**SMALL), np.random.default_rng(0)
    frame = np.zeros((*shape, 3), np.uint8)
    box = (0.0, 0.0, float(shape[1]), float(shape[0]))
    for _ in range(10):
        assert search_view(frame, box, None, config, rng).image.shape == (3, 96, 96)
        assert template_view(frame, box, config, rng).shape == (3, 48, 48)


def test_jitter_stays_near_the_box() -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        x1, y1, x2, y2 = jitter_box((10, 10, 50, 30), rng, 0.1, 0.1)
        assert abs((x1 + x2) / 2 - 30) <= 4.01 and abs((y1 + y2) / 2 - 20) <= 2.01
        assert 36 < x2 - x1 < 45 and 18 < y2 - y1 < 22.5


def test_a_pair_depends_on_seed_and_index_alone(prepared) -> None:
    source = InstancePairs(everything(prepared))
    config = PairConfig(**SMALL)
    dataset = PairDataset([(source, 1.0)], config, 8, seed=3)
    forwards = [dataset[i] for i in range(8)]
    torch.manual_seed(99)
    fresh = InstancePairs(load_instances(prepared))
    again = PairDataset([(fresh, 1.0)], config, 8, seed=3)
    state = torch.random.get_rng_state()
    backwards = [again[i] for i in reversed(range(8))][::-1]
    assert torch.equal(state, torch.random.get_rng_state()), "torch's own state is left alone"
    for first, second in zip(forwards, backwards, strict=True):
        assert torch.equal(first.search, second.search)
        assert torch.equal(first.templates[0], second.templates[0])
        assert first.box_xyxy == second.box_xyxy
    other = PairDataset([(source, 1.0)], config, 8, seed=4)
    assert not torch.equal(forwards[0].search, other[0].search)
    assert len(dataset) == 8 and dataset[1000].search.shape == (3, 96, 96)


def test_shares_decide_how_often_a_source_is_drawn(prepared) -> None:
    sources = [InstancePairs(instances(prepared, name)) for name in ("blue", "pink")]
    dataset = PairDataset(
        [(sources[0], 3.0), (sources[1], 1.0)], PairConfig(**SMALL, references=(1, 1)), 80, 0
    )
    families = Counter(dataset[i].template_family for i in range(80))
    assert set(families) == {"clips:river", "clips:park"} and 48 <= families["clips:river"] <= 72
    for shares in ([], [(sources[0], 0.0)], [(sources[0], -1.0), (sources[1], 2.0)]):
        with pytest.raises(ConfigError, match="share above 0"):
            PairDataset(shares, PairConfig(), 1, 0)


def test_collate_says_whose_views_are_whose_and_what_is_unknown(prepared) -> None:
    source = InstancePairs(everything(prepared))
    pairs = draw(source, 16, absent_share=0.3, references=(1, 5))
    batch = collate(pairs)
    counts = [len(pair.templates[0]) for pair in pairs]
    assert set(counts) <= {1, 2, 3, 4, 5} and len(set(counts)) > 2
    (templates,) = batch.templates
    assert templates.shape == (sum(counts), 3, 48, 48)
    assert batch.owners.tolist() == [i for i, count in enumerate(counts) for _ in range(count)]
    assert batch.owners.dtype == torch.int64 and templates.dtype == torch.uint8
    assert batch.searches.shape == (16, 3, 96, 96) and batch.boxes_xyxy.dtype == torch.float32
    assert batch.present.tolist() == [pair.present for pair in pairs]
    assert batch.box_weight.dtype == torch.float32
    for i, pair in enumerate(pairs):
        for j, other in enumerate(pairs):
            unknown = i != j and other.template_family in pair.search_families
            assert bool(batch.ignore[i, j]) is unknown
    assert 0 < batch.ignore.sum() < 16 * 15
    moved = batch.to("cpu")
    assert torch.equal(moved.ignore, batch.ignore) and torch.equal(moved.owners, batch.owners)
    assert collate(pairs[:1]).ignore.tolist() == [[False]]


def test_sources_follow_split_shares_and_loose_boxes(prepared, cutouts, backgrounds) -> None:
    clips, synthetic = make_sources(
        prepared,
        ["val"],
        {"clips": 2.0, "cutouts": 1.0},
        {"cutouts": cutouts},
        backgrounds,
        ["clips"],
    )
    assert (clips.name, clips.share, synthetic.name) == ("clips.val", 2.0, "cutouts")
    assert isinstance(synthetic.source, CutoutPairs)
    pairs = draw(clips.source, 8, absent_share=0.0)
    assert {pair.template_family for pair in pairs} == {"clips:river"}
    assert {pair.box_weight for pair in pairs} == {0.0}
    (clips,) = make_sources(
        prepared, ["val"], {"clips": 1.0, "cutouts": 0.0}, {}, loose_boxes={"clips": 0.25}
    )
    pairs = draw(clips.source, 4, absent_share=0.0, turn_share=0.0, any_turn_share=0.0)
    assert {pair.box_weight for pair in pairs} == {0.25}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"shares": {"clip": 1.0}}, "holds .'clips'."),
        ({"loose_boxes": ["clip"]}, "in loose_boxes"),
        ({"shares": {"clips": -1.0}}, "must not be negative"),
        ({"shares": {"clips": 0.0}}, "at least one must be above 0"),
        ({"shares": {}}, "at least one must be above 0"),
        ({"shares": {"clips": 1.0, "cutouts": 1.0}}, "set the share to 0"),
    ],
)
def test_wrong_sources_are_refused(prepared, change, words) -> None:
    with pytest.raises(ConfigError, match=words):
        make_sources(prepared, ["train"], **{"shares": {"clips": 1.0}, "cutouts": {}, **change})


def test_an_empty_split_is_refused(prepared) -> None:
    with pytest.raises(SourceError, match="is empty"):
        make_sources(prepared, ["tune"], {"clips": 1.0}, {})


@pytest.mark.parametrize(
    "wrong",
    [
        {"absent_share": 1.2},
        {"hard_share": -0.1},
        {"references": (0, 2)},
        {"references": (3, 2)},
        {"references": (1, 6)},
        {"max_gap": 0},
        {"min_object_px": 200.0},
        {"synthetic_px": (0.0, 50.0)},
        {"max_object_px": 300.0},
        {"turn_share": 0.6, "any_turn_share": 0.6},
    ],
)
def test_wrong_settings_are_refused_by_name(wrong) -> None:
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        PairConfig(**wrong)


@pytest.fixture(scope="module")
def backgrounds(tmp_path_factory):
    path = tmp_path_factory.mktemp("backgrounds") / "ground.png"
    cv2.imwrite(str(path), np.full((300, 400, 3), 60, np.uint8))
    return [path]


@pytest.fixture(scope="module")
def cutouts(tmp_path_factory):
    """A red disc with an alpha channel, and a green one without, on texture."""
    folder = tmp_path_factory.mktemp("cutouts")
    disc = np.zeros((100, 140, 4), np.uint8)
    cv2.ellipse(disc, (70, 50), (50, 40), 0, 0, 360, (0, 0, 255, 255), -1)
    cv2.imwrite(str(folder / "a.png"), disc)
    rng = np.random.default_rng(0)
    picture = rng.integers(60, 110, (120, 120, 3), dtype=np.uint8)
    cv2.circle(picture, (60, 60), 35, (0, 255, 0), -1)
    cv2.imwrite(str(folder / "b.png"), picture)
    return folder


def test_cutouts_know_their_outline(cutouts) -> None:
    red, green = (load_cutout(cutouts / name) for name in ("a.png", "b.png"))
    assert red.shape[2] == 4 and red.shape[1] / red.shape[0] == pytest.approx(100 / 80, abs=0.05)
    assert (red[..., 3] > 128).mean() == pytest.approx(np.pi / 4, abs=0.03)
    assert green.shape[0] == pytest.approx(71, abs=5) and green.shape[1] == green.shape[0]
    assert (green[..., 3] > 128).mean() == pytest.approx(np.pi / 4, abs=0.06)


def test_outlines_are_the_same_every_time_and_never_nothing() -> None:
    rng = np.random.default_rng(1)
    for picture in (
        rng.integers(0, 255, (80, 100, 3), dtype=np.uint8),
        np.full((60, 60, 3), 127, np.uint8),
        np.zeros((3, 200, 3), np.uint8),
    ):
        outline = object_outline(picture, seed=4)
        cv2.setRNGSeed(77)
        assert np.array_equal(outline, object_outline(picture, seed=4))
        assert outline.shape == picture.shape[:2] and outline.dtype == np.uint8
        assert outline.max() > 0
    assert (outline < 128).any()


@pytest.mark.parametrize("bgr", [(0, 0, 220), (10, 10, 10), (250, 250, 250), (120, 120, 120)])
def test_recoloured_cutouts_look_different(bgr) -> None:
    cutout = np.full((10, 12, 4), 255, np.uint8)
    cutout[..., :3] = bgr
    for seed in range(10):
        other = recoloured(cutout, np.random.default_rng(seed))
        assert (other[..., 3] == 255).all()
        assert np.abs(other[..., :3].astype(int) - cutout[..., :3]).max(axis=2).mean() > 60


def test_pasting_returns_the_box_of_what_is_opaque() -> None:
    scene = np.zeros((100, 100, 3), np.uint8)
    cutout = np.zeros((40, 60, 4), np.uint8)
    cutout[10:30, 10:50] = 255  # 40 x 20 opaque
    box = paste(scene, cutout, np.sqrt(20 * 10), (50, 40))
    assert box == (40, 35, 60, 45)
    assert scene[35:45, 40:60].min() == 255 and scene.sum() == 200 * 3 * 255
    assert paste(scene, cutout, np.sqrt(20 * 10), (0, 5)) == (-10, 0, 10, 10)
    assert scene[0:10, 0:10].min() == 255
    before = scene.copy()
    assert paste(scene, cutout, 10, (-60, 300))[2] < 0
    assert np.array_equal(scene, before)


def test_what_vanishes_when_shrunk_is_not_in_the_box() -> None:
    cutout = np.zeros((60, 60, 4), np.uint8)
    cutout[:30] = 255
    cutout[:, 30] = 255  # an antenna, one pixel thin
    scene = np.zeros((100, 100, 3), np.uint8)
    x1, y1, x2, y2 = paste(scene, cutout, 10, (50, 50))
    assert (x2 - x1, y2 - y1) == (10, 5)


def test_synthetic_pairs_box_the_pasted_object_tightly(cutouts, backgrounds, plain) -> None:
    source = CutoutPairs(cutouts, backgrounds)
    pairs = draw(source, 60, occluded_share=0.0)
    assert {pair.present for pair in pairs} == {True, False}
    sizes = []
    for pair in pairs:
        name = {"cutout:a.png": "red", "cutout:b.png": "green"}[pair.template_family]
        assert pair.template_family in pair.search_families
        assert seen(pair.templates[0][0], name)[20:28, 20:28].all()
        x1, y1, x2, y2 = pair.box_xyxy
        if pair.present:
            sizes.append(np.sqrt((x2 - x1) * (y2 - y1)))
            patch = seen(pair.search, name)[round(max(0, y1)) : round(y2), round(max(0, x1)) :]
            assert hull(patch)[0, 2] >= 0.75 * (min(x2, 96) - max(x1, 0)) - 2
            assert patch[:, : round(x2 - max(0, x1))].mean() > 0.45
        else:
            assert not seen(pair.search, name).any()
    assert 6.5 < min(sizes) < 14 and 30 < max(sizes) < 53
    looks = [len(pair.search_families) for pair in pairs]
    assert max(looks) == 2, "a sibling or another lies beside some"


def test_hard_absent_synthetic_pairs_show_a_look_alike(cutouts, backgrounds, plain) -> None:
    pairs = draw(CutoutPairs(cutouts, backgrounds), 30, absent_share=1.0, hard_share=1.0)
    for pair in pairs:
        assert not pair.present
        assert (pair.search.numpy().max(axis=0) > 120).sum() > 20


def test_colours_are_kept_where_they_alone_tell_objects_apart(
    cutouts, backgrounds, tmp_path, monkeypatch
) -> None:
    kept = []
    monkeypatch.setattr(
        views, "photometric", lambda image, keep_colours=False: kept.append(keep_colours) or image
    )
    (tmp_path / "only.png").write_bytes((cutouts / "a.png").read_bytes())
    draw(CutoutPairs(tmp_path, backgrounds), 5, absent_share=1.0, hard_share=1.0)
    assert kept == [True] * 10, "its only look-alike is itself in other colours"
    kept.clear()
    draw(CutoutPairs(tmp_path, backgrounds), 5, absent_share=1.0, hard_share=0.0)
    assert kept == [False] * 10


def test_synthetic_pairs_need_readable_pictures(cutouts, backgrounds, tmp_path) -> None:
    with pytest.raises(SourceError, match="holds no pictures"):
        CutoutPairs(tmp_path, backgrounds)
    with pytest.raises(SourceError, match="need backgrounds"):
        CutoutPairs(cutouts, [])
    (tmp_path / "broken.jpg").write_bytes(b"no picture")
    with pytest.raises(SourceError, match=r"broken\.jpg"):
        draw(CutoutPairs(tmp_path, backgrounds), 1)
    with pytest.raises(SourceError, match=r"broken\.jpg"):
        draw(CutoutPairs(cutouts, [tmp_path / "broken.jpg"]), 1)


def test_objects_of_several_moments_are_searched_at_another_one(
    cutouts, backgrounds, tmp_path, plain
) -> None:
    (tmp_path / "chameleon").mkdir()
    for name in ("a.png", "b.png"):
        (tmp_path / "chameleon" / name).write_bytes((cutouts / name).read_bytes())
    pairs = draw(CutoutPairs(tmp_path, backgrounds), 12, absent_share=0.0, hard_share=0.0)
    assert {pair.template_family for pair in pairs} == {"cutout:chameleon"}
    for pair in pairs:  # the one moment is red, the other green
        shown = [name for name in ("red", "green") if seen(pair.search, name).any()]
        views = {name for name in ("red", "green") if seen(pair.templates[0][0], name).any()}
        assert (views and not views & set(shown[:1])) or len(shown) == 2


def test_crops_are_no_larger_than_the_frame(prepared, plain) -> None:
    small = {"max_object_px": 9.0, "min_object_px": 8.0, "tilt_share": 0.0, "any_turn_share": 0.0}
    for pair in draw(InstancePairs(instances(prepared, "blue")), 20, absent_share=0.0, **small):
        padded = (pair.search == 114).all(dim=0).float().mean()
        assert padded < 0.5, "a crop as large as the frame, moved to the side at most"
