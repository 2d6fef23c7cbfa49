"""Splits by family, and the check that refuses a leak."""

from __future__ import annotations

import json

import pytest

pytest.importorskip("torch")  # like all of test/training: not on the Jetson's Python

from refdet_core.errors import ConfigError, SourceError
from refdet_training.datasets.splits import (
    VideoFacts,
    check_splits,
    own_splits,
    read_splits,
    share_splits,
    take_tune,
)


def facts(**families):
    return {video: VideoFacts(family) for video, family in families.items()}


def distinct(number):
    return {f"v{n}": VideoFacts(f"v{n}", frozenset({f"d{n}"})) for n in range(number)}


def test_share_takes_that_share_and_the_seed_decides_which():
    videos = distinct(20)
    splits = share_splits(videos, 0.2, seed=0)
    assert len(splits["val"]) == 4
    assert sorted(splits["train"] + splits["val"]) == sorted(videos)
    assert splits == share_splits(videos, 0.2, seed=0)
    assert any(splits != share_splits(videos, 0.2, seed=seed) for seed in range(1, 5))


@pytest.mark.parametrize("seed", range(8))
def test_a_family_never_straddles(seed):
    videos = facts(a1="a", a2="a", a3="a", b1="b", b2="b", c1="c", c2="c")
    splits = share_splits(videos, 0.3, seed)
    families = [{videos[video].family for video in splits[name]} for name in ("train", "val")]
    assert families[0].isdisjoint(families[1])
    assert families[0]
    assert families[1]
    assert check_splits(splits, videos, given=False) == []


@pytest.mark.parametrize("seed", range(8))
def test_videos_with_a_common_frame_stay_together(seed):
    videos = {
        "a": VideoFacts("a", frozenset({"x", "y"})),
        "b": VideoFacts("b", frozenset({"y", "z"})),
        "c": VideoFacts("c", frozenset({"z"})),
        "d": VideoFacts("d", frozenset({"q"})),
    }
    splits = share_splits(videos, 0.5, seed)
    assert sorted([sorted(splits["train"]), sorted(splits["val"])]) == [["a", "b", "c"], ["d"]]


def test_one_family_cannot_be_parted():
    with pytest.raises(SourceError, match=r"one family.*--val-share 0"):
        share_splits(facts(a1="a", a2="a"), 0.2, 0)
    assert share_splits(facts(a1="a", a2="a"), 0, 0) == {"train": ["a1", "a2"], "val": []}


def test_a_video_in_two_splits_is_refused():
    with pytest.raises(SourceError, match="'a' is in the splits 'train' and 'val'"):
        check_splits({"train": ["a", "b"], "val": ["a"]}, facts(a="a", b="b"), given=True)


def test_a_straddling_family_is_refused_unless_a_person_gave_the_lists():
    videos = facts(w1="w", w2="w", b="b")
    splits = {"train": ["w1", "b"], "val": ["w2"]}
    with pytest.raises(SourceError, match="family is in two splits: 'w1' and 'w2'"):
        check_splits(splits, videos, given=False)
    (warning,) = check_splits(splits, videos, given=True)
    assert "'w1' and 'w2'" in warning


def test_the_same_frames_in_two_splits_are_refused_even_if_given():
    videos = {
        "a": VideoFacts("a", frozenset({"1", "2"})),
        "b": VideoFacts("b", frozenset({"2", "3"})),
    }
    with pytest.raises(SourceError, match="same frames are in two splits: 'a' and 'b'"):
        check_splits({"train": ["a"], "val": ["b"]}, videos, given=True)
    assert check_splits({"train": ["a", "b"], "val": []}, videos, given=True) == []


def test_tune_comes_out_of_train():
    splits = take_tune({"train": ["a", "b", "c"], "val": ["d"]}, ["b"])
    assert splits == {"train": ["a", "c"], "tune": ["b"], "val": ["d"]}
    with pytest.raises(ConfigError, match=r"\['d'\].*not in the train split"):
        take_tune({"train": ["a"], "val": ["d"]}, ["d"])


def test_own_splits_only_where_every_video_has_one():
    videos = {"a": VideoFacts("a", own_split="train"), "b": VideoFacts("b", own_split="val")}
    assert own_splits(videos) == {"train": ["a"], "val": ["b"]}
    assert own_splits({**videos, "c": VideoFacts("c")}) is None
    assert own_splits({"a": videos["a"]}) is None


def test_files_of_splits(tmp_path):
    path = tmp_path / "splits.json"
    plain = {"train": ["a"], "val": ["b"]}
    path.write_text(json.dumps(plain))
    assert read_splits(path, ["mine"]) == plain
    path.write_text(json.dumps({"other": {"train": []}, "mine": plain}))
    assert read_splits(path, ["renamed", "mine"]) == plain
    with pytest.raises(ConfigError, match=r"no splits for \['x'\]; it has \['mine', 'other'\]"):
        read_splits(path, ["x"])
    path.write_text(json.dumps({"train": ["a"], "vall": ["b"]}))
    with pytest.raises(ConfigError, match="expected lists of video ids"):
        read_splits(path, ["mine"])
    path.write_text("{")
    with pytest.raises(ConfigError, match="cannot be read as splits"):
        read_splits(path, ["mine"])
