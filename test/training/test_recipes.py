"""Every recipe once through: fit, export (parity, TensorRT 8.4), detect, follow."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("torch", reason="training needs torch")
pytest.importorskip("timm", reason="training needs timm")
pytest.importorskip("lightning", reason="training needs lightning")

import yaml

import refdet_training
from refdet_core.bundle import AS_TEMPLATE, load_bundle
from refdet_core.detector import DEFAULT_TEMPLATE_ID, Detector
from refdet_core.detector_config import DetectorConfig
from refdet_core.errors import ConfigError
from refdet_core.types import Reference
from refdet_training.cli import main
from refdet_training.datasets.index import write_index, write_splits
from refdet_training.lightning_cli import fit

RECIPES = Path(refdet_training.__file__).parent / "recipes"
COLOURS_BGR = {"red": (30, 30, 220), "green": (30, 200, 30), "blue": (220, 60, 30)}
SIDE = 40

SMALL: dict[str, dict[str, object]] = {
    "siamfc": {"template_size": 95, "img_size": 143, "heatmap_size": 7},
    "siamrpn_alex": {"template_size": 111, "img_size": 143, "heatmap_size": 5},
    "siamrpnpp_mobilenetv2": {
        "template_size": 63,
        "img_size": 127,
        "heatmap_size": 11,
        "kernel_size": 5,
        "channels": 16,
        "hidden": 16,
    },
    "siamrpnpp_r50": {
        "template_size": 63,
        "img_size": 127,
        "heatmap_size": 11,
        "kernel_size": 5,
        "channels": 16,
        "hidden": 16,
    },
    "crossattention_mobilenetv3": {
        # Random weights of the 0.75 network, which takes 0-255 as they are, give values too large
        # for float32 to agree on.
        "backbone": "mobilenetv3_large_100",
        "template_size": 64,
        "img_size": 128,
        "channels": 32,
        "hidden": 16,
        "attention_heads": 4,
    },
    "dinov3_crossattention": {
        "template_size": 64,
        "img_size": 128,
        "channels": 32,
        "hidden": 16,
        "attention_heads": 4,
        "box_offsets": "true",
    },
}
"""The same composition at a size that two steps on a processor take little time for."""
SLOW = ("siamrpn_alex", "siamrpnpp_r50", "dinov3_crossattention")
ALL = [pytest.param(name, marks=[pytest.mark.slow] * (name in SLOW)) for name in SMALL]


def frame(colour: str, x: int, y: int) -> np.ndarray:
    picture = np.full((180, 240, 3), 110, np.uint8)
    cv2.rectangle(picture, (x, y), (x + SIDE - 1, y + SIDE - 1), COLOURS_BGR[colour], -1)
    cv2.line(picture, (x, y), (x + SIDE - 1, y + SIDE - 1), (0, 0, 0), 3)
    return picture


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    root = tmp_path_factory.mktemp("prepared")
    folder = root / "squares"
    folder.mkdir()
    rows = []
    for colour in COLOURS_BGR:
        for number in range(4):
            x, y = 20 + 30 * number, 30 + 20 * number
            name = f"{colour}_{number}.png"
            cv2.imwrite(str(folder / name), frame(colour, x, y))
            names = {"source": "squares", "video_id": colour, "object_id": colour}
            box = {"x1": x, "y1": y, "x2": x + float(SIDE), "y2": y + float(SIDE)}
            place = {"frame": number, "picture": name, "video_frame": -1}
            rows.append({**names, "family": colour, "kind": "", **place, **box})
    write_index(folder, rows)
    write_splits(folder, {"train": ["red", "green"], "tune": ["blue"]})
    return root


def settings(recipe: str, prepared: Path, folder: Path) -> list[str]:
    """What makes a recipe small enough for a test."""
    texts = ["--config", str(RECIPES / f"{recipe}.yaml"), "--data.data_dir", str(prepared)]
    texts += ["--trainer.default_root_dir", str(folder), "--trainer.accelerator", "cpu"]
    texts += ["--trainer.max_steps", "2", "--trainer.max_epochs", "-1", "--data.workers", "0"]
    texts += ["--trainer.enable_progress_bar", "false", "--trainer.logger", "false"]
    texts += ["--data.batch_size", "2", "--data.pairs_per_epoch", "4", "--data.tune_pairs", "2"]
    texts += ["--data.pairs.max_object_px", "60", "--data.pairs.synthetic_px", "[8, 60]"]
    texts += ["--model.backbone_weights", "none", "--model.frozen_blocks", "0"]
    texts += ["--data.shares", "null", "--data.loose_boxes", "null"]
    for name, value in SMALL[recipe].items():
        texts += [f"--model.network.{name}", str(value)]
    return texts


def test_every_recipe_is_tested() -> None:
    released = {"refdet_mobilenetv3"}
    pairwise = {
        path.stem
        for path in RECIPES.glob("*.yaml")
        if "window:" in path.read_text(encoding="utf-8")
    }
    assert pairwise - released == set(SMALL)


@pytest.mark.parametrize("recipe", ALL)
def test_a_recipe_trains_exports_and_runs(recipe: str, prepared, tmp_path) -> None:
    fit(settings(recipe, prepared, tmp_path / "run"))
    checkpoint, output = tmp_path / "run" / "last.ckpt", tmp_path / "bundle"
    given = ["--checkpoint", str(checkpoint), "--output", str(output)]
    assert main(["export", *given, "--name", recipe, "--version", "0"]) == 0
    bundle = load_bundle(output, verify=True)
    written = yaml.safe_load((RECIPES / f"{recipe}.yaml").read_text(encoding="utf-8"))["model"]
    assert bundle.tracking.window.size == written["tracking"]["window"]["size"]
    assert bundle.tracking.window_influence == written["tracking"]["window_influence"]
    assert bundle.template_crop.border == "mean"
    assert (bundle.box_size == AS_TEMPLATE) == (recipe == "siamfc")

    first, second = frame("red", 60, 60), frame("red", 64, 62)
    box = (60.0, 60.0, 60.0 + SIDE, 60.0 + SIDE)
    for search in ("tiles", "track"):
        with Detector.open(output, "onnxruntime", DetectorConfig(search=search)) as detector:
            detector.set_template([Reference(first, box)])
            if search == "track":
                detector.lock(DEFAULT_TEMPLATE_ID, box)
            detector.detect(first, time_s=0.0)
            result = detector.detect(second, time_s=0.1)
            assert 0 <= result.presence[DEFAULT_TEMPLATE_ID] <= 1
            for detection in result.detections:
                assert np.isfinite(detection.bbox_xyxy).all()


def test_a_frozen_backbone_needs_weights(prepared, tmp_path) -> None:
    given = settings("crossattention_mobilenetv3", prepared, tmp_path)
    given[given.index("--model.frozen_blocks") + 1] = "5"
    with pytest.raises(ConfigError, match="starts from random weights"):
        fit(given)


def test_synthetic_pairs_have_no_windows(prepared, tmp_path) -> None:
    for folder in ("cutouts", "backgrounds"):
        (tmp_path / folder).mkdir()
        for number in range(2):
            cv2.imwrite(str(tmp_path / folder / f"{number}.jpg"), frame("red", 60, 60))
    given = settings("crossattention_mobilenetv3", prepared, tmp_path / "run")
    given += ["--data.cutouts", str(tmp_path / "cutouts")]
    given += ["--data.backgrounds", f"[{tmp_path / 'backgrounds'}]"]
    given[given.index("--data.shares") + 1] = "{cutouts: 1.0, squares: 0.001}"
    with pytest.raises(ConfigError, match="have no windows"):
        fit(given)
