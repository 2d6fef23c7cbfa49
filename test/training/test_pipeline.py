"""prepare, fit, resume, export, publish, evaluate; then detector and node load the bundle."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="training needs torch")
pytest.importorskip("timm", reason="training needs timm")
pytest.importorskip("lightning", reason="training needs lightning")

import yaml

from refdet_core.bundle import load_bundle
from refdet_core.detector import Detector
from refdet_core.types import Reference
from refdet_training.cli import main

REPOSITORY = Path(__file__).resolve().parents[2]
SOURCES = ("aerial_sequences", "airborne_targets")
RECIPE = {
    "seed_everything": 0,
    "trainer": {
        "max_steps": 2,
        "max_epochs": -1,
        "accelerator": "cpu",
        "enable_progress_bar": False,
    },
    "model": {
        "network": {
            "backbone": "resnet18",
            "strides": [8],
            "channels": 16,
            "matcher": "pixelwise",
            "img_size": 128,
            "heatmap_size": 16,
            "template_size": 64,
            "template_scales": [1.0, 0.5],
            "hidden": 8,
        },
        "warmup_steps": 1,
        "frozen_blocks": 0,
    },
    "data": {
        "batch_size": 4,
        "pairs_per_epoch": 8,
        "tune_pairs": 8,
        "workers": 0,
        "shares": {"aerial_sequences": 1, "airborne_targets": 1, "aerial_cars": 1, "cutouts": 1},
        "loose_boxes": {"airborne_targets": 0.3},
        "pairs": {"max_object_px": 100, "synthetic_px": [8, 60], "references": [1, 2]},
    },
}


@pytest.fixture(scope="module")
def work(data, tmp_path_factory):
    """Folder with a prepared data set, a run of two steps resumed to four, and its bundle."""
    folder = tmp_path_factory.mktemp("work")
    prepared = folder / "prepared"
    for name, frames in zip((*SOURCES, "aerial_cars"), ("raw", "jpeg", "video"), strict=True):
        command = ["prepare", "--data", str(data / name), "--output", str(prepared)]
        command += ["--frames", frames]
        if name in SOURCES:
            command += ["--splits", str(data / "splits.json")]
            command += ["--tune", f"{name}_blue", f"{name}_green"]
        else:
            command += ["--val-share", "0"]
        assert main(command) == 0
    recipe = folder / "recipe.yaml"
    recipe.write_text(yaml.safe_dump(RECIPE))
    fit = ["fit", "--config", str(recipe), "--data.data_dir", str(prepared)]
    fit += ["--data.cutouts", str(data / "cutout_sources")]
    fit += ["--data.backgrounds", json.dumps([str(data / "backgrounds")])]
    fit += ["--trainer.default_root_dir", str(folder / "run")]
    assert main(fit) == 0
    more = ["--trainer.max_steps", "4", "--ckpt_path", "last"]
    assert main([*fit, *more]) == 0
    export = ["export", "--checkpoint", str(folder / "run/last.ckpt")]
    export += ["--output", str(folder / "bundle"), "--name", "tiny", "--version", "0.0.1"]
    assert main(export) == 0
    publish = ["publish", "--data", str(prepared), "--source", *SOURCES, "--frames", "3"]
    assert main([*publish, "--bundle", str(folder / "bundle")]) == 0
    return folder


def test_the_bundle_says_how_it_was_made_and_how_good_it_is(work) -> None:
    bundle = load_bundle(work / "bundle", verify=True)
    assert bundle.name == "tiny" and bundle.training["steps"] == 4
    assert bundle.training["data"]["shares"]["cutouts"] == 1
    assert bundle.kernel_shape == (16, 6, 3)
    assert 0 < bundle.score_threshold <= 1
    for source in SOURCES:
        assert bundle.scores[source]["refdet"]["present"] > 0


@pytest.mark.parametrize("backend", ["onnxruntime", "torch"])
def test_the_detector_runs_it(work, backend: str) -> None:
    with Detector.open(work / "bundle", backend) as detector:
        detector.set_template([Reference(np.full((40, 40, 3), 90, np.uint8))])
        result = detector.detect(np.zeros((240, 320, 3), np.uint8))
    assert set(result.presence) == {"target"}


def test_torch_and_onnxruntime_agree_on_detections(work) -> None:
    rng = np.random.default_rng(0)
    frame = rng.integers(0, 255, (200, 300, 3), dtype=np.uint8)
    results = []
    for backend in ("onnxruntime", "torch"):
        with Detector.open(work / "bundle", backend) as detector:
            detector.set_template([Reference(frame, (50, 60, 110, 100))])
            results.append(detector.detect(frame, heatmaps=True))
    assert results[0].presence["target"] == pytest.approx(results[1].presence["target"], abs=1e-3)
    assert np.allclose(results[0].heatmaps["target"], results[1].heatmaps["target"], atol=1e-3)


def test_evaluate_writes_the_report(work) -> None:
    command = ["evaluate", "--bundle", str(work / "bundle"), "--data", str(work / "prepared")]
    command += ["--source", *SOURCES, "--frames", "2", "--track-frames", "10"]
    assert main([*command, "--output", str(work / "report")]) == 0
    numbers = json.loads((work / "report/report.json").read_text())
    for protocol in ("detection", "tracking"):
        assert set(numbers[protocol]["by_source"]) == set(SOURCES)
    with (work / "report/predictions.csv").open() as file:
        assert len(list(csv.DictReader(file))) > 4
    assert "<html" in (work / "report/report.html").read_text()


def test_the_node_loads_the_bundle(work) -> None:
    pytest.importorskip("rclpy", reason="the node needs ROS 2")
    command = [sys.executable, "-m", "refdet_ros", "--ros-args"]
    log = work / "node.log"
    with log.open("w") as output:
        node = subprocess.Popen(
            [*command, "-p", f"bundle:={work / 'bundle'}"],
            cwd=REPOSITORY,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, "ROS_AUTOMATIC_DISCOVERY_RANGE": "OFF"},
        )
    try:
        ends = time.monotonic() + 60
        while "looking at" not in log.read_text() and time.monotonic() < ends:
            assert node.poll() is None, log.read_text()
            time.sleep(0.2)
        assert "tiny" in log.read_text()
    finally:
        node.send_signal(signal.SIGINT)
        code = node.wait(20)
    assert code == 0, log.read_text()
