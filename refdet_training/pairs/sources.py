"""The pair sources of prepared data."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from refdet_core.errors import ConfigError
from refdet_training.datasets.index import load_instances, load_splits, prepared_sources
from refdet_training.datasets.instance import Instance
from refdet_training.datasets.splits import is_fold
from refdet_training.pairs.cutout_pairs import CutoutPairs
from refdet_training.pairs.instance_pairs import InstancePairs
from refdet_training.pairs.pair import PairSource

CUTOUTS, OBJECT_CUTOUTS = "cutouts", "object_cutouts"
"""Names of the synthetic pairs among the shares: of pictures with one object each, and of objects
with pictures of several moments."""
_SYNTHETIC = (CUTOUTS, OBJECT_CUTOUTS)


@dataclass(frozen=True)
class NamedSource:
    """Pairs of one split of a data set, or synthetic ones, and how often they are drawn."""

    name: str
    source: PairSource
    share: float


def make_sources(
    prepared: Path,
    splits: Sequence[str],
    shares: Mapping[str, float],
    cutouts: Mapping[str, Path],
    backgrounds: Sequence[Path] = (),
    loose_boxes: Collection[str] | Mapping[str, float] = (),
) -> list[NamedSource]:
    """Pair sources with their shares, one for each data set and split.

    Look-alikes of the same kind come from the source's own split and from the other data sets,
    but never from another fold: a fold that is held out must not be seen in any pair.

    Args:
        prepared: folder of prepared data sets.
        splits: which of their splits; a data set takes those that it has.
        shares: how often each is drawn, by the data set's name, :data:`CUTOUTS` or
            :data:`OBJECT_CUTOUTS`; 0 leaves it out.
        cutouts: folders of the synthetic pairs, by name.
        backgrounds: pictures that cut-outs are pasted on.
        loose_boxes: data sets (or videos, ``data_set/video_id``) whose boxes are too loose to
            learn extents from, or the weight of their boxes by name.

    Raises:
        ConfigError: an unknown name, a negative share, no share above 0, or cut-outs without
            pictures.
        SourceError: a data set was not prepared or its splits are empty.
    """
    _check(prepared, shares, loose_boxes)
    weights = (
        dict(loose_boxes) if isinstance(loose_boxes, Mapping) else dict.fromkeys(loose_boxes, 0.0)
    )
    names = [name for name, share in shares.items() if share > 0]
    parts = {name: _parts(prepared, name, splits) for name in names if name not in _SYNTHETIC}
    anywhere = [
        item
        for found in parts.values()
        for split, items in found.items()
        if not is_fold(split)
        for item in items
    ]
    sources = []
    for name in names:
        if name in _SYNTHETIC:
            pasted = _synthetic(name, shares[name], cutouts, backgrounds)
            sources.append(NamedSource(name, pasted, shares[name]))
            continue
        for split, instances in parts[name].items():
            pool = [*instances, *anywhere] if is_fold(split) else anywhere
            videos = {item.video_id: f"{name}/{item.video_id}" for item in instances}
            loose = {video: weights[key] for video, key in videos.items() if key in weights}
            pairs = InstancePairs(instances, weights.get(name, 1.0), pool, loose)
            share = shares[name] / len(parts[name])
            sources.append(NamedSource(f"{name}.{split}", pairs, share))
    return sources


def _parts(prepared: Path, name: str, splits: Sequence[str]) -> dict[str, list[Instance]]:
    """Instances by split, for the splits that the data set has."""
    filled = load_splits(prepared / name) if name in prepared_sources(prepared) else {}
    chosen = [split for split in splits if filled.get(split)] or list(splits[:1])
    return {split: load_instances(prepared, split, [name]) for split in chosen}


def _synthetic(
    name: str, share: float, cutouts: Mapping[str, Path], backgrounds: Sequence[Path]
) -> CutoutPairs:
    if name not in cutouts or not backgrounds:
        raise ConfigError(
            f"The share of '{name}' is {share}, so it needs a folder of cut-outs and some "
            "backgrounds; give them or set the share to 0."
        )
    return CutoutPairs(cutouts[name], backgrounds)


def _check(prepared: Path, shares: Mapping[str, float], loose_boxes: Collection[str]) -> None:
    valid = [*prepared_sources(prepared), *_SYNTHETIC]
    loose = {name.partition("/")[0] for name in loose_boxes}
    for where, names in {"shares": set(shares), "loose_boxes": loose}.items():
        unknown = sorted(names - set(valid))
        if unknown:
            raise ConfigError(
                f"Unknown names {unknown} in {where}; {prepared} holds "
                f"{valid[: -len(_SYNTHETIC)]}, and {list(_SYNTHETIC)} are synthetic pairs."
            )
    if any(share < 0 for share in shares.values()) or not any(shares.values()):
        raise ConfigError(
            f"shares must not be negative and at least one must be above 0, got {dict(shares)}."
        )
