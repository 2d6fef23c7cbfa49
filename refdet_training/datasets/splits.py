"""Splits for training and evaluation. A split consists of whole videos, never of single frames."""

from __future__ import annotations

import json
import random
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from refdet_core.errors import ConfigError, SourceError
from refdet_core.text_files import read_text

Splits = dict[str, list[str]]
_NAMES = {"train", "tune", "val", "test"}
_FOLD = "fold"
_EXAMPLES = 5


@dataclass(frozen=True)
class VideoFacts:
    """The facts about a video that splits must respect.

    Attributes:
        family: videos of one family may show the same object.
        digests: hashes of the video's frames.
        own_split: the data set's own split of the video, empty if it has none.
    """

    family: str
    digests: frozenset[str] = frozenset()
    own_split: str = ""


def read_splits(path: Path, names: Sequence[str]) -> Splits:
    """Splits from a file: ``{"train": […], "val": […]}``, or that for each data set by name; or
    folds of places, ``{"places": {place: [video, …]}, "folds": [[place, …], …]}``, which become the
    splits ``fold0``, ``fold1``, ….

    Args:
        path: JSON file.
        names: possible names of the data set; the first match counts.

    Raises:
        ConfigError: the file has another form, or does not list the data set.
    """
    try:
        content = json.loads(read_text(path))
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path} cannot be read as splits: {error}.") from error
    if isinstance(content, dict) and "folds" in content:
        return _fold_splits(path, content)
    if isinstance(content, dict) and content.keys().isdisjoint(_NAMES):
        found = [name for name in names if name in content]
        if not found:
            raise ConfigError(f"{path} has no splits for {list(names)}; it has {sorted(content)}.")
        content = content[found[0]]
    if not isinstance(content, dict) or not content.keys() <= _NAMES or "train" not in content:
        raise ConfigError(
            f"{path}: expected lists of video ids under 'train', 'val' and optionally "
            f"'tune' and 'test', got {str(content)[:80]}."
        )
    return {name: [str(video) for video in videos] for name, videos in content.items()}


def fold_split(number: int) -> str:
    """Name of the split of a fold, counted from 0."""
    return f"{_FOLD}{number}"


def is_fold(split: str) -> bool:
    """Whether :func:`fold_split` gave this name."""
    return split.startswith(_FOLD) and split[len(_FOLD) :].isdigit()


def _fold_splits(path: Path, content: Mapping[str, Any]) -> Splits:
    try:
        places = content["places"]
        return {
            fold_split(number): [str(video) for place in fold for video in places[place]]
            for number, fold in enumerate(content["folds"])
        }
    except (KeyError, TypeError) as error:
        raise ConfigError(
            f"{path}: expected 'places' with lists of video ids by place, and 'folds' with lists "
            f"of those places; {error} is missing or not of that form."
        ) from error


def own_splits(videos: Mapping[str, VideoFacts]) -> Splits | None:
    """The splits of the data set's own folders; None unless it has both train and val."""
    found: Splits = defaultdict(list)
    for video_id, facts in videos.items():
        found[facts.own_split].append(video_id)
    return None if "" in found or not {"train", "val"} <= found.keys() else dict(found)


def share_splits(videos: Mapping[str, VideoFacts], val_share: float, seed: int) -> Splits:
    """Put about ``val_share`` of the videos into val, in whole families.

    Families that share a frame count as one.

    Raises:
        SourceError: there are too few families.
    """
    groups = _groups(videos)
    random.Random(seed).shuffle(groups)
    if val_share == 0:
        return {"train": list(videos), "val": []}
    if len(groups) < 2:
        raise SourceError(
            f"All {len(videos)} videos are of one family, so there is nothing to hold out for val. "
            "Check --family-pattern, list the videos with --splits, or use --val-share 0."
        )
    target = max(1, round(val_share * len(videos)))
    val: list[str] = []
    for group in groups[:-1]:  # the last one always stays in train
        if len(val) + len(group) <= target:
            val.extend(group)
    if not val:
        val = min(groups, key=lambda group: len(group))
    return {"train": [name for name in videos if name not in val], "val": sorted(val)}


def take_tune(splits: Splits, tune: Sequence[str]) -> Splits:
    """Move videos from train to tune.

    Raises:
        ConfigError: one of them is not in train.
    """
    unknown = [name for name in tune if name not in splits["train"]]
    if unknown:
        raise ConfigError(f"--tune names {unknown}, which are not in the train split.")
    if not tune:
        return splits
    rest = [name for name in splits["train"] if name not in tune]
    others = {name: videos for name, videos in splits.items() if name not in ("train", "tune")}
    return {"train": rest, "tune": [*splits.get("tune", []), *tune], **others}


def check_splits(
    splits: Mapping[str, Sequence[str]], videos: Mapping[str, VideoFacts], given: bool
) -> list[str]:
    """Refuse a leak: evaluation data must not be training data.

    Args:
        splits: video ids by split.
        videos: every video of the data set.
        given: the user made the lists. Then a family in two splits is only a warning, because
            families are guessed from names.

    Returns:
        Warnings.

    Raises:
        SourceError: a video, a family or the same frame is in two splits.
    """
    place: dict[str, str] = {}
    for split, members in splits.items():
        for video in members:
            if place.setdefault(video, split) != split:
                raise SourceError(
                    f"Video '{video}' is in the splits '{place[video]}' and '{split}'; "
                    "list it only once."
                )
    known = {video: split for video, split in place.items() if video in videos}
    same = _straddling({video: videos[video].digests for video in known}, known)
    if same:
        raise SourceError(
            f"The same frames are in two splits: {_pairs(same)}. Put these videos into one split, "
            "or leave one of them out."
        )
    straddling = _straddling({video: {videos[video].family} for video in known}, known)
    message = f"A family is in two splits: {_pairs(straddling)}"
    if straddling and not given:
        raise SourceError(f"{message}. Put it into one split with --splits.")
    return [f"{message}; scores on these videos will be optimistic."] if straddling else []


def _straddling(
    marks: Mapping[str, Collection[str]], place: Mapping[str, str]
) -> list[tuple[str, str]]:
    """Pairs of videos in different splits that share a mark, one for each pair of videos."""
    first: dict[str, dict[str, str]] = defaultdict(dict)
    pairs: dict[tuple[str, str], None] = {}
    for video, found in marks.items():
        for mark in found:
            for split, other in first[mark].items():
                if split != place[video]:
                    pairs[(other, video)] = None
            first[mark].setdefault(place[video], video)
    return sorted(pairs)


def _pairs(pairs: list[tuple[str, str]]) -> str:
    shown = ", ".join(f"'{one}' and '{other}'" for one, other in pairs[:_EXAMPLES])
    return shown + (f" and {len(pairs) - _EXAMPLES} more" if len(pairs) > _EXAMPLES else "")


def _groups(videos: Mapping[str, VideoFacts]) -> list[list[str]]:
    """Videos that belong together, through their family or a common frame."""
    group_of: dict[str, list[str]] = {}
    owner: dict[tuple[str, str], str] = {}
    for video, facts in videos.items():
        group_of[video] = [video]
        marks = [("family", facts.family), *(("frame", digest) for digest in facts.digests)]
        for mark in marks:
            other = group_of[owner.setdefault(mark, video)]
            if other is not group_of[video]:
                other.extend(group_of[video])
                for member in group_of[video]:
                    group_of[member] = other
    return list({id(group): group for group in group_of.values()}.values())
