"""The satellite recipes once through: two steps, export, ``refdet search-images``."""

from __future__ import annotations

import shutil
from pathlib import Path

from refdet_core.cli import main as refdet
from refdet_core.errors import RefdetError
from refdet_training.callbacks import LAST
from refdet_training.commands.export import export
from refdet_training.lightning_cli import fit

RECIPES = ("satellite_triplet", "satellite_triplet_resnet18")
IMAGES = "sat4_rgbnir_trees"
_LEARNED, _MEASURED, _SEARCHED = "riverside_2016_0", "riverside_2020_0", "santa_monica_2018_0"
_EXEMPLAR = "96,96,16,16"


def smoke(recipe: str, data: Path, output: Path) -> None:
    """Train, export and search one image.

    Args:
        data: folder of the data sets.
        output: the recipe's folder, made anew.

    Raises:
        RefdetError: something of it does not work.
    """
    shutil.rmtree(output, ignore_errors=True)
    images = data / IMAGES
    run = output / "run"
    fit(
        [
            *("--config", f"refdet_training/recipes/{recipe}.yaml", "--data.data_dir", str(images)),
            *("--data.train", f"[{_LEARNED}]", "--data.tune", f"[{_MEASURED}]"),
            *("--data.chips_per_epoch", "12", "--model.backbone_weights", "none"),
            *("--trainer.max_steps", "2", "--trainer.max_epochs", "-1"),
            *("--trainer.default_root_dir", str(run), "--trainer.enable_progress_bar", "false"),
            *("--trainer.enable_model_summary", "false", "--trainer.logger", "false"),
        ]
    )
    bundle = export(run / LAST, output / "bundle", recipe, "0.0.0")
    image = images / f"{_SEARCHED}.tif"
    given = ["--images", str(image), "--exemplar", f"{image}:{_EXEMPLAR}", "--class", "tree"]
    given += ["--bundle", str(bundle.folder), "--output", str(output / "found")]
    if refdet(["search-images", *given]):
        raise RefdetError(f"refdet search-images fails with {bundle.folder}.")
