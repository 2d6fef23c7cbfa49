"""Every recipe so small that it trains for two steps in a test, on videos of coloured squares."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

import refdet_training

RECIPES = Path(refdet_training.__file__).parent / "recipes"
COLOURS_BGR = {"red": (30, 30, 220), "green": (30, 200, 30), "blue": (220, 60, 30)}
SIDE = 40
PREPARED = "squares"

_SIAMRPNPP = {
    "template_size": 63,
    "img_size": 127,
    "heatmap_size": 11,
    "kernel_size": 5,
    "channels": 16,
    "hidden": 16,
}
_ATTENTION = {
    "template_size": 64,
    "img_size": 128,
    "channels": 32,
    "hidden": 16,
    "attention_heads": 4,
}
SMALL: dict[str, dict[str, object]] = {
    "siamfc": {"template_size": 95, "img_size": 143, "heatmap_size": 7},
    "siamrpn_alex": {"template_size": 111, "img_size": 143, "heatmap_size": 5},
    "siamrpnpp_mobilenetv2": _SIAMRPNPP,
    "siamrpnpp_r50": _SIAMRPNPP,
    # Random weights of the 0.75 network, which takes 0-255 as they are, give values too large for
    # float32 to agree on.
    "crossattention_mobilenetv3": {"backbone": "mobilenetv3_large_100", **_ATTENTION},
    "dinov3_crossattention": {"box_offsets": "true", **_ATTENTION},
}
"""Settings of the network: the same composition, at a size that takes a processor little time."""
SLOW = ("siamrpn_alex", "siamrpnpp_r50", "dinov3_crossattention")


def parameters(slow: tuple[str, ...]) -> list:
    """Every recipe for ``pytest.mark.parametrize``, those named marked as slow."""
    return [pytest.param(name, marks=[pytest.mark.slow] if name in slow else []) for name in SMALL]


def frame(colour: str, x: int, y: int) -> np.ndarray:
    """A grey BGR frame with a square, its left upper corner at (x, y)."""
    picture = np.full((180, 240, 3), 110, np.uint8)
    cv2.rectangle(picture, (x, y), (x + SIDE - 1, y + SIDE - 1), COLOURS_BGR[colour], -1)
    cv2.line(picture, (x, y), (x + SIDE - 1, y + SIDE - 1), (0, 0, 0), 3)
    return picture


def write_prepared(root: Path) -> Path:
    """``root/prepared``, made by ``refdet-train prepare`` of a video of each colour."""
    from refdet_training.cli import main

    videos = root / PREPARED
    for colour in COLOURS_BGR:
        (videos / colour).mkdir(parents=True)
        lines = []
        for number in range(4):
            x, y = 20 + 30 * number, 30 + 20 * number
            cv2.imwrite(str(videos / colour / f"{number + 1:08}.png"), frame(colour, x, y))
            lines.append(f"{x},{y},{SIDE},{SIDE}\n")
        (videos / colour / "groundtruth.txt").write_text("".join(lines))
    splits = root / "splits.json"
    splits.write_text(json.dumps({"train": ["red", "green", "blue"], "val": []}))
    given = ["--data", str(videos), "--output", str(root / "prepared"), "--splits", str(splits)]
    assert main(["prepare", *given, "--tune", "blue"]) == 0
    return root / "prepared"


def settings(recipe: str, prepared: Path, folder: Path) -> list[str]:
    """Arguments of ``refdet-train fit`` for two steps of a small network in ``folder``."""
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


def satellite_settings(
    images: Path, folder: Path, recipe: str = "satellite_triplet_resnet18"
) -> list[str]:
    """Arguments of ``refdet-train fit`` for two short epochs of a small network in ``folder``.

    ``images`` holds labelled images, the names of those to tune on begin with ``tune_``.
    """
    return [
        *("--config", str(RECIPES / f"{recipe}.yaml"), "--data.data_dir", str(images)),
        *("--data.tune", "[tune_*]", "--data.chips.backgrounds", "6"),
        *("--data.chips_per_epoch", "90", "--trainer.max_epochs", "2"),
        *("--model.backbone_weights", "none", "--model.frozen_epochs", "1"),
        *("--model.network.hidden", "32", "--model.network.channels", "16"),
        *("--trainer.default_root_dir", str(folder), "--trainer.accelerator", "cpu"),
        *("--trainer.enable_progress_bar", "false", "--trainer.logger", "false"),
        *("--trainer.enable_model_summary", "false"),
    ]


def exported(run: Path, output: Path, name: str) -> Path:
    """The bundle of a run, exported with its checks (parity, TensorRT 8.4)."""
    from refdet_training.cli import main

    given = ["--checkpoint", str(run / "last.ckpt"), "--output", str(output)]
    assert main(["export", *given, "--name", name, "--version", "0"]) == 0
    return output


def trained_bundle(recipe: str, prepared: Path, folder: Path) -> Path:
    """``folder/bundle``: two steps of training, exported."""
    from refdet_training.lightning_cli import fit

    fit(settings(recipe, prepared, folder / "run"))
    return exported(folder / "run", folder / "bundle", recipe)
