"""Short training runs that differ in one setting each, measured on the tuning videos.

    python -m benchmarks.ablations --data PREPARED --raw DATA --output DIR [--only NAME ...]

DATA is the folder with ``cutout_sources``, ``backgrounds``, ``aerial_cars`` and ``weights``.
Every variant is trained with the released recipe from the pretrained backbone, but with smaller
crops and few steps, then exported and measured with the detection protocol. So few steps rank
ideas; they do not show the final accuracy, and differences of a few hundredths are noise. Finished
variants are kept in DIR and not trained again.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

RECIPE = Path(__file__).parents[1] / "refdet_training" / "recipes" / "refdet_mobilenetv3.yaml"
VIDEOS = ("aerial_sequences", "airborne_targets")
COLUMNS = ("recall_iou50", "recall_iou30", "centre_hit", "ap50", "ap30", "presence_auroc")

SMALL = {
    "model.network.img_size": 192,
    "model.network.heatmap_size": 24,
    "data.pairs.max_object_px": 120,
    "data.batch_size": 12,
    "model.group_size": 6,
    "model.warmup_steps": 20,
}
PLAIN_320 = {
    "model.network.img_size": 320,
    "model.network.heatmap_size": 32,
    "model.network.strides": [16],
    "model.network.matcher": "depthwise",
    "model.network.template_scales": [1.0],
}
NO_SYNTHETIC = {"aerial_sequences": 0.5, "airborne_targets": 0.3, "aerial_cars": 0.2}
VARIANTS: dict[str, dict[str, Any]] = {
    "as released": {},
    "backbone ResNet18": {
        "model.network.backbone": "resnet18",
        "model.network.cut_blocks": 0,
        "model.backbone_weights": "resnet18_imagenet_to_layer3_fp16.safetensors",
    },
    "backbone whole": {"model.network.cut_blocks": 0},
    "stride 8 alone": {"model.network.strides": [8], "model.network.cut_blocks": 0},
    "plain 320/32, whole frame": PLAIN_320,
    "kernel 1x1": {"model.network.kernel_size": 1},
    "kernel 5x5": {"model.network.kernel_size": 5, "model.network.template_scales": [1.0]},
    "one template scale": {"model.network.template_scales": [1.0]},
    "no absent pairs": {"data.pairs.absent_share": 0.0},
    "absent pairs 60 %": {"data.pairs.absent_share": 0.6},
    "no look-alikes": {"data.pairs.hard_share": 0.0},
    "no synthetic pairs": {"data.shares": NO_SYNTHETIC},
}
WHOLE_FRAME = ("plain 320/32, whole frame",)


def train_and_measure(name: str, options: argparse.Namespace) -> dict[str, Any]:
    """Results of one variant by source; from the disk if it was measured before."""
    folder = options.output / name.replace(" ", "_").replace("/", "-").replace(",", "")
    report = folder / "report" / "report.json"
    if not report.exists():
        settings = {**SMALL, **VARIANTS[name]}
        default = "tf_mobilenetv3_large_075_coco_blocks0-5_fp16.safetensors"
        weights = settings.pop("model.backbone_weights", default)
        settings |= {
            "model.backbone_weights": str(options.raw / "weights" / weights),
            "data.data_dir": str(options.data),
            "data.cutouts": str(options.raw / "cutout_sources"),
            "data.backgrounds": [
                str(options.raw / "backgrounds"),
                str(options.raw / "aerial_cars"),
            ],
            "data.workers": 1,
            "data.tune_pairs": 12,
            "data.pairs_per_epoch": options.steps * settings["data.batch_size"],
            "trainer.max_steps": options.steps,
            "trainer.enable_progress_bar": False,
            "trainer.default_root_dir": str(folder),
            "averaging.decay": 0.98,
        }
        arguments = [f"--{key}={_text(value)}" for key, value in settings.items()]
        _run("fit", "--config", str(RECIPE), *arguments)
        bundle = str(folder / "bundle")
        _run("export", "--checkpoint", str(folder / "last.ckpt"), "--output", bundle,
             "--name", "ablation", "--version", "0.0.0")  # fmt: skip
        measuring = ["--data", str(options.data), "--source", *VIDEOS, "--split", "tune"]
        measuring += ["--protocol", "detection", "--frames", str(options.frames)]
        if name in WHOLE_FRAME:
            measuring += ["--config", "search=full_frame"]
        _run("evaluate", "--bundle", bundle, "--output", str(report.parent), *measuring)
    numbers: dict[str, Any] = json.loads(report.read_text())["detection"]["by_source"]
    return {source: numbers[source]["refdet"] for source in VIDEOS}


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _run(*arguments: str) -> None:
    subprocess.run([sys.executable, "-m", "refdet_training.cli", *arguments], check=True)


def table(results: dict[str, dict[str, Any]]) -> str:
    """Markdown, one line per variant; each cell aerial / airborne."""
    lines = ["| variant | " + " | ".join(COLUMNS) + " |", "|---" * (len(COLUMNS) + 1) + "|"]
    for name, by_source in results.items():
        cells = [
            " / ".join(f"{by_source[source][column]:.2f}" for source in VIDEOS)
            for column in COLUMNS
        ]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> None:
    """Train, measure, print and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--raw", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=150)
    parser.add_argument("--frames", type=int, default=15, help="looked at per object")
    parser.add_argument("--only", nargs="+", choices=VARIANTS, default=list(VARIANTS))
    options = parser.parse_args(arguments)
    options.output.mkdir(parents=True, exist_ok=True)
    results: dict[str, dict[str, Any]] = {}
    for name in options.only:
        results[name] = train_and_measure(name, options)
        (options.output / "ablations.json").write_text(json.dumps(results, indent=2))
        (options.output / "ablations.md").write_text(table(results) + "\n")
        print(table(results), flush=True)


if __name__ == "__main__":
    main()
