"""Which networks work beside the one that searches: published ones that come with refdet."""

from __future__ import annotations

from pathlib import Path
from typing import List, Optional, Sequence

from refdet_core.bundle import (
    BUNDLES_FOLDER,
    DESCRIPTION,
    TRACK,
    Bundle,
    bundle_folder,
    load_bundle,
    released_names,
)
from refdet_core.errors import BundleError
from refdet_core.refinement_rule import SEPARATOR

AUTO = "auto"
NONE = "none"
BEST = "lighttrack+fear+nanotrackv3"
"""The best of those measured (docs/tracking.md): they fail on different videos."""


def tracking_bundles(names: str, search_bundle: Optional[Path], backend: str) -> List[Bundle]:
    """The bundles of the networks that follow targets; none: the search network does it.

    Args:
        names: names of bundles that come with refdet or folders, joined by ``+``: several look
            from one shared position. ``none``: the search network follows. ``auto``: the best ones
            beside the released search network, ``none`` beside a bundle of your own.
        search_bundle: the search network, see :func:`~refdet_core.bundle.bundle_folder`.
        backend: name of the backend that runs them.

    Raises:
        BundleError: there is no such bundle, or it was not made to follow.
    """
    if names == AUTO:
        # The torch backend builds refdet's own networks, which these are not.
        released = bundle_folder(search_bundle).resolve().parent == BUNDLES_FOLDER.resolve()
        names = BEST if released and backend != "torch" else NONE
    if names in (NONE, ""):
        return []
    bundles = [_load(name.strip()) for name in names.split(SEPARATOR)]
    for bundle in bundles:
        if TRACK not in bundle.purposes:
            raise BundleError(
                f"The bundle '{bundle.folder}' was not made to follow; give one of "
                f"{released_names(TRACK)}, a folder, several joined by '{SEPARATOR}', '{AUTO}' or "
                f"'{NONE}'."
            )
    return bundles


def comparing_bundles(search: Bundle, tracking: Sequence[Bundle]) -> List[Bundle]:
    """The bundles whose features the second look compares, without those that follow; none if there
    is no second look.

    Raises:
        BundleError: there is no such bundle, or the search bundle's cohort is of others.
    """
    rule, there = search.refinement, {bundle.name: bundle for bundle in tracking}
    if rule is None or rule.tracker not in there:
        return []
    added = [_load(name) for name in rule.embedders if name not in there]
    if search.cohort is not None:
        compared = {**there, **{bundle.name: bundle for bundle in added}}
        features = sum(compared[name].kernel_shape[0] for name in rule.embedders)
        search.cohort.check(features)
    return added


def _load(name: str) -> Bundle:
    if not name or not (bundle_folder(Path(name)) / DESCRIPTION).is_file():
        raise BundleError(
            f"There is no bundle '{name}' to work beside the one that searches: give one of "
            f"{released_names(TRACK)}, a folder, several joined by '{SEPARATOR}', '{AUTO}' or "
            f"'{NONE}'."
        )
    return load_bundle(Path(name))
