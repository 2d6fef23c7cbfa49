"""The pair sources of prepared data."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from refdet_core.errors import ConfigError
from refdet_training.datasets.index import load_instances, prepared_sources
from refdet_training.pairs.cutout_pairs import CutoutPairs
from refdet_training.pairs.instance_pairs import InstancePairs
from refdet_training.pairs.pair import PairSource

CUTOUTS = "cutouts"
"""Name of the synthetic pairs among the shares."""


def make_sources(
    prepared: Path,
    split: str,
    shares: Mapping[str, float],
    cutouts: Path | None = None,
    backgrounds: Sequence[Path] = (),
    loose_boxes: Collection[str] | Mapping[str, float] = (),
) -> list[tuple[PairSource, float]]:
    """Pair sources with their shares; look-alikes may come from any of them.

    Args:
        prepared: folder of prepared data sets.
        split: which of their splits.
        shares: how often each is drawn, by the data set's name or :data:`CUTOUTS`; 0 leaves it out.
        cutouts, backgrounds: pictures of the synthetic pairs.
        loose_boxes: data sets whose boxes are too loose to learn extents from, or the weight of
            their boxes by name.

    Raises:
        ConfigError: an unknown name, a negative share, no share above 0, or cut-outs without
            pictures.
        SourceError: a data set was not prepared or its split is empty.
    """
    _check(prepared, shares, loose_boxes)
    weights = (
        dict(loose_boxes) if isinstance(loose_boxes, Mapping) else dict.fromkeys(loose_boxes, 0.0)
    )
    names = [name for name, share in shares.items() if share > 0]
    instances = {name: load_instances(prepared, split, [name]) for name in names if name != CUTOUTS}
    pool = [item for found in instances.values() for item in found]
    sources: list[tuple[PairSource, float]] = []
    for name in names:
        source: PairSource
        if name != CUTOUTS:
            source = InstancePairs(instances[name], weights.get(name, 1.0), pool)
        elif cutouts is None or not backgrounds:
            raise ConfigError(
                f"The share of '{CUTOUTS}' is {shares[CUTOUTS]}, so it needs a folder of cut-outs "
                "and some backgrounds; give them or set the share to 0."
            )
        else:
            source = CutoutPairs(cutouts, backgrounds)
        sources.append((source, shares[name]))
    return sources


def _check(prepared: Path, shares: Mapping[str, float], loose_boxes: Collection[str]) -> None:
    valid = [*prepared_sources(prepared), CUTOUTS]
    for where, names in {"shares": shares, "loose_boxes": loose_boxes}.items():
        unknown = sorted(set(names) - set(valid))
        if unknown:
            raise ConfigError(
                f"Unknown names {unknown} in {where}; {prepared} holds {valid[:-1]}, and "
                f"'{CUTOUTS}' are synthetic pairs."
            )
    if any(share < 0 for share in shares.values()) or not any(shares.values()):
        raise ConfigError(
            f"shares must not be negative and at least one must be above 0, got {dict(shares)}."
        )
