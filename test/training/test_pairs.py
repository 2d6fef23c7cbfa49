from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch", reason="training needs torch")
pytest.importorskip("timm", reason="training needs timm")

from refdet_core.errors import SourceError
from refdet_training.augment import jitter_box, photometric, search_view
from refdet_training.pairs import (
    CutoutPairs,
    PairConfig,
    PairDataset,
    PhotoPairs,
    VideoPairs,
    collate,
)
from refdet_training.videos import extract_frames, load_instances, split_videos


@pytest.fixture(scope="session")
def prepared(data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("prepared")
    extract_frames(data / "aerial_sequences", folder)
    return folder


def test_instances_know_frames_boxes_and_absence(data, prepared) -> None:
    train, val = split_videos(data / "splits.json", "aerial_sequences")
    assert not set(train) & set(val)
    (instance,) = load_instances(prepared, ["aerial_sequences"], val)
    assert len(instance.frames) == 44 and len(instance.boxes_xyxy) == 42
    assert 20 not in instance.present and 20 in instance.frames


def test_preparing_again_keeps_the_frames(data, prepared) -> None:
    frame = next((prepared / "aerial_sequences").rglob("000003.jpg"))
    before = frame.stat().st_mtime_ns
    extract_frames(data / "aerial_sequences", prepared)
    assert frame.stat().st_mtime_ns == before


def test_unprepared_or_empty_choices_are_refused(prepared, tmp_path) -> None:
    with pytest.raises(SourceError, match="refdet-train prepare"):
        load_instances(tmp_path, ["aerial_sequences"])
    with pytest.raises(SourceError, match="No instance"):
        load_instances(prepared, ["aerial_sequences"], ["nothing"])
    with pytest.raises(SourceError, match="no labelled photos"):
        PhotoPairs(tmp_path)


@pytest.mark.parametrize("seed", range(20))
def test_a_search_view_carries_its_box_along(seed: int) -> None:
    rng = np.random.default_rng(seed)
    frame = np.zeros((300, 400, 3), np.uint8)
    frame[120:160, 180:240] = 255
    view, (x1, y1, x2, y2) = search_view(frame, (180, 120, 240, 160), 256, rng, away=False)
    rows, columns = np.nonzero(view[..., 0] > 200)
    clipped = np.clip([x1, y1, x2, y2], 0, 256)
    if len(rows):
        found = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
        assert np.allclose(found, clipped, atol=2.5)
    assert view.shape == (256, 256, 3)


@pytest.mark.parametrize("seed", range(10))
def test_photometric_changes_keep_shape_and_type(seed: int) -> None:
    picture = np.random.default_rng(0).integers(0, 255, (40, 50, 3), dtype=np.uint8)
    changed = photometric(picture, np.random.default_rng(seed))
    assert changed.shape == picture.shape and changed.dtype == np.uint8


def test_jitter_stays_near_the_box() -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        x1, y1, x2, y2 = jitter_box((10, 10, 50, 30), rng, 0.1, 0.1)
        assert abs((x1 + x2) / 2 - 30) <= 4.01 and abs((y1 + y2) / 2 - 20) <= 2.01
        assert 36 < x2 - x1 < 45 and 18 < y2 - y1 < 22.5


def sources(data, prepared):
    backgrounds = sorted((data / "backgrounds").glob("*.jpg"))
    return [
        VideoPairs(load_instances(prepared, ["aerial_sequences"])),
        PhotoPairs(data / "aerial_cars"),
        CutoutPairs(data / "cutout_sources", backgrounds),
    ]


@pytest.mark.parametrize("number", range(3))
def test_every_source_draws_valid_pairs_present_and_absent(data, prepared, number: int) -> None:
    source, config = sources(data, prepared)[number], PairConfig(img_size=128, absent_share=0.5)
    pairs = [source.draw(config, np.random.default_rng(seed)) for seed in range(30)]
    assert {pair.present for pair in pairs} == {True, False}
    for pair in pairs:
        assert pair.search_bgr.shape == (128, 128, 3) and pair.template_bgr.shape == (128, 128, 3)
        if pair.present:
            x1, y1, x2, y2 = pair.box_xyxy
            assert x2 > x1 and y2 > y1 and x1 < 128 and y1 < 128 and x2 > 0 and y2 > 0


def test_the_same_seed_draws_the_same_pairs_and_families_decide_what_is_unknown(
    data, prepared
) -> None:
    video = sources(data, prepared)[0]
    batches = [
        collate([PairDataset([(video, 1.0)], PairConfig(), 16, seed=3)[i] for i in range(16)])
        for _ in range(2)
    ]
    assert (batches[0].searches == batches[1].searches).all()
    ignore = batches[0].ignore
    assert ignore.diagonal().all()
    assert (ignore == ignore.T).all()
    assert 16 < ignore.sum() < 16 * 16  # some share a video, some do not
