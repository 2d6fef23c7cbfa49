"""``refdet-train prepare``: turns a labelled data set into an indexed one."""

from __future__ import annotations

import argparse
import sys
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

from refdet_training.datasets.frames import MODES
from refdet_training.datasets.prepare import (
    CONTACT_SHEET,
    LAYOUTS,
    MANIFEST,
    PrepareSettings,
    prepare,
)
from refdet_training.datasets.readers import AUTO, FORMATS


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of this command, with the defaults of :class:`PrepareSettings`."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    known = "\n".join(f"  {name:7} {item.looks_like}" for name, item in FORMATS.items())
    parser.epilog = f"formats:\n{known}"

    def add(flag: str, help_text: str, **options: Any) -> None:
        default = _DEFAULTS[flag.replace("-", "_")]
        parser.add_argument(f"--{flag}", default=default, help=help_text, **options)

    parser.add_argument("--data", type=Path, required=True, help="the data set's folder")
    parser.add_argument(
        "--output",
        type=Path,
        required=True,
        help="folder of prepared data sets; this one gets a folder below it",
    )
    formats = ", ".join([AUTO, *FORMATS])
    add("format", f"one of {formats} (%(default)s)", metavar="FORMAT")
    add("name", "of the prepared data set (that of the data set's folder)")
    add(
        "splits",
        "JSON: {train: [...], val: [...]}, that by data set, or, to cross-validate, "
        "{places: {...}, folds: [[...], ...]}",
        type=Path,
        metavar="FILE",
    )
    add("tune", "videos taken out of train to choose settings", nargs="+", metavar="VIDEO")
    add("val-share", "share of videos held out without --splits (%(default)s)", type=float)
    add("seed", "of that choice (%(default)s)", type=int)
    add(
        "family-pattern",
        "first group in the video's name, or the name of a named group: its family (the name)",
        metavar="REGEX",
    )
    add("kind-pattern", "the same for its kind (the data's)", metavar="REGEX")
    add("every", "take every n-th frame (%(default)s)", type=int, metavar="N")
    add(
        "frames",
        "jpeg: write frames; raw: decoded, large and fast; video: point into the source "
        "(%(default)s)",
        choices=MODES,
    )
    add("quality", "of written JPEGs (%(default)s)", type=int)
    add("layout", "also write {train,val}/templates + search (%(default)s)", choices=LAYOUTS)


def run(options: argparse.Namespace) -> None:
    """Prepare the data set and print a summary."""
    values = {item.name: getattr(options, item.name) for item in fields(PrepareSettings)}
    settings = PrepareSettings(**{**values, "tune": tuple(options.tune)})
    manifest = prepare(settings)
    for name, counts in {"all": manifest["counts"], **manifest["by_split"]}.items():
        print(f"{name:7}" + "  ".join(f"{number} {what}" for what, number in counts.items()))
    for name in ("tune", "val"):
        if manifest["by_split"].get(name, {}).get("videos") == 1:
            print(
                f"note: '{name}' has one video, so none of its frames is without the object; "
                "publish and evaluate need a second one of another family",
                file=sys.stderr,
            )
    print(f"median object {manifest['box_size_px']['median']} px")
    print(f"see {settings.folder / MANIFEST} and {settings.folder / CONTACT_SHEET}")


_DEFAULTS = {
    item.name: item.default for item in fields(PrepareSettings) if item.default is not MISSING
}
