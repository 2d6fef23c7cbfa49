"""Every recipe once through: a few steps of training, export, and `refdet detect` or
`refdet search-images` with the result.

    python -m benchmarks.recipes.smoke --data ../shared/data --output runs/recipes-smoke

It shows that everything works together, not that anything is found.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

import cv2

from benchmarks.recipes import train
from benchmarks.satellite import smoke as satellite
from refdet_core.cli import main as refdet
from refdet_core.errors import RefdetError
from refdet_training.datasets.index import load_instances
from refdet_training.datasets.prepare import PrepareSettings, prepare
from refdet_training.datasets.splits import fold_split

VIDEOS = "aerial_sequences"
RECIPES = (*train.RECIPES, *satellite.RECIPES)
EVERY = 40  # frames: enough of them for a few steps, quickly decoded


def smoke(options: argparse.Namespace) -> None:
    """Prepare, train, export and detect.

    Raises:
        RefdetError: something of it does not work.
    """
    for recipe in satellite.RECIPES:
        if recipe in options.only and (options.data / satellite.IMAGES).is_dir():
            satellite.smoke(recipe, options.data, options.output / recipe)
            print(f"{recipe}: trained, exported and run", flush=True)
    pairwise = [recipe for recipe in options.only if recipe in train.RECIPES]
    if not pairwise:
        return
    prepared = options.output / "prepared"
    if not (prepared / VIDEOS).is_dir():
        splits = options.data / "places.json"
        settings = PrepareSettings(
            data=options.data / VIDEOS,
            output=prepared,
            every=EVERY,
            splits=splits,
        )
        prepare(settings)
    instance = load_instances(prepared, fold_split(train.FOLD), [VIDEOS])[0]
    number = instance.present[0]
    frame = options.output / "frames" / "frame.jpg"
    frame.parent.mkdir(exist_ok=True)
    cv2.imwrite(str(frame), instance.read(number))
    x1, y1, x2, y2 = instance.boxes_xyxy[number]
    roi = ",".join(str(round(value)) for value in (x1, y1, x2 - x1, y2 - y1))
    given = ["--data", str(prepared), "--output", str(options.output), "--steps", "2"]
    given += ["--batch", "2", "--tune-pairs", "2", "--only", *pairwise]
    if options.data.joinpath("weights").is_dir():
        given += ["--weights", str(options.data / "weights")]
    settings_of_training = train.arguments().parse_args(given)
    for recipe in pairwise:
        bundle = train.train(recipe, settings_of_training) / train.TRAINED
        for search in ("tiles", "auto"):
            output = options.output / recipe / search
            shutil.rmtree(output, ignore_errors=True)
            places = ["--template", str(frame), "--roi", roi, "--frames", str(frame.parent)]
            places += ["--bundle", str(bundle), "--output", str(output), "--search", search]
            code = refdet(["detect", *places])
            if code:
                raise RefdetError(f"refdet detect fails with {bundle} and the search {search}.")
        print(f"{recipe}: trained, exported and run", flush=True)


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.recipes.smoke", description="Every recipe once through."
    )
    parser.add_argument("--data", type=Path, required=True, help="folder of the data sets")
    parser.add_argument("--output", type=Path, default=Path("runs/recipes-smoke"))
    parser.add_argument("--only", nargs="+", default=RECIPES, choices=RECIPES, metavar="RECIPE")
    options = parser.parse_args()
    try:
        smoke(options)
    except RefdetError as error:
        raise SystemExit(f"error: {error}") from error


if __name__ == "__main__":
    main()
